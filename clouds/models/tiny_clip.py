"""A tiny, real CLIP model in open_clip's own on-disk format, for tests and trials. Its weights are random."""

from pathlib import Path

from clouds.models.clip_builder import build_clip
from clouds.models.clip_sizes import ClipSizes, ClipTextSizes

TINY_TRUNK = "test_convnext"
"""timm's smallest ConvNeXt: stages of 24, 32, 48 and 64 channels at strides 4 to 32."""


def build_tiny_clip(
    folder: Path, *, seed: int, trunk: str = TINY_TRUNK, embed_dim: int = 32, text_width: int = 16
) -> Path:
    """Write `open_clip_config.json` and `open_clip_model.safetensors` into the folder and return it.

    `trunk` is the name of a timm ConvNeXt. The defaults give 4.5 MB; equal arguments give equal bytes. The folder opens
    with `open_clip.create_model("local-dir:FOLDER")`.
    """
    text = ClipTextSizes(width=text_width, layers=1, heads=2, context=77)
    sizes = ClipSizes(trunk=trunk, height=64, width=64, embed_dim=embed_dim, text=text)
    build_clip(sizes, None, seed).save(folder)
    return folder
