"""How far a segmenter's scores bear out labels, pixel by pixel. It knows no model and decides nothing."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LOSS_STEPS = 4096
"""Steps that a natural unit of loss is stored in: a uint16 holds losses below 16, and higher ones as the highest."""

_HIGHEST = 2**16 - 1


def label_loss(scores_KHW: Tensor, labels_HW: NDArray[np.uint8], ignore: int = 255) -> NDArray[np.uint16]:
    """The cross-entropy of given labels, in steps of 1 / LOSS_STEPS, at most 65535: (H, W), 0 without a label.

    Args:
        scores_KHW: float, at least 0. A class's probability is its share of the pixel's scores; where these sum to less
            than 1, what is missing counts for no class.
        labels_HW: class ids below K, or `ignore`.
    """
    scores_KHW = scores_KHW.float()
    ids_HW = torch.from_numpy(labels_HW).to(scores_KHW.device).long()
    labelled_HW = ids_HW != ignore
    own_HW = scores_KHW.gather(0, ids_HW.where(labelled_HW, 0)[None])[0]
    share_HW = (own_HW / scores_KHW.sum(0).clamp(min=1.0)).nan_to_num(nan=0.0, posinf=0.0)
    steps_HW = (-share_HW.clamp(min=1e-30).log() * LOSS_STEPS).round().clamp(0, _HIGHEST)
    return steps_HW.where(labelled_HW, 0).cpu().numpy().astype(np.uint16)


def votes(labels_VHW: Sequence[NDArray[np.uint8]], ignore: int = 255) -> NDArray[np.uint8]:
    """How many of an image's label maps give the class that most of them give: uint8 (H, W), at most 255 maps.

    A map that says `ignore` gives no class.
    """
    most_HW = np.zeros(labels_VHW[0].shape, dtype=np.uint8)
    for one_HW in labels_VHW:
        alike_HW = np.zeros_like(most_HW)
        for other_HW in labels_VHW:
            alike_HW += (one_HW == other_HW) & (one_HW != ignore)
        np.maximum(most_HW, alike_HW, out=most_HW)
    return most_HW


def count_classes(labels_HW: NDArray[np.uint8], values_HW: NDArray[np.integer], ignore: int = 255) -> list[list[int]]:
    """[class, its pixels, the sum of their values] of each class in a label map."""
    pixels = np.bincount(labels_HW.ravel(), minlength=256)
    # exact: a sum of 16-bit integers in float64 loses nothing below 2 ** 37 pixels
    sums = np.bincount(labels_HW.ravel(), weights=values_HW.ravel().astype(np.float64), minlength=256)
    return [[int(one), int(pixels[one]), int(sums[one])] for one in np.flatnonzero(pixels) if one != ignore]
