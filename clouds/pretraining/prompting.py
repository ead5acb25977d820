"""Prompts as users and label maps give them, made up from a true mask. It knows no model.

Points and boxes are (x, y) in pixels of the mask. Source of points, noisy boxes and corrections: Kirillov et al. 2023,
"Segment Anything", appendix A; components stand for the pseudo-labels this project refines.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from clouds.ops.components import BoolArray
from clouds.pretraining.promptable_config import PromptConfig

_LEAST_OVERLAP = 0.35
_TOUCH = np.ones((3, 3), dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class FirstPrompt:
    """What is asked before there is an answer: points on the mask as they say, int64 (N, 2); a box; a mask."""

    points_NX: NDArray[np.int64]
    box_X: NDArray[np.float32] | None = None
    shown_HW: BoolArray | None = None


def first_prompt(
    target_HW: BoolArray, objects_HW: NDArray[np.integer], config: PromptConfig, rng: np.random.Generator
) -> FirstPrompt:
    """A point, a noisy box or a component of the (non-empty) mask, as often as the config says."""
    shares = np.array([config.point, config.box, config.component])
    kind = rng.choice(3, p=shares / shares.sum())
    if kind == 0:
        return FirstPrompt(points_in(target_HW, 1, rng))
    if kind == 1:
        return FirstPrompt(np.zeros((0, 2), np.int64), noisy_box(target_HW, rng))
    region_HW = corrupted(target_HW, objects_HW, rng)
    points_NX = points_in(region_HW, int(rng.integers(1, config.component_points + 1)), rng)
    boxed, shown = rng.random(2) < (config.component_box, config.component_shown)
    return FirstPrompt(points_NX, box_of(region_HW) if boxed else None, region_HW if shown else None)


def points_in(mask_HW: BoolArray, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Pixels of a non-empty mask as (x, y), (count, 2); distinct while there are enough."""
    flat = np.flatnonzero(mask_HW)
    rows, columns = np.unravel_index(rng.choice(flat, size=count, replace=len(flat) < count), mask_HW.shape)
    return np.stack([columns, rows], axis=1).astype(np.int64)


def correction(
    answer_HW: BoolArray, target_HW: BoolArray, rng: np.random.Generator
) -> tuple[NDArray[np.int64], bool] | None:
    """A pixel (x, y) where the answer is wrong, and whether it is on the target; None where nothing is."""
    wrong_HW = answer_HW != target_HW
    if not wrong_HW.any():
        return None
    [point_X] = points_in(wrong_HW, 1, rng)
    return point_X, bool(target_HW[point_X[1], point_X[0]])


def box_of(mask_HW: BoolArray) -> NDArray[np.float32]:
    """Left, top, right, bottom of a non-empty mask, inclusive pixels."""
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float32)


def noisy_box(mask_HW: BoolArray, rng: np.random.Generator) -> NDArray[np.float32]:
    """The mask's box, each side moved by a tenth of the box's length in standard deviation, 20 pixels at most."""
    box_X = box_of(mask_HW)
    sides = np.tile(box_X[2:] - box_X[:2] + 1, 2)
    moved_X = box_X + np.clip(rng.normal(size=4) * 0.1 * sides, -20, 20)
    height, width = mask_HW.shape
    moved_X = np.clip(moved_X, 0, np.array([width - 1, height - 1] * 2))
    # a thin box must not turn inside out
    return np.concatenate([np.minimum(moved_X[:2], moved_X[2:]), np.maximum(moved_X[:2], moved_X[2:])]).astype(
        np.float32
    )


def corrupted(target_HW: BoolArray, objects_HW: NDArray[np.integer], rng: np.random.Generator) -> BoolArray:
    """The mask as a segmenter may see it: its outline frayed, grown or shrunk; now and then leaked into a neighbour.

    Never empty; a result that would be hardly the same thing is given up for the mask itself.
    """
    reach = float(np.clip(0.15 * np.sqrt(np.count_nonzero(target_HW)), 0.6, 5.0) * rng.uniform(0.4, 1.2))
    margin = int(4 * reach) + 2
    left, top, right, bottom = box_of(target_HW).astype(int)
    window = (slice(max(0, top - margin), bottom + margin + 1), slice(max(0, left - margin), right + margin + 1))
    near_HW = target_HW[window]
    noise_HW = ndimage.gaussian_filter(rng.standard_normal(near_HW.shape), 1.5 * reach)
    soft_HW = ndimage.gaussian_filter(near_HW.astype(np.float32), reach)
    level = 0.5 + rng.uniform(-0.25, 0.25)
    seen_HW = soft_HW + 0.2 * noise_HW / max(float(noise_HW.std()), 1e-6) > level
    if rng.random() < 0.3:
        seen_HW |= _leak(near_HW, objects_HW[window], int(rng.integers(1, margin + 1)), rng)
    common, union = np.count_nonzero(seen_HW & near_HW), np.count_nonzero(seen_HW | near_HW)
    if common < _LEAST_OVERLAP * union:
        return target_HW
    region_HW = np.zeros_like(target_HW)
    region_HW[window] = seen_HW
    return region_HW


def touching(mask_HW: BoolArray, objects_HW: NDArray[np.integer]) -> NDArray[np.integer]:
    """The numbers of the objects that touch a mask from outside, ascending."""
    rim_HW = ndimage.binary_dilation(mask_HW, _TOUCH) & ~mask_HW
    numbers = np.unique(objects_HW[rim_HW])
    return numbers[numbers > 0]


def _leak(mask_HW: BoolArray, objects_HW: NDArray[np.integer], distance: int, rng: np.random.Generator) -> BoolArray:
    """What of one neighbour lies within a distance of the mask."""
    neighbours = touching(mask_HW, objects_HW)
    if not len(neighbours):
        return np.zeros_like(mask_HW)
    grown_HW: BoolArray = ndimage.binary_dilation(mask_HW, _TOUCH, iterations=distance)
    return grown_HW & (objects_HW == rng.choice(neighbours))
