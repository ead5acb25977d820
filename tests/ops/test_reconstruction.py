"""Reconstruction errors and the divergence from a standard normal, against values worked out by hand."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from clouds.ops.reconstruction import gaussian_divergence, reconstruction_errors


def test_the_errors_of_a_stripe() -> None:
    images_BCHW = torch.zeros(2, 1, 4, 4)
    decoded_BCHW = images_BCHW.clone()
    decoded_BCHW[1, :, :, 1] = 0.5
    absolute, squared, edges = reconstruction_errors(decoded_BCHW, images_BCHW)
    assert absolute.tolist() == pytest.approx([0, 0.125])
    assert squared.tolist() == pytest.approx([0, 0.0625])
    # two of three differences across are 0.5, none down
    assert edges.tolist() == pytest.approx([0, 1 / 3])


def test_a_constant_shift_has_no_edges() -> None:
    images_BCHW = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    *_, edges = reconstruction_errors(images_BCHW + 0.2, images_BCHW)
    assert edges.item() == pytest.approx(0, abs=1e-6)


def test_shapes_have_to_agree() -> None:
    with pytest.raises(ValueError, match="decoded"):
        reconstruction_errors(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5))


def test_the_divergence_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, logvar = (torch.randn(3, 2, 4, 5, generator=generator) for _ in range(2))
    expected = kl_divergence(Normal(mean, (0.5 * logvar).exp()), Normal(0.0, 1.0)).sum(dim=(1, 2, 3))
    torch.testing.assert_close(gaussian_divergence(mean, logvar), expected)
