"""Labels that are trusted in part: what that does to the mask loss and its gradient, and where trust comes from."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clouds.ops.label_trust import label_weights
from clouds.ops.mask_loss import MaskLossSettings, count_labelled, count_masks, mask_loss

IGNORE, CLASSES, QUERIES = 255, 4, 6
SETTINGS = MaskLossSettings(num_points=150, ignore=IGNORE)
PARTS = ("class", "mask", "dice")


def a_batch(seed: int, images: int = 2) -> tuple[list[Tensor], list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    classes = [torch.randn(images, QUERIES, CLASSES + 1, generator=generator).requires_grad_() for _ in range(2)]
    masks = [(2 * torch.randn(images, QUERIES, 6, 8, generator=generator)).requires_grad_() for _ in range(2)]
    blocks = torch.randint(0, CLASSES, (images, 3, 4), generator=generator)
    labels_BHW = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)
    labels_BHW[:, :5, :9] = IGNORE
    return classes, masks, labels_BHW


def losses(
    batch: tuple[list[Tensor], list[Tensor], Tensor], weights_BHW: Tensor | None = None, dice_B: Tensor | None = None
) -> tuple[dict[str, Tensor], list[Tensor]]:
    classes, masks, labels_BHW = batch
    found = mask_loss(
        classes,
        masks,
        labels_BHW,
        num_masks=count_masks(labels_BHW),
        num_images=count_labelled(labels_BHW),
        generators=[torch.Generator().manual_seed(number) for number in range(len(labels_BHW))],
        settings=SETTINGS,
        weights_BHW=weights_BHW,
        dice_B=dice_B,
    )
    return found, list(torch.autograd.grad(found["loss"], [*classes, *masks]))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), share=st.floats(0.0625, 1.0))
def test_an_image_trusted_by_a_share_has_that_share_of_the_loss(seed: int, share: float) -> None:
    batch = a_batch(seed)
    whole, gradients = losses(batch)
    part, of_part = losses(batch, torch.full(batch[2].shape, share))
    for name in (*PARTS, "loss"):
        torch.testing.assert_close(part[name], share * whole[name], rtol=1e-4, atol=1e-6)
    for one, other in zip(of_part, gradients, strict=True):
        torch.testing.assert_close(one, share * other, rtol=1e-3, atol=1e-6)


def test_full_trust_is_no_trust_to_tell() -> None:
    batch = a_batch(1)
    torch.testing.assert_close(losses(batch, torch.ones(batch[2].shape)), losses(batch), rtol=1e-5, atol=1e-7)


def test_an_image_that_is_not_trusted_has_no_gradient_and_leaves_the_other_its_own() -> None:
    batch = a_batch(2)
    weights_BHW = torch.ones(batch[2].shape)
    weights_BHW[0] = 0
    _, gradients = losses(batch)
    # what padding and other ignored pixels weigh must not matter
    weights_BHW[batch[2] == IGNORE] = 1
    found, without = losses(batch, weights_BHW)
    assert all(bool(value.isfinite()) for value in found.values())
    for one, other in zip(without, gradients, strict=True):
        assert not one[0].any()
        torch.testing.assert_close(one[1], other[1], rtol=1e-4, atol=1e-7)


def test_pixels_without_trust_move_no_mask() -> None:
    """Cells whose points all lie on pixels without trust have no gradient, those beside them have."""
    batch = a_batch(3)
    weights_BHW = torch.ones(batch[2].shape)
    weights_BHW[:, :, 16:] = 0
    _, gradients = losses(batch, weights_BHW)
    for mask in gradients[2:]:
        # a point reads the cells around it
        assert not mask[..., 5:].any()
        assert mask[..., :4].any()


def test_a_mask_counts_by_the_trust_in_its_own_pixels() -> None:
    classes, masks, labels_BHW = a_batch(4, images=1)
    labels_BHW[:, :, :16], labels_BHW[:, :, 16:] = 0, 1
    # so that no point is read between the two
    labels_BHW[:, :, 14:18] = IGNORE
    weights_BHW = torch.where(labels_BHW == 0, 1.0, 0.0)
    _, gradients = losses((classes, masks, labels_BHW), weights_BHW)
    only = labels_BHW.masked_fill(labels_BHW == 1, IGNORE)
    _, of_one = losses((classes, masks, only))
    # the query that stands for the class without trust learns no class; with that class ignored it is "no object"
    moved = gradients[0].abs().amax(2)[0] > 1e-7
    assert int((~moved).sum()) == 1 and bool((of_one[0].abs().amax(2)[0] > 1e-7).all())


def test_the_dice_factor_is_the_images_own() -> None:
    batch = a_batch(5)
    whole, _ = losses(batch)
    off, _ = losses(batch, dice_B=torch.tensor([0.0, 0.0]))
    first, _ = losses(batch, dice_B=torch.tensor([1.0, 0.0]))
    second, _ = losses(batch, dice_B=torch.tensor([0.0, 1.0]))
    assert float(off["dice"].detach()) == 0
    torch.testing.assert_close(first["dice"] + second["dice"], whole["dice"])
    assert float(first["dice"].detach()) > 0
    for name in ("class", "mask"):
        torch.testing.assert_close(off[name], whole[name])


def test_weights_come_from_confidence_as_configured() -> None:
    confidence_BHW = torch.tensor([[[0.9, 0.5, 0.97, 0.2]], [[0.1, 0.2, 0.3, 0.99]]])
    counted_BHW = torch.tensor([[[True, True, True, False]], [[True, True, True, True]]])
    assert label_weights(confidence_BHW, counted_BHW, 0.8, "ignore") is None
    torch.testing.assert_close(label_weights(confidence_BHW, counted_BHW, 0.8, "pixel"), confidence_BHW)
    shares = label_weights(confidence_BHW, counted_BHW, 0.8, "image")
    assert shares is not None
    torch.testing.assert_close(shares[:, 0, 0], torch.tensor([2 / 3, 1 / 4]))
    assert shares.shape == confidence_BHW.shape


@pytest.mark.parametrize("how", ["pixel", "image"])
def test_an_image_of_nothing_but_padding_is_not_trusted(how: str) -> None:
    found = label_weights(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool), 0.9, how)  # type: ignore[arg-type]
    assert found is not None and not found.any()
