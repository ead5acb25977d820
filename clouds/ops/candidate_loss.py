"""The loss of several candidate masks for one target: the best one learns. It knows no model.

Source: Kirillov et al. 2023, "Segment Anything", appendix A, with one change: where that has the focal loss, this has
cross-entropy balanced between a mask and the rest. A small model that starts from nothing answers the focal loss of
small objects with empty masks, and is long in finding out that there is something better. At full size candidates are
to be given, not at a decoder's own: a mask of half the resolution can tell a pole apart only if it learns from pixels.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class CandidateLosses:
    """One value per target, float32; `iou_NC` without gradient, one per candidate."""

    cross_N: Tensor
    dice_N: Tensor
    iou_NC: Tensor


def candidate_losses(
    logits_NCHW: Tensor, targets_NHW: Tensor, inside_NHW: Tensor, certain_N: Tensor, balance: float
) -> CandidateLosses:
    """The losses of the best of candidates 1 and up and, where the prompt leaves no doubt, of candidate 0 besides.

    Args:
        logits_NCHW: any float dtype, positive inside.
        targets_NHW: bool.
        inside_NHW: bool; pixels outside carry no loss.
        certain_N: bool; whether candidate 0 has to answer.
        balance: from 0, where every pixel counts alike, to 1, where a mask counts as much as all the rest.
    """
    inside_N1HW, targets_N1HW = inside_NHW[:, None], targets_NHW[:, None]
    # what lies outside is far from every mask
    logits_NCHW = torch.where(inside_N1HW, logits_NCHW.float(), -30.0)
    with torch.no_grad():
        iou_NC = overlap(logits_NCHW > 0, targets_N1HW)
        best_N = dice_loss(logits_NCHW[:, 1:].sigmoid(), targets_N1HW).argmin(1) + 1
    every_N = torch.arange(len(best_N), device=best_N.device)
    chosen_NCHW = torch.stack([logits_NCHW[every_N, best_N], logits_NCHW[:, 0]], 1)
    weights_NC = torch.stack([torch.ones_like(certain_N), certain_N], 1).float()
    cross_NC = balanced_cross_entropy(chosen_NCHW, targets_N1HW, inside_N1HW, balance)
    dice_NC = dice_loss(chosen_NCHW.sigmoid(), targets_N1HW)
    return CandidateLosses((cross_NC * weights_NC).sum(1), (dice_NC * weights_NC).sum(1), iou_NC)


def balanced_cross_entropy(logits_NCHW: Tensor, targets_N1HW: Tensor, inside_N1HW: Tensor, balance: float) -> Tensor:
    """The mean over the pixels inside, (N, C); one of the target weighs (rest / target) ** balance of one of the rest.

    Of a target that covers more than the rest it weighs less.
    """
    covered_N = (targets_N1HW & inside_N1HW).sum((1, 2, 3)).clamp(min=1)
    rest_N = (~targets_N1HW & inside_N1HW).sum((1, 2, 3)).clamp(min=1)
    weight_N111 = ((rest_N / covered_N) ** balance)[:, None, None, None]
    weights_N1HW = torch.where(targets_N1HW, weight_N111, 1.0) * inside_N1HW
    shares_N1HW = weights_N1HW / weights_N1HW.sum((2, 3), keepdim=True)
    targets_NCHW = targets_N1HW.to(logits_NCHW.dtype).expand_as(logits_NCHW)
    entropy_NCHW = F.binary_cross_entropy_with_logits(logits_NCHW, targets_NCHW, reduction="none")
    return (shares_N1HW * entropy_NCHW).sum((2, 3))


def dice_loss(shares_NCHW: Tensor, targets_N1HW: Tensor) -> Tensor:
    """The dice loss of each soft mask in [0, 1], (N, C)."""
    common_NC = (shares_NCHW * targets_N1HW).sum((2, 3))
    return 1 - (2 * common_NC + 1) / (shares_NCHW.sum((2, 3)) + targets_N1HW.sum((2, 3)) + 1)


def overlap(masks_NCHW: Tensor, targets_N1HW: Tensor) -> Tensor:
    """The IoU of bool masks, (N, C) float32; 0 where both are empty."""
    common_NC = (masks_NCHW & targets_N1HW).sum((2, 3))
    union_NC = (masks_NCHW | targets_N1HW).sum((2, 3))
    return common_NC / union_NC.clamp(min=1)
