"""Boundary IoU: overlap counted near contours alone, where large classes are not right already. It knows no names.

Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021. A mask's boundary
region is those of its pixels that are at most d pixels from its contour, d = 2% of the image's diagonal, rounded, at
least 1. The published code (`bowenc0221/boundary-iou-api`) makes it by d erosions with a 3x3 square of the mask with a
frame of nothing around it; that is: all pixels of the mask whose square of 2 d + 1 pixels does not lie within the mask.
So the image's edge counts as a contour. Boundary IoU of a class is the intersection of the two boundary regions over
their union, here counted in pixels per image and summed over a data set, as IoU is.

The masks of all classes are looked at together: a pixel is in the boundary region of its class exactly where its
square holds any other value. This equals the published definition class by class. detectron2's evaluator erodes the
label map itself instead, a minimum over class ids, which depends on how classes are numbered: its numbers differ.

Ignored pixels (the definition has none) count nowhere and are to both masks what lies beyond the image's edge. So a
prediction that is right wherever there is ground truth scores 1, whatever it says elsewhere.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clouds.ops.confusion import FloatArray, Matrix, mean_iou, pair_counts

Bytes = NDArray[np.uint8]

RATIO = 0.02
"""The published share of the image's diagonal."""


def boundary_counts(
    prediction_HW: NDArray[np.integer[Any]],
    target_HW: NDArray[np.integer[Any]],
    num_classes: int,
    ignore: int = 255,
    ratio: float = RATIO,
) -> Matrix:
    """Pixels of each class's boundary regions; counts of several images add up.

    Args:
        prediction_HW, target_HW: as `confusion_matrix` takes and checks them.
        ratio: the regions' width as a share of the image's diagonal.

    Returns:
        int64 (3, K): in both regions, in the truth's, in the prediction's.
    """
    distance = boundary_distance(target_HW.shape[0], target_HW.shape[1], ratio)
    truth_HW, predicted_HW = target_HW.astype(np.uint8, copy=False), prediction_HW.astype(np.uint8, copy=False)
    seen_HW = np.where(truth_HW == ignore, np.uint8(ignore), predicted_HW)
    pairs = pair_counts(*(boundary_labels(labels_HW, distance, ignore) for labels_HW in (truth_HW, seen_HW)))
    return np.stack([pairs.diagonal(), pairs.sum(axis=1), pairs.sum(axis=0)])[:, :num_classes]


def boundary_labels(labels_HW: Bytes, distance: int, ignore: int = 255) -> Bytes:
    """The labels where they belong to the boundary region of their class, `ignore` elsewhere.

    That is where the square of 2 `distance` + 1 pixels around a pixel holds another value, or leaves the image.
    """
    lowest_HW = highest_HW = np.pad(labels_HW, distance, constant_values=ignore)
    for axis in (0, 1):
        lowest_HW = _window(np.minimum, lowest_HW, 2 * distance + 1, axis)
        highest_HW = _window(np.maximum, highest_HW, 2 * distance + 1, axis)
    return np.where(lowest_HW == highest_HW, np.uint8(ignore), labels_HW)


def boundary_distance(height: int, width: int, ratio: float = RATIO) -> int:
    """How many pixels from the contour a boundary region reaches in an image of this size."""
    return max(1, round(ratio * math.hypot(height, width)))


def boundary_iou(counts: Matrix) -> tuple[FloatArray, float]:
    """Boundary IoU of each class and its mean, in [0, 1], of summed counts; NaN where there is no ground truth."""
    right_K, truth_K, predicted_K = counts.astype(np.float64)
    iou_K = np.full(right_K.shape, np.nan)
    np.divide(right_K, truth_K + predicted_K - right_K, out=iou_K, where=truth_K > 0)
    return iou_K, float(mean_iou(right_K, truth_K, predicted_K))


def _window(extreme: np.ufunc, values: Bytes, size: int, axis: int) -> Bytes:
    """The extreme value of each window of `size` values along an axis; windows that leave the array are left out.

    Windows of twice the length are made of two: log2(size) passes, each of them fast.
    """
    reach = 1
    while reach < size:
        step = min(reach, size - reach)
        length = values.shape[axis] - step
        first, second = (values[:length], values[step:]) if axis == 0 else (values[:, :length], values[:, step:])
        values = extreme(first, second)
        reach += step
    return values
