"""Learns to encode pictures as small latents and to decode them again. It reads no caption and no mask.

Source: Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", section 3.1, without the
perceptual and adversarial terms, which need networks trained elsewhere.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

from clouds.engine.seeding import item_seed
from clouds.models.autoencoder import pixels
from clouds.ops.reconstruction import gaussian_divergence, reconstruction_errors
from clouds.pretraining.autoencoder_config import AutoencoderConfig
from clouds.pretraining.corpus import Corpus, Rounds
from clouds.pretraining.groups import parameter_groups
from clouds.pretraining.state import load_weights
from clouds.training.loop import Step


@dataclass(frozen=True)
class DrawnPicture:
    """One picture to learn from, uint8 (H, W, 3), and the number of its draw."""

    number: int
    image_HWC: NDArray[np.uint8]


class PictureDraws(TorchDataset[DrawnPicture]):
    """The corpus's pictures by draw number, each once per round; mirrored or not by the draw."""

    def __init__(self, corpus: Corpus, seed: int, *, flip: bool) -> None:
        self._corpus, self._seed, self._flip = corpus, seed, flip
        self._rounds = Rounds(len(corpus.ids), seed)

    def __getitem__(self, number: int) -> DrawnPicture:
        image_HWC = self._corpus.image(self._rounds(number))
        if self._flip and item_seed(self._seed, "flip", number) % 2:
            image_HWC = np.ascontiguousarray(image_HWC[:, ::-1])
        return DrawnPicture(number, image_HWC)


class _Reconstruction(nn.Module):
    """The autoencoder as one forward pass, its noise given from outside."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, images_BCHW: Tensor, noise_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The decoded pictures, and the mean and logarithmic variance of their latents; all float32."""
        latents = self.vae.encode(images_BCHW).latent_dist
        decoded_BCHW = self.vae.decode(latents.mean + latents.std * noise_BCHW).sample
        return decoded_BCHW.float(), latents.mean.float(), latents.logvar.float()


class AutoencoderLearner:
    """A `Learner` of a diffusers `AutoencoderKL` on a corpus's pictures."""

    losses: Sequence[str] = ("loss", "absolute", "squared", "edges", "prior")

    def __init__(self, model: Any, corpus: Corpus, config: AutoencoderConfig, *, seed: int) -> None:
        self.vae = model
        self.model: nn.Module = _Reconstruction(model)
        self.draws = PictureDraws(corpus, seed, flip=config.objective.flip)
        self._config = config
        self._factor = 2 ** (len(model.config.block_out_channels) - 1)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(self.model, self._config.optimizer)

    def backward(self, drawn: Sequence[DrawnPicture], step: Step) -> Tensor:
        device, objective = step.accelerator.device, self._config.objective
        images_BCHW = pixels(np.stack([one.image_HWC for one in drawn])).to(device)
        noise_BCHW = torch.stack([self._noise(one, step.seed) for one in drawn]).to(device)
        with step.accelerator.autocast():
            decoded_BCHW, mean_BCHW, logvar_BCHW = step.parallel(images_BCHW, noise_BCHW)
        errors = reconstruction_errors(decoded_BCHW, images_BCHW)
        prior = gaussian_divergence(mean_BCHW, logvar_BCHW).sum() / images_BCHW[0].numel()
        parts = torch.stack([*(error.sum() for error in errors), prior]) / step.batch_size
        weights = parts.new_tensor([1.0, objective.squared, objective.edges, objective.prior])
        loss = (weights * parts).sum()
        # data parallel averages gradients over processes; the loss is a sum over all of them
        step.accelerator.backward(loss * step.accelerator.num_processes)
        return torch.cat([loss[None], parts]).detach()

    def state(self) -> dict[str, Tensor]:
        return dict(self.vae.state_dict())

    def load_state(self, tensors: Mapping[str, Tensor], where: str = "the checkpoint") -> None:
        load_weights(self.vae, tensors, where)

    def save(self, folder: Path) -> None:
        """Write the autoencoder as `AutoencoderKL.from_pretrained` reads it, float32."""
        self.vae.save_pretrained(folder, safe_serialization=True)

    def _noise(self, one: DrawnPicture, seed: int) -> Tensor:
        height, width, _ = one.image_HWC.shape
        shape = (self.vae.config.latent_channels, height // self._factor, width // self._factor)
        generator = torch.Generator().manual_seed(item_seed(seed, "noise", one.number))
        return torch.randn(shape, generator=generator)


@torch.no_grad()
def appraise_autoencoder(vae: Any, corpus: Corpus, count: int) -> dict[str, float]:
    """`psnr_db`: the mean over the corpus's first `count` pictures of 10 log10(1 / mean squared error), for [0, 1]."""
    values = []
    for index in range(min(count, len(corpus.ids))):
        images_BCHW = pixels(corpus.image(index)[None]).to(vae.device)
        decoded_BCHW = vae.decode(vae.encode(images_BCHW).latent_dist.mean).sample.clamp(-1, 1)
        error = float((decoded_BCHW - images_BCHW).square().mean()) / 4
        # eight bits cannot tell a smaller error from none
        values.append(-10 * math.log10(max(error, 1e-7)))
    if not values:
        raise ValueError("there is no picture to appraise with")
    return {"psnr_db": sum(values) / len(values)}
