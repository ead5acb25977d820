"""Points and boxes that ask a mask model for one region. It does not know which model answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from clouds.ops.components import IntArray, Region

PointRule = Literal["random", "core", "centre"]
_NO_POINTS: NDArray[np.int64] = np.zeros((0, 2), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a mask model is asked: foreground points as (x, y) pixels of the image and, if wanted, a box.

    `points_NXY` has shape (N, 2), int64; `box_XYXY` is left, top, right, bottom, inclusive pixels; `negatives_NXY`
    are points that the mask should leave out; `image` says which of the images that the model has seen is meant.
    """

    points_NXY: NDArray[np.int64]
    box_XYXY: tuple[int, int, int, int] | None = None
    negatives_NXY: NDArray[np.int64] = field(default_factory=lambda: _NO_POINTS)
    image: int = 0


def prompts_for(
    regions: Sequence[Region], rule: PointRule, count: int, with_box: bool, rng: np.random.Generator
) -> list[Prompt]:
    """One prompt per region, in order, all with the same number of points so that a model can batch them."""
    return [Prompt(points_on(region, rule, count, rng), region.box_XYXY if with_box else None) for region in regions]


def with_negatives(
    prompts: Sequence[Prompt],
    regions: Sequence[Region],
    labels_HW: IntArray,
    count: int,
    rng: np.random.Generator,
    ignore: int = 255,
) -> list[Prompt]:
    """The prompts with `count` points each on neighbours of other classes; none where a region has no neighbour."""
    return [
        replace(prompt, negatives_NXY=points_off(region, labels_HW, count, rng, ignore))
        for prompt, region in zip(prompts, regions, strict=True)
    ]


def points_on(region: Region, rule: PointRule, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Points (N, 2) as (x, y) pixels of the image, every one of them on the region.

    Args:
        rule: `random`: `count` pixels of the region; `core`: `count` of those at least half as far from its edge as
            its deepest pixel; `centre`: the deepest pixel alone (on a ring that is on the ring, not in its hole).
        count: points wanted; distinct while there are enough pixels to draw from.
    """
    if not region.area:
        raise ValueError("an empty region has no pixel to put a point on")
    if rule == "random":
        flat = np.flatnonzero(region.mask_HW)
    else:
        depth_HW = _depth(region)
        flat = np.flatnonzero(depth_HW >= depth_HW.max() * (1.0 if rule == "centre" else 0.5))
    # of equally deep pixels the middle one, so that a long bar is asked at its middle
    middle = flat[[len(flat) // 2]]
    picked = middle if rule == "centre" else rng.choice(flat, size=count, replace=len(flat) < count)
    return _as_points(picked, region.mask_HW.shape, region.top, region.left)


def points_off(
    region: Region, labels_HW: IntArray, count: int, rng: np.random.Generator, ignore: int = 255
) -> NDArray[np.int64]:
    """Points (N, 2) as (x, y) pixels of the image on other classes around a region; none where there are no such.

    They lie no farther from the region than its deepest pixel lies within it, and where there is room at least half
    as far: the edge of a pseudo-label is its least certain part.
    """
    depth = int(_depth(region).max())
    height, width = labels_HW.shape
    rows, columns = region.window
    top, left = max(rows.start - depth, 0), max(columns.start - depth, 0)
    near_HW = labels_HW[top : min(rows.stop + depth, height), left : min(columns.stop + depth, width)]
    outside_HW = np.ones(near_HW.shape, dtype=np.bool_)
    inner = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    outside_HW[inner] = ~region.mask_HW
    distance_HW = ndimage.distance_transform_cdt(outside_HW, metric="chessboard")
    other_HW = (near_HW != ignore) & (near_HW != region.class_id) & (distance_HW <= depth)
    far_HW = other_HW & (2 * distance_HW > depth)
    flat = np.flatnonzero(far_HW if far_HW.any() else other_HW)
    if not flat.size or not count:
        return _NO_POINTS
    return _as_points(rng.choice(flat, size=count, replace=len(flat) < count), near_HW.shape, top, left)


def _as_points(flat: NDArray[np.int64], shape: tuple[int, ...], top: int, left: int) -> NDArray[np.int64]:
    """Flat positions in a crop whose corner lies at `top`, `left` as (x, y) pixels of the image."""
    rows, columns = np.unravel_index(flat, shape)
    return np.stack([columns + left, rows + top], axis=1).astype(np.int64)


def _depth(region: Region) -> NDArray[np.int32]:
    # a rim of background: the edge of the crop is an edge of the region
    padded_HW = np.pad(region.mask_HW, 1)
    # chessboard steps: exact distances take 16 times as long and move no point off the region
    depth_HW: NDArray[np.int32] = ndimage.distance_transform_cdt(padded_HW, metric="chessboard")[1:-1, 1:-1]
    return depth_HW
