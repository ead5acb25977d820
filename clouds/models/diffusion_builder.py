"""Stable Diffusion pipelines of any size from the real classes, with random weights. It knows no caption and no image.

Architecture: Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models".
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clouds.models.diffusion_sizes import AutoencoderSizes, DiffusionSizes, TextSizes
from clouds.models.word_tokenizer import word_tokenizer

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def build_pipeline(sizes: DiffusionSizes, words: Sequence[str], seed: int, scheduler: Any = None) -> Any:
    """A float32 `StableDiffusionPipeline` on the CPU that knows each of `words` as one token, and has learned nothing.

    Its weights are drawn from `seed`; the global random state is left as it was. Without a `scheduler` it has
    `velocity_scheduler`.
    """
    tokenizer = word_tokenizer(words, sizes.text.context)
    # the libraries initialise from the global generator only: borrow it and give it back
    with _seeded(seed):
        unet = _unet(sizes)
        vae = _autoencoder(sizes.autoencoder, max(sizes.height, sizes.width))
        text_encoder = _text_encoder(sizes.text, tokenizer)
    return assemble(vae, unet, text_encoder, tokenizer, scheduler or velocity_scheduler())


def assemble(
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    scheduler: Any,
) -> StableDiffusionPipeline:
    """The parts as a pipeline without a safety checker."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_autoencoder(sizes: DiffusionSizes, seed: int) -> AutoencoderKL:
    """The autoencoder alone, float32 on the CPU, its weights drawn from `seed`."""
    with _seeded(seed):
        return _autoencoder(sizes.autoencoder, max(sizes.height, sizes.width))


def save_pipeline(pipeline: StableDiffusionPipeline, folder: Path, dtype: torch.dtype) -> None:
    """Write the pipeline's folder, autoencoder and U-Net as safetensors of `dtype`; the pipeline stays as it is.

    The text encoder is written as it is: its library loads a file's own number format unless told otherwise, and would
    give the U-Net, which is loaded as float32, a text in half precision.
    """
    from torch.nn import Module

    # the library's own `to` warns of every change of precision
    vae, unet = (Module.to(copy.deepcopy(part), dtype) for part in (pipeline.vae, pipeline.unet))
    whole = assemble(vae, unet, pipeline.text_encoder, pipeline.tokenizer, pipeline.scheduler)
    whole.save_pretrained(folder, safe_serialization=True)


def velocity_scheduler() -> Any:
    """A scheduler for a model that predicts velocity, from pure noise down: very dark and very bright pictures work.

    Without zero terminal signal-to-noise every picture keeps the noise's mean, a medium grey. Source: Lin et al. 2024,
    "Common Diffusion Noise Schedules and Sample Steps Are Flawed". It samples by Lu et al. 2022, "DPM-Solver++", which
    needs 15 to 20 steps.
    """
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(
        **_NOISE,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        # unused by trailing steps, but the pipeline wants it
        steps_offset=1,
    )


def noise_scheduler() -> Any:
    """The scheduler that Stable Diffusion 1 is published with, for a model that predicts noise."""
    from diffusers import EulerDiscreteScheduler

    return EulerDiscreteScheduler(**_NOISE, steps_offset=1, timestep_spacing="leading")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _autoencoder(sizes: AutoencoderSizes, side: int) -> AutoencoderKL:
    from diffusers import AutoencoderKL

    levels = len(sizes.channels)
    return AutoencoderKL(
        sample_size=side,
        block_out_channels=sizes.channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=sizes.layers,
        latent_channels=sizes.latent_channels,
        norm_num_groups=sizes.groups,
        mid_block_add_attention=sizes.attention,
    )


def _unet(sizes: DiffusionSizes) -> UNet2DConditionModel:
    from diffusers import UNet2DConditionModel

    unet = sizes.denoiser
    kinds = [("CrossAttn" if attends else "") for attends in unet.attends]
    return UNet2DConditionModel(
        sample_size=sizes.latent,
        in_channels=sizes.autoencoder.latent_channels,
        out_channels=sizes.autoencoder.latent_channels,
        block_out_channels=unet.channels,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        layers_per_block=unet.layers,
        cross_attention_dim=sizes.text.width,
        # the library's name for it notwithstanding, this is the number of heads
        attention_head_dim=unet.heads,
        norm_num_groups=unet.groups,
    )


def _text_encoder(sizes: TextSizes, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=sizes.width,
            intermediate_size=sizes.hidden,
            projection_dim=sizes.width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            max_position_embeddings=sizes.context,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
