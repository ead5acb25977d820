"""Points and boxes that ask a mask model for one region. It does not know which model answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from clouds.ops.components import Region

PointRule = Literal["random", "core", "centre"]


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a mask model is asked: foreground points as (x, y) pixels of the image and, if wanted, a box.

    `points_NXY` has shape (N, 2), int64; `box_XYXY` is left, top, right, bottom, inclusive pixels.
    """

    points_NXY: NDArray[np.int64]
    box_XYXY: tuple[int, int, int, int] | None = None


def prompts_for(
    regions: Sequence[Region], rule: PointRule, count: int, with_box: bool, rng: np.random.Generator
) -> list[Prompt]:
    """One prompt per region, in order, all with the same number of points so that a model can batch them."""
    return [Prompt(points_on(region, rule, count, rng), region.box_XYXY if with_box else None) for region in regions]


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
    rows, columns = np.unravel_index(picked, region.mask_HW.shape)
    return np.stack([columns + region.left, rows + region.top], axis=1).astype(np.int64)


def _depth(region: Region) -> NDArray[np.int32]:
    # a rim of background: the edge of the crop is an edge of the region
    padded_HW = np.pad(region.mask_HW, 1)
    # chessboard steps: exact distances take 16 times as long and move no point off the region
    depth_HW: NDArray[np.int32] = ndimage.distance_transform_cdt(padded_HW, metric="chessboard")[1:-1, 1:-1]
    return depth_HW
