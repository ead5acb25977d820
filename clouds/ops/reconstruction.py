"""How far a decoded picture is from the original, and a latent distribution from a standard normal."""

import torch
from torch import Tensor


def reconstruction_errors(decoded_BCHW: Tensor, images_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per picture [B]: the mean absolute error, the mean squared error, and the mean absolute error of the edges.

    An edge is the difference of two neighbouring pixels, across and down; its two means are added. Both are float
    (B, C, H, W) in any one range. Raises ValueError where the shapes differ.
    """
    if decoded_BCHW.shape != images_BCHW.shape:
        raise ValueError(f"decoded {tuple(decoded_BCHW.shape)}, original {tuple(images_BCHW.shape)}")
    error_BCHW = decoded_BCHW - images_BCHW
    edges = sum(error_BCHW.diff(dim=axis).abs().flatten(1).mean(dim=1) for axis in (2, 3))
    assert isinstance(edges, Tensor)
    error = error_BCHW.flatten(1)
    return error.abs().mean(dim=1), error.square().mean(dim=1), edges


def gaussian_divergence(mean_BCHW: Tensor, logvar_BCHW: Tensor) -> Tensor:
    """Per picture [B]: the Kullback-Leibler divergence from a standard normal, summed over its latents, in nats.

    Source: Kingma & Welling 2014, "Auto-Encoding Variational Bayes", appendix B.
    """
    terms = mean_BCHW.square() + logvar_BCHW.exp() - 1.0 - logvar_BCHW
    return 0.5 * torch.sum(terms.flatten(1), dim=1)
