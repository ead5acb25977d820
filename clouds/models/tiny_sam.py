"""A tiny `Sam` of segment-anything's real classes with random weights, for trying and testing without a download."""

import math
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from clouds.models.sam_checkpoint import build_sam
from clouds.models.sam_sizes import SamSizes


def tiny_sam_sizes(image_size: int = 128, patch_size: int = 8) -> SamSizes:
    """The sizes of a `Sam` that encodes and decodes a small image in a few milliseconds on one core."""
    return SamSizes(
        image_size=image_size,
        patch_size=patch_size,
        encoder_dim=32,
        encoder_depth=2,
        encoder_heads=2,
        encoder_mlp_ratio=2.0,
        global_blocks=(1,),
        window_size=max(1, image_size // patch_size // 2),
        prompt_dim=32,
        mask_channels=8,
        decoder_depth=2,
        decoder_mlp_dim=64,
        masks_per_prompt=3,
        quality_depth=3,
        quality_dim=32,
    )


def build_tiny_sam(path: Path, seed: int, image_size: int = 128, patch_size: int = 8) -> None:
    """Writes a tiny `Sam` with random weights as `.safetensors` under the official key names; see `load_sam`.

    The same seed and sizes give the same bytes. The file appears under its name only when it is whole.
    """
    sam = build_sam(tiny_sam_sizes(image_size, patch_size))
    generator = torch.Generator().manual_seed(seed)
    # every tensor drawn here and in order of name: the classes' own initialization would use the global generator
    state = {name: _drawn(name, tensor.shape, generator) for name, tensor in sorted(sam.state_dict().items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(state, scratch)
    os.replace(scratch, path)


def _drawn(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if name.endswith("bias"):
        return torch.zeros(shape)
    if len(shape) == 1:
        # the weight of a norm
        return torch.ones(shape)
    values = torch.randn(shape, generator=generator)
    # the frequencies of the position encoding are the one tensor with a scale of its own: 1
    return values if "gaussian" in name else values / math.sqrt(shape[1:].numel())
