"""Tiny instances of every kind of image tower, of the libraries' real classes, in the libraries' own folder formats."""

import json
from pathlib import Path

import open_clip
import timm
import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from safetensors.torch import save_file
from timm.models import register_model, save_for_hf
from timm.models.eva import Eva, _create_eva

EMBED_DIM = 12
VIT = {"image_size": 64, "layers": 4, "width": 32, "patch_size": 16, "head_width": 16}
CLIPS = {
    "clip convnext": {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear", "image_size": 64},
    "clip resnet": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64, "patch_size": None},
    "clip vit": VIT,
    "clip vit 14": {**VIT, "image_size": 56, "patch_size": 14, "layers": 3, "pool_type": "avg"},
    "clip eva02": {"timm_model_name": "tiny_eva02_clip", "timm_pool": "token", "timm_proj": None, "image_size": 56},
}
TIMMS = {
    "dinov2": ("vit_small_patch14_dinov2", {"embed_dim": 32, "depth": 4, "num_heads": 2, "img_size": 56}),
    "dinov3": (
        "vit_small_patch16_dinov3",
        {"embed_dim": 32, "depth": 4, "num_heads": 2, "img_size": 64, "rope_rescale_coords": 2.0},
    ),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 2, 2), "img_size": 64, "window_size": 2},
    ),
    "resnet": ("test_resnet", {}),
    "convnextv2": ("test_convnext2", {}),
}
# its blocks read the weight of their first layer past the layer
OLDER = {"eva": ("eva_giant_patch14_224", {"embed_dim": 32, "depth": 4, "num_heads": 2, "img_size": 56})}
KINDS = [*CLIPS, *TIMMS]
VITS = ["clip vit", "clip vit 14", "clip eva02", "dinov2", "dinov3"]


@register_model
def tiny_eva02_clip(pretrained: bool = False, **kwargs) -> Eva:
    """EVA02-CLIP-L/14 in small: the same parts as timm's `eva02_large_patch14_clip_224`."""
    sizes = {"img_size": 56, "patch_size": 14, "embed_dim": 32, "depth": 4, "num_heads": 2, "ref_feat_shape": (4, 4)}
    parts = {"qkv_fused": False, "swiglu_mlp": True, "scale_mlp": True, "scale_attn_inner": True}
    pool = kwargs.pop("global_pool", "token")
    arguments = {**sizes, **parts, "use_rot_pos_emb": True, "mlp_ratio": 2.0, "global_pool": pool, **kwargs}
    return _create_eva("tiny_eva02_clip", pretrained=pretrained, **arguments)


def build_tower(kind: str, folder: Path, seed: int = 0) -> Path:
    """Write a model with random weights, none of which is at its neutral start, and return its folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind in CLIPS:
            return _clip(CLIPS[kind], folder)
        name, arguments = (TIMMS | OLDER)[kind]
        model = timm.create_model(name, num_classes=5, **arguments)
        _shake(model)
        save_for_hf(model, folder, model_args=arguments, safe_serialization=True)
        return folder


def _clip(vision: dict, folder: Path) -> Path:
    text = {"context_length": 8, "vocab_size": 16, "width": 8, "heads": 1, "layers": 1}
    model = {"embed_dim": EMBED_DIM, "vision_cfg": vision, "text_cfg": text}
    clip = open_clip.CLIP(**model)
    _shake(clip)
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": list(OPENAI_DATASET_MEAN), "std": list(OPENAI_DATASET_STD)}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    tensors = {name: tensor.contiguous() for name, tensor in clip.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors", {"format": "pt"})
    return folder


def _shake(model: torch.nn.Module) -> None:
    """Layer scales and norms that start at nearly nothing would hide a wrong block."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            base = 0.5 if "gamma" in name or name.endswith("weight") else 0.0
            parameter.data.normal_(base, 0.2)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.2)
