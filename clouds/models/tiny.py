"""Tiny instances of the real models, with random weights, in their official on-disk formats. They have learned nothing.

They stand in for the big ones where none can be had: in tests, in `configs/smoke.yaml`, in a first look at the tool.
"""

import os
import shutil
from pathlib import Path

from clouds.models.tiny_clip import build_tiny_clip
from clouds.models.tiny_diffusion import build_tiny_diffusion
from clouds.models.tiny_sam import build_tiny_sam

PARTS = ("diffusion", "clip", "sam.safetensors")


def build_tiny_models(folder: Path, seed: int = 0) -> bool:
    """A Stable Diffusion pipeline, a CLIP and a `Sam` in one folder; whether they had to be built.

    Each part appears whole or not at all; one that is there already is left as it is.
    """
    if all((folder / part).exists() for part in PARTS):
        return False
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    build_tiny_diffusion(scratch / "diffusion", seed)
    build_tiny_clip(scratch / "clip", seed=seed)
    build_tiny_sam(scratch / "sam.safetensors", seed)
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if not (folder / part).exists():
            os.rename(scratch / part, folder / part)
    shutil.rmtree(scratch)
    return True
