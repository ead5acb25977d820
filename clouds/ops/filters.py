"""Which pixels of a labelled image to trust: masks of what is kept, and the labels under them. It knows no model.

Each filter takes arrays that tell of one image and gives bool (H, W), True where a pixel is kept. It judges every pixel
by itself, so any number of filters keep the same pixels in any order; only their counts depend on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.integer[Any]]
FloatArray: TypeAlias = NDArray[np.floating[Any]]

# between two shares of small integers there is more than this, and less than this is rounding
_ROUNDING = 1e-9


def confident(confidence_HW: FloatArray, least: float) -> BoolArray:
    """Pixels of at least this confidence, both in [0, 1]."""
    return np.asarray(confidence_HW >= least - _ROUNDING)


def usual_loss(loss_HW: IntArray | FloatArray, labels_HW: IntArray, limits_K: FloatArray) -> BoolArray:
    """Pixels whose loss is no higher than the limit of their label's class; those of no class in `limits_K` are kept.

    FreeMask's filter (arXiv 2310.15160, section 3.3); see `loss_limits`.
    """
    table = np.full(256, np.inf)
    table[: len(limits_K)] = limits_K
    return np.asarray(loss_HW <= table[labels_HW])


def loss_limits(loss_sum_K: IntArray | FloatArray, pixels_K: IntArray, margin: float) -> FloatArray:
    """The highest loss that is kept, of each class: `margin` times its mean loss; infinite for a class without pixels.

    Args:
        loss_sum_K: the losses of all pixels of a class, added up over all images of a set; in any unit.
        pixels_K: how many those are.
    """
    limits_K = np.full(len(pixels_K), np.inf)
    there_K = pixels_K > 0
    limits_K[there_K] = margin * np.asarray(loss_sum_K)[there_K] / pixels_K[there_K]
    return limits_K


def same_label(labels_HW: IntArray, other_HW: IntArray) -> BoolArray:
    """Pixels that two label maps of an image agree on."""
    return np.asarray(labels_HW == other_HW)


def stable(votes_HW: IntArray, views: int, least: float) -> BoolArray:
    """Pixels that at least this share of the views label alike.

    Args:
        votes_HW: how many of the views give the class that most of them give.
        views: how many there are.
        least: in [0, 1].
    """
    return np.asarray(votes_HW >= least * views - _ROUNDING)


def lowest_count(count: int, share: float) -> int:
    """How many of so many images a share of them is, rounded down to whole images."""
    return int(share * count + _ROUNDING)


def score_limit(ascending_N: Sequence[float], lowest_share: float) -> float:
    """The score below which that share of the images lies, below 1 and rounded down to whole images.

    `ascending_N` are their scores in order. Equal scores stay together, above the limit. Minus infinity without images.
    """
    return ascending_N[lowest_count(len(ascending_N), lowest_share)] if ascending_N else -np.inf


@dataclass(frozen=True, eq=False)
class Filtered:
    """Labels without the pixels that a filter does not trust, and what each filter did, in pixels that had a label.

    `alone` is what a filter would drop if there were no other, `first` what it drops of what those before it kept.
    """

    labels_HW: NDArray[np.uint8]
    labelled: int
    kept: int
    alone: Mapping[str, int]
    first: Mapping[str, int]


def filtered(labels_HW: IntArray, masks: Mapping[str, BoolArray], ignore: int) -> Filtered:
    """The labels where all masks keep them, `ignore` elsewhere; the masks are of filters by name, in their order.

    Raises `ValueError` for a mask of another shape.
    """
    labelled_HW = labels_HW != ignore
    kept_HW = labelled_HW.copy()
    alone, first = {}, {}
    for name, mask_HW in masks.items():
        if mask_HW.shape != labels_HW.shape:
            raise ValueError(f"filter {name!r} gives a mask of {mask_HW.shape}, the labels are {labels_HW.shape}")
        alone[name] = int(np.count_nonzero(labelled_HW & ~mask_HW))
        first[name] = int(np.count_nonzero(kept_HW & ~mask_HW))
        kept_HW &= mask_HW
    result_HW = np.where(kept_HW, labels_HW, ignore).astype(np.uint8)
    return Filtered(result_HW, int(labelled_HW.sum()), int(kept_HW.sum()), alone, first)


def hardness(pixels_K: IntArray, mean_loss_K: FloatArray) -> float:
    """How hard a label map is: the mean over its labelled pixels of the mean loss of their class; 0 for an empty one.

    FreeMask's measure (arXiv 2310.15160, section 3.4): it asks which classes are in an image, not how it turned out.
    """
    total = int(pixels_K.sum())
    return float((pixels_K * mean_loss_K).sum()) / total if total else 0.0


def times_by_hardness(hardness_N: FloatArray, most: int) -> NDArray[np.int64]:
    """How often each image is drawn in a round: from 1 for the easiest to `most` for the hardest, by rank.

    As FreeMask's published code chooses among its 20 images of each label map: with rank r of N, the easiest being 1,
    min(1 + round(most * r / N), most), halves rounded to even. Of equally hard images the earlier one has the lower
    rank.
    """
    count = len(hardness_N)
    rank_N = np.empty(count, dtype=np.int64)
    rank_N[np.argsort(hardness_N, kind="stable")] = np.arange(1, count + 1)
    return np.minimum(1 + np.round(rank_N / max(count, 1) * most).astype(np.int64), most)
