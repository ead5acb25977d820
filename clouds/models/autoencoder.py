"""A trained diffusers autoencoder: from its folder, pictures to latents, and the latents' scale. It trains nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clouds.errors import CloudsError


def load_autoencoder(folder: Path, device: torch.device | str = "cpu") -> Any:
    """The `AutoencoderKL` of a folder that its `save_pretrained` wrote, in evaluation mode.

    Raises `CloudsError` when the folder holds none.
    """
    from diffusers import AutoencoderKL

    try:
        vae = AutoencoderKL.from_pretrained(folder, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise CloudsError(f"{folder} holds no autoencoder: {error}", "train it again") from error
    return vae.to(device).eval()


def pixels(images_BHWC: NDArray[np.uint8]) -> Tensor:
    """uint8 pictures as float32 [B, 3, H, W] in [-1, 1], as the autoencoder takes them."""
    return torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).float().div(127.5).sub(1.0).contiguous()


@torch.no_grad()
def encode_latents(vae: Any, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
    """The latents of uint8 pictures, float16 [B, C, h, w], not scaled.

    They are the posterior's means: with a prior as weak as Stable Diffusion's a sample differs from it by little, and
    a mean is the same each time.
    """
    latents_BCHW = vae.encode(pixels(images_BHWC).to(vae.device, vae.dtype)).latent_dist.mean
    latents: NDArray[np.float16] = latents_BCHW.to("cpu", torch.float16).numpy()
    return latents


def set_latent_scale(vae: Any, latents_BCHW: NDArray[np.floating[Any]]) -> float:
    """Make the autoencoder's `scaling_factor` the one that brings these latents to a standard deviation of 1."""
    deviation = float(np.std(latents_BCHW, dtype=np.float64))
    if not np.isfinite(deviation) or deviation <= 0:
        raise ValueError(f"latents with a standard deviation of {deviation} cannot be scaled")
    vae.register_to_config(scaling_factor=1.0 / deviation)
    return 1.0 / deviation
