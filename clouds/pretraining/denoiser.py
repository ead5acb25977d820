"""Learns to take noise out of captioned latents: a U-Net and a text encoder, together. It sees no picture and no mask.

The model predicts velocity (Salimans & Ho 2022, "Progressive Distillation for Fast Sampling of Diffusion Models"), all
steps weighted alike: weights by signal-to-noise ratio would leave out the step of pure noise, where sampling begins
(Lin et al. 2024, "Common Diffusion Noise Schedules and Sample Steps Are Flawed").
"""

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
from clouds.models.diffusion_builder import save_pipeline
from clouds.models.word_tokenizer import token_ids
from clouds.ops.velocity import noised, velocity
from clouds.pretraining.corpus import CaptionedLatents, Rounds
from clouds.pretraining.denoiser_config import DenoiserConfig
from clouds.pretraining.groups import parameter_groups
from clouds.pretraining.state import load_weights
from clouds.training.loop import Step

_GOLDEN = (5**0.5 - 1) / 2
_CAPTIONS_AT_ONCE = 1000


@dataclass(frozen=True)
class DrawnLatent:
    """One latent to learn from, float16 (C, h, w), the tokens of its caption or of none, and the number of its draw."""

    number: int
    latent_CHW: NDArray[np.float16]
    tokens_N: NDArray[np.int64]


class LatentDraws(TorchDataset[DrawnLatent]):
    """Latents by draw number, each once per round; the caption is left out or not by the draw."""

    def __init__(self, latents: CaptionedLatents, tokenizer: Any, seed: int, drop_caption: float) -> None:
        self._latents, self._seed, self._drop_caption = latents, seed, drop_caption
        self._rounds = Rounds(len(latents.ids), seed)
        # once for the whole training: a step has no time to read
        self._tokens_IN = _read_captions(latents, tokenizer)
        self._no_tokens_N = token_ids(tokenizer, [""])[0]

    def __getitem__(self, number: int) -> DrawnLatent:
        index = self._rounds(number)
        dropped = item_seed(self._seed, "caption", number) < self._drop_caption * 2**63
        tokens_N = self._no_tokens_N if dropped else self._tokens_IN[index]
        return DrawnLatent(number, self._latents.latent(index), tokens_N)


def _read_captions(latents: CaptionedLatents, tokenizer: Any) -> NDArray[np.int64]:
    captions = [latents.caption(index) for index in range(len(latents.ids))]
    starts = range(0, len(captions), _CAPTIONS_AT_ONCE)
    return np.concatenate([token_ids(tokenizer, captions[start : start + _CAPTIONS_AT_ONCE]) for start in starts])


class _Denoiser(nn.Module):
    """The U-Net and the text encoder as one forward pass."""

    def __init__(self, unet: nn.Module, text_encoder: nn.Module) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, noised_BCHW: Tensor, steps_B: Tensor, tokens_BN: Tensor) -> Tensor:
        """The predicted velocity, float32."""
        # the pipeline's own way of reading a prompt: the last layer, of all tokens, the padding among them
        text_BNC = self.text_encoder(tokens_BN)[0]
        velocity_BCHW: Tensor = self.unet(noised_BCHW, steps_B, encoder_hidden_states=text_BNC).sample
        return velocity_BCHW.float()


class DenoiserLearner:
    """A `Learner` of the U-Net and text encoder of a `StableDiffusionPipeline`, on latents of its autoencoder.

    The pipeline brings the autoencoder, whose `scaling_factor` must fit the latents, and the scheduler, whose noise is
    learned. Raises `ValueError` for a scheduler that wants another prediction than velocity.
    """

    losses: Sequence[str] = ("loss",)

    def __init__(self, model: Any, latents: CaptionedLatents, config: DenoiserConfig, *, seed: int) -> None:
        if model.scheduler.config.prediction_type != "v_prediction":
            raise ValueError(f"the scheduler expects {model.scheduler.config.prediction_type}, not v_prediction")
        self.pipeline = model
        self.model: nn.Module = _Denoiser(model.unet, model.text_encoder)
        self.draws = LatentDraws(latents, model.tokenizer, seed, config.drop_caption)
        self._config = config
        self._scale = float(model.vae.config.scaling_factor)
        self._signal_T = model.scheduler.alphas_cumprod.float()

    def parameter_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(self.model, self._config.optimizer)

    def backward(self, drawn: Sequence[DrawnLatent], step: Step) -> Tensor:
        device = step.accelerator.device
        latents_BCHW = torch.from_numpy(np.stack([one.latent_CHW for one in drawn])).to(device).float() * self._scale
        tokens_BN = torch.from_numpy(np.stack([one.tokens_N for one in drawn])).to(device)
        noise_BCHW = torch.stack([self._noise(one, step.seed) for one in drawn]).to(device)
        steps_B = torch.tensor([self._timestep(one.number, step.seed) for one in drawn])
        signal_B = self._signal_T[steps_B].to(device)
        with step.accelerator.autocast():
            predicted_BCHW = step.parallel(noised(latents_BCHW, noise_BCHW, signal_B), steps_B.to(device), tokens_BN)
        error_BCHW = predicted_BCHW - velocity(latents_BCHW, noise_BCHW, signal_B)
        loss = error_BCHW.square().flatten(1).mean(dim=1).sum() / step.batch_size
        # data parallel averages gradients over processes; the loss is a sum over all of them
        step.accelerator.backward(loss * step.accelerator.num_processes)
        return loss.detach()[None]

    def state(self) -> dict[str, Tensor]:
        return dict(self.model.state_dict())

    def load_state(self, tensors: Mapping[str, Tensor], where: str = "the checkpoint") -> None:
        load_weights(self.model, tensors, where)

    def save(self, folder: Path) -> None:
        """Write the whole pipeline, autoencoder and scheduler included, as `DiffusionPipeline` reads it."""
        save_pipeline(self.pipeline, folder, getattr(torch, self._config.stored))

    def _timestep(self, number: int, seed: int) -> int:
        """Of any stretch of draws, as many fall into each part of the noise schedule.

        Source: Kingma et al. 2021, "Variational Diffusion Models", appendix I, with multiples of the golden ratio.
        """
        shift = item_seed(seed, "timestep") / 2**63
        return int((shift + number * _GOLDEN) % 1.0 * len(self._signal_T))

    def _noise(self, one: DrawnLatent, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(item_seed(seed, "noise", one.number))
        return torch.randn(one.latent_CHW.shape, generator=generator)
