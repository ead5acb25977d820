"""How many pixels of a label map belong to which class. It knows no class names and no data set."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels_K1 = NDArray[np.int64]
"""Pixels of each class and, last, those ignored."""


def class_pixels(labels_HW: NDArray[np.integer[Any]], num_classes: int) -> Pixels_K1:
    """int64 (K + 1) pixels of each class and, last, of none: whatever is no class's id counts as ignored."""
    return np.bincount(packed_ids(labels_HW, num_classes).ravel(), minlength=num_classes + 1)


def packed_ids(labels_HW: NDArray[np.integer[Any]], num_classes: int) -> NDArray[np.uint8]:
    """uint8 [H, W]: the ids with the ignored one behind the classes'."""
    packed_HW: NDArray[np.uint8] = np.where(labels_HW < num_classes, labels_HW, num_classes)
    return packed_HW.astype(np.uint8)
