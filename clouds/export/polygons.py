"""The outline of a connected region along the edges of its pixels. It knows no class and no format.

Corners lie between pixels: pixel (row, column) is the square from (column, row) to (column + 1, row + 1). So the
outline holds exactly the region and its holes.
"""

import numpy as np
from numpy.typing import NDArray

# right, down, left, up as (row, column)
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
# from a corner, the pixels ahead on the left and on the right of each direction, as (row, column) from the corner
_AHEAD_LEFT = ((-1, 0), (0, 0), (0, -1), (-1, -1))
_AHEAD_RIGHT = ((0, 0), (0, -1), (-1, -1), (-1, 0))


def outline(mask_HW: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The corners of a region's outer outline as (x, y), int64 [N, 2], clockwise from its first pixel in reading order.

    `mask_HW` has one region whose pixels are connected through their edges; pixels that touch at a corner only are on
    both sides of the outline there.
    """
    height, width = mask_HW.shape
    inside = np.zeros((height + 2, width + 2), np.bool_)
    inside[1:-1, 1:-1] = mask_HW
    # plain bytes: a walk of single steps is several times as fast on them as on an array
    cells, stride = inside.tobytes(), width + 2
    left = [row * stride + column for row, column in _AHEAD_LEFT]
    right = [row * stride + column for row, column in _AHEAD_RIGHT]
    step = [row * stride + column for row, column in _STEPS]
    start = stride + 1 + int(mask_HW[0].argmax())
    corner, direction = start, 0
    corners: list[int] = []
    while True:
        if not cells[corner + right[direction]]:
            turned = (direction + 1) % 4
        elif cells[corner + left[direction]]:
            turned = (direction + 3) % 4
        else:
            turned = direction
        if turned != direction or not corners:
            corners.append(corner)
        corner, direction = corner + step[turned], turned
        # nothing of the region is above its first pixel or left of it, so the walk meets that corner once
        if corner == start:
            break
    places = np.array(corners)
    return np.stack([places % stride - 1, places // stride - 1], axis=1)


def enclosed_area(corners_NXY: NDArray[np.int64]) -> int:
    """How many pixels an outline encloses, its holes among them."""
    x, y = corners_NXY[:, 0], corners_NXY[:, 1]
    return int(abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) // 2
