"""The contrast of a step: over which pixels it goes, what weighs them, and that its gradient reaches every map."""

import pytest
import torch
import torch.nn.functional as F

from clouds.models.heads import MaskOutput
from clouds.ops.contrast import pixel_contrast_loss
from clouds.training.feature_contrast import FeatureContrast
from clouds.training.online_settings import ContrastConfig

LABELLED = [True, False, True]


@pytest.fixture
def maps():
    """Fused and coarse maps, and the learned share, of three images of 32 x 48 pixels."""
    generator = torch.Generator().manual_seed(0)
    fused, coarse = (torch.randn(3, 8, h, w, generator=generator).requires_grad_() for h, w in ((8, 12), (4, 6)))
    return fused, coarse, torch.rand(3, 1, 4, 6, generator=generator).requires_grad_()


def labels(ignored=False):
    blocks = torch.randint(0, 4, (3, 4, 6), generator=torch.Generator().manual_seed(1))
    labels_BHW = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)
    return torch.full_like(labels_BHW, 255) if ignored else labels_BHW


def loss(runtime, maps, labels_BHW, weights_BHW=None, *, learned=None, **values):
    config = ContrastConfig(**{"size": (8, 12), "temperature": 0.5, **values})
    output = MaskOutput([], [], maps[0], maps[1])
    return FeatureContrast(config, 255)(output, learned, labels_BHW, weights_BHW, LABELLED, runtime.accelerator)


def pixels(map_BChw, rows):
    return map_BChw[rows].permute(0, 2, 3, 1).flatten(0, 2)


def test_each_side_is_compared_with_itself(runtime, maps):
    labels_BHW = labels()
    small = F.interpolate(labels_BHW[:, None].float(), size=(8, 12), mode="nearest-exact")[:, 0].long()
    sides = [
        pixel_contrast_loss(pixels(maps[0], rows), small[rows].flatten(), temperature=0.5) for rows in ([0, 2], [1])
    ]
    found = loss(runtime, maps, labels_BHW, source_weight=2.0, target_weight=0.5)
    torch.testing.assert_close(found, 2.0 * sides[0] + 0.5 * sides[1])


def test_maps_of_another_size_are_brought_to_it(runtime, maps):
    whole, half = loss(runtime, maps, labels()), loss(runtime, maps, labels(), size=(4, 6))
    assert half > 0 and not torch.isclose(whole, half)


def test_trust_counts_unless_it_is_told_not_to(runtime, maps):
    none, half = loss(runtime, maps, labels()), torch.full((3, 32, 48), 0.5)
    torch.testing.assert_close(loss(runtime, maps, labels(), half), none / 4)
    torch.testing.assert_close(loss(runtime, maps, labels(), half, confidence=False), none)


def test_the_learned_share_divides_the_contrast_between_the_maps(runtime, maps):
    alone = loss(runtime, maps, labels())
    ones, zeros = torch.ones(3, 1, 4, 6), torch.zeros(3, 1, 4, 6)
    torch.testing.assert_close(loss(runtime, maps, labels(), learned=ones), alone)
    coarse = F.interpolate(maps[1], size=(8, 12), mode="bilinear", align_corners=False)
    torch.testing.assert_close(loss(runtime, maps, labels(), learned=zeros), loss(runtime, (coarse, maps[1]), labels()))
    loss(runtime, maps, labels(), learned=maps[2]).backward()
    assert all(one.grad.abs().sum() > 0 for one in maps)


def test_without_a_label_the_gradient_is_zero_and_reaches_everything(runtime, maps):
    found = loss(runtime, maps, labels(ignored=True), learned=maps[2])
    found.backward()
    assert found == 0
    assert all(one.grad is not None and not one.grad.any() for one in maps)
