"""A Stable Diffusion pipeline small enough for a test, in the official on-disk format. It does not train or sample.

Every part is the real class of its library with few, randomly initialised parameters, so whatever loads a published
checkpoint loads this one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clouds.errors import CloudsError
from clouds.models.diffusion_builder import build_pipeline, noise_scheduler
from clouds.models.diffusion_sizes import DiffusionSizes

VAE_FACTOR = 8
"""Pixels per latent cell, as in every published Stable Diffusion."""

_WORDS = """
a an the of in on at with and to from by over under near behind beside along no few many some two three street
road sidewalk building house wall fence pole traffic sign light vegetation tree trees bush grass sky cloud car
cars bus truck van bicycle bicycles person people pedestrian pedestrians crossing bridge tunnel square town city
village suburb country countryside highway avenue alley market harbour mountain photo photograph image picture
scene view driving dashcam camera realistic detailed wide narrow busy empty quiet day night noon morning evening
dawn dusk sunset winter summer autumn spring sunny cloudy overcast clear fog foggy rain rainy wet snow snowy
haze dark bright old new red blue green yellow white black grey
"""
STREET_WORDS = tuple(_WORDS.split())
"""The words of street captions; each becomes one token."""

_SIZES = {
    "autoencoder": {"channels": (8, 16, 16, 32), "groups": 8, "attention": True},
    "denoiser": {"channels": (24, 48), "attends": (True, False), "heads": 3, "groups": 8},
    "text": {"width": 32, "hidden": 64, "layers": 2, "heads": 4, "context": 77},
}


def build_tiny_diffusion(
    folder: Path, seed: int, height: int = 64, width: int = 128, words: Sequence[str] = STREET_WORDS
) -> Path:
    """Write a tiny text-to-image pipeline as a folder that `DiffusionPipeline.from_pretrained` loads, and return it.

    Its own image size is `height` x `width` pixels, but any multiples of 8 work. The same arguments and library
    versions give the same bytes. The folder appears whole or not at all. Raises `CloudsError` when it is there already
    and not empty, or when a size is not a multiple of 8.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CloudsError(f"{folder} exists already", "give another folder, or remove this one")
    pipeline = tiny_pipeline(seed, height, width, words)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        whole = Path(scratch, "pipeline")
        pipeline.save_pretrained(whole, safe_serialization=True)
        os.replace(whole, folder)
    return folder


def tiny_pipeline(seed: int, height: int = 64, width: int = 128, words: Sequence[str] = STREET_WORDS) -> Any:
    """A float32 pipeline on the CPU, its weights drawn from `seed`; the global random state is left as it was."""
    for name, value in (("height", height), ("width", width)):
        if value <= 0 or value % VAE_FACTOR:
            raise CloudsError(f"{name} = {value} is not a positive multiple of {VAE_FACTOR}", "round it")
    sizes = DiffusionSizes.model_validate({"height": height, "width": width, **_SIZES})
    return build_pipeline(sizes, words, seed, noise_scheduler())
