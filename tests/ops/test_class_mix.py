"""ClassMix: which classes are pasted, and that ignore is none of them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clouds.ops.class_mix import pasted_pixels


def labels(seed: int, classes: int, ignored: float = 0.2) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    labels_HW = rng.integers(0, classes, (9, 13), dtype=np.uint8)
    labels_HW[rng.random(labels_HW.shape) < ignored] = 255
    return labels_HW


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(1, 20), share=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.75, 1.0]))
def test_whole_classes_are_pasted_in_the_number_asked_for(seed: int, classes: int, share: float) -> None:
    labels_HW = labels(seed, classes)
    pasted_HW = pasted_pixels(labels_HW, np.random.default_rng(seed), share)
    there, taken = set(np.unique(labels_HW)) - {255}, set(np.unique(labels_HW[pasted_HW]))
    assert len(taken) == math.ceil(share * len(there) - 1e-9)
    assert taken <= there
    assert not taken & set(np.unique(labels_HW[~pasted_HW]))


def test_half_of_an_odd_number_is_rounded_up_as_published() -> None:
    labels_HW = np.array([[0, 1, 2]], np.uint8)
    assert pasted_pixels(labels_HW, np.random.default_rng(0)).sum() == 2


def test_each_class_is_drawn_as_often_as_any() -> None:
    labels_HW = np.array([[3, 7, 9, 11]], np.uint8)
    counts = sum(pasted_pixels(labels_HW, np.random.default_rng(seed)).astype(int) for seed in range(400))
    assert (abs(counts - 200) < 50).all()


@pytest.mark.parametrize("labels_HW", [np.full((4, 5), 255, np.uint8), np.zeros((0, 0), np.uint8)])
def test_without_a_class_nothing_is_pasted(labels_HW: NDArray[np.uint8]) -> None:
    pasted_HW = pasted_pixels(labels_HW, np.random.default_rng(0))
    assert pasted_HW.shape == labels_HW.shape and not pasted_HW.any()


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.5"):
        pasted_pixels(labels(0, 3), np.random.default_rng(0), 1.5)
