"""Connected components of a label map. It knows no model and no prompt: only regions of pixels that share a class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Region:
    """Some pixels of one class, kept as a crop to their bounding box.

    `mask_HW` is the crop; its corner lies at row `top`, column `left` of the image. An empty region has a 0x0 crop.
    """

    class_id: int
    top: int
    left: int
    mask_HW: BoolArray
    area: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The crop's rows and columns in the image."""
        height, width = self.mask_HW.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def box_XYXY(self) -> tuple[int, int, int, int]:
        """The first and last pixel of the crop: left, top, right, bottom, all inclusive."""
        height, width = self.mask_HW.shape
        return self.left, self.top, self.left + width - 1, self.top + height - 1

    def iou(self, mask_HW: BoolArray) -> float:
        """Intersection over union with a mask of the whole image; 1 for two empty ones."""
        common = np.count_nonzero(mask_HW[self.window] & self.mask_HW)
        union = self.area + np.count_nonzero(mask_HW) - common
        return common / union if union else 1.0

    def overlap(self, other: "Region") -> int:
        """How many pixels of the image it shares with another region of it."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        height = min(self.window[0].stop, other.window[0].stop) - top
        width = min(self.window[1].stop, other.window[1].stop) - left
        if height <= 0 or width <= 0:
            return 0
        mine, theirs = (
            region.mask_HW[top - region.top :, left - region.left :][:height, :width] for region in (self, other)
        )
        return int(np.count_nonzero(mine & theirs))

    def agreement(self, other: "Region") -> float:
        """Intersection over union with another region of the image; 1 for two empty ones."""
        common = self.overlap(other)
        union = self.area + other.area - common
        return common / union if union else 1.0


def region_of(mask_HW: BoolArray, class_id: int) -> Region:
    """The true pixels of a mask of the whole image as a region."""
    rows = np.flatnonzero(mask_HW.any(axis=1))
    columns = np.flatnonzero(mask_HW.any(axis=0))
    if not rows.size:
        return Region(class_id, 0, 0, np.zeros((0, 0), dtype=np.bool_), 0)
    top, left = int(rows[0]), int(columns[0])
    crop_HW = mask_HW[top : rows[-1] + 1, left : columns[-1] + 1].copy()
    return Region(class_id, top, left, crop_HW, int(np.count_nonzero(crop_HW)))


def connected_components(labels_HW: IntArray, ignore: int = 255, connectivity: int = 8) -> list[Region]:
    """Every connected component of every class, ordered by its first pixel in reading order.

    The order, and so whatever is drawn at random for one component after another, does not depend on which number a
    class has.

    Args:
        labels_HW: class ids, any non-negative integer dtype.
        ignore: the id that belongs to no class.
        connectivity: 8, where pixels that touch at a corner are connected, or 4, where they are not.
    """
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity is 4 or 8, not {connectivity}")
    structure = ndimage.generate_binary_structure(2, 2 if connectivity == 8 else 1)
    # find_objects takes 0 for background, so class ids move up by one
    shifted_HW = np.where(labels_HW == ignore, 0, labels_HW.astype(np.int32) + 1)
    regions: list[Region] = []
    for class_id, window in enumerate(ndimage.find_objects(shifted_HW)):
        if window is not None:
            regions += _components_of_class(shifted_HW[window] == class_id + 1, class_id, window, structure)
    return sorted(regions, key=_first_pixel)


def _components_of_class(
    mask_HW: BoolArray, class_id: int, window: tuple[slice, slice], structure: BoolArray
) -> list[Region]:
    numbered_HW, count = ndimage.label(mask_HW, structure)
    areas = np.bincount(numbered_HW.ravel(), minlength=count + 1)
    return [
        Region(
            class_id=class_id,
            top=window[0].start + rows.start,
            left=window[1].start + columns.start,
            mask_HW=numbered_HW[rows, columns] == number,
            area=int(areas[number]),
        )
        for number, (rows, columns) in enumerate(ndimage.find_objects(numbered_HW), start=1)
    ]


def _first_pixel(region: Region) -> tuple[int, int]:
    return region.top, region.left + int(region.mask_HW[0].argmax())
