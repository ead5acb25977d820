"""The forward diffusion of latents, and the velocity along it. It knows no model and no schedule."""

from torch import Tensor


def noised(latents_BCHW: Tensor, noise_BCHW: Tensor, signal_B: Tensor) -> Tensor:
    """Latents with noise in them; `signal_B` in [0, 1] is the share of the variance that is left of the latents.

    Source: Ho et al. 2020, "Denoising Diffusion Probabilistic Models", equation 4.
    """
    kept, added = _amplitudes(signal_B)
    return kept * latents_BCHW + added * noise_BCHW


def velocity(latents_BCHW: Tensor, noise_BCHW: Tensor, signal_B: Tensor) -> Tensor:
    """What the model predicts: noise where little is noise, the latents (negative) where all is.

    Source: Salimans & Ho 2022, "Progressive Distillation for Fast Sampling of Diffusion Models", appendix D.
    """
    kept, added = _amplitudes(signal_B)
    return kept * noise_BCHW - added * latents_BCHW


def _amplitudes(signal_B: Tensor) -> tuple[Tensor, Tensor]:
    """The factors of the latents and of the noise, [B, 1, 1, 1]."""
    signal_B111 = signal_B[:, None, None, None]
    return signal_B111.sqrt(), (1.0 - signal_B111).sqrt()
