"""The loss of candidate masks: which one learns, where, and from what."""

import pytest
import torch

from clouds.ops.candidate_loss import balanced_cross_entropy, candidate_losses, dice_loss, overlap


def setting():
    """One square target; four candidates: empty, wrong, right, all."""
    target_HW = torch.zeros(8, 8, dtype=torch.bool)
    target_HW[2:5, 2:6] = True
    masks = torch.stack([torch.zeros_like(target_HW), ~target_HW, target_HW, torch.ones_like(target_HW)])
    logits_NCHW = (masks.float() * 12 - 6)[None].requires_grad_()
    return logits_NCHW, target_HW[None], torch.ones(1, 8, 8, dtype=torch.bool)


def test_the_best_candidate_learns_and_the_single_one_where_it_has_to():
    for certain in (False, True):
        logits_NCHW, targets_NHW, inside_NHW = setting()
        losses = candidate_losses(logits_NCHW, targets_NHW, inside_NHW, torch.tensor([certain]), 0.75)
        (losses.cross_N + losses.dice_N).sum().backward()
        learns = logits_NCHW.grad.abs().sum((0, 2, 3)) > 0
        assert learns.tolist() == [certain, False, True, False]
        assert losses.iou_NC.tolist() == [[0, 0, 1, 12 / 64]]
        assert losses.dice_N.item() == pytest.approx(0.92 if certain else 0.0, abs=0.05)


def test_pixels_outside_carry_no_loss():
    logits_NCHW, targets_NHW, inside_NHW = setting()
    inside_NHW[:, :, 6:] = False
    one = candidate_losses(logits_NCHW, targets_NHW, inside_NHW, torch.tensor([True]), 0.75)
    changed_NCHW = logits_NCHW.detach().clone()
    changed_NCHW[..., 6:] = 9
    other = candidate_losses(changed_NCHW, targets_NHW, inside_NHW, torch.tensor([True]), 0.75)
    for name in ("cross_N", "dice_N", "iou_NC"):
        assert torch.equal(getattr(one, name), getattr(other, name))


def test_balance_says_what_a_small_mask_counts():
    target = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    target[..., :2, :2] = True
    inside = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    inside[..., 3] = False  # 4 pixels of the target, 8 of the rest
    logits = torch.where(target, -1.0, -3.0)
    missed, found = (
        torch.tensor(-1.0).sigmoid().log().neg().item(),
        (1 - torch.tensor(-3.0).sigmoid()).log().neg().item(),
    )
    for balance, weight in ((0.0, 1.0), (0.5, 2**0.5), (1.0, 2.0)):
        expected = (4 * weight * missed + 8 * found) / (4 * weight + 8)
        [[value]] = balanced_cross_entropy(logits, target, inside, balance).tolist()
        assert value == pytest.approx(expected, rel=1e-5)


def test_overlap_and_dice_of_known_masks():
    target = torch.tensor([[[[True, True, False, False]]]])
    masks = torch.tensor([[[[True, False, False, False]], [[True, True, False, False]], [[False] * 4]]])
    assert overlap(masks, target).tolist() == [[0.5, 1.0, 0.0]]
    assert dice_loss(masks.float(), target)[0].tolist() == pytest.approx([1 - 3 / 4, 0.0, 1 - 1 / 3])
