"""Boundary IoU against its published definition: erosions of each class's mask, one class at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from clouds.ops.boundary import boundary_counts, boundary_distance, boundary_iou, boundary_labels

IGNORE = 255


def blobs(seed: int, classes: int, shape: tuple[int, int], ignored: bool) -> np.ndarray:
    """Labels in blobs of a few pixels, some ignored."""
    rng = np.random.default_rng(seed)
    ids = [*range(classes), *([IGNORE] if ignored else [])]
    coarse = rng.choice(ids, (shape[0] // 4 + 1, shape[1] // 4 + 1)).astype(np.uint8)
    return coarse.repeat(4, 0).repeat(4, 1)[: shape[0], : shape[1]]


def published_region(mask_HW: np.ndarray, distance: int) -> np.ndarray:
    """The mask less its erosion by a 3x3 square, `distance` times, with nothing around the image."""
    return mask_HW & ~ndimage.binary_erosion(mask_HW, np.ones((3, 3)), iterations=distance, border_value=0)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 30), st.integers(1, 30), st.floats(0.02, 0.3))
def test_each_class_counts_as_the_published_definition_says(seed, classes, height, width, ratio):
    truth_HW, predicted_HW = (blobs(seed + n, classes, (height, width), ignored=False) for n in (0, 1))
    counts = boundary_counts(predicted_HW, truth_HW, classes, ratio=ratio)
    distance = max(1, round(ratio * np.sqrt(height**2 + width**2)))
    assert counts.shape == (3, classes) and counts.dtype == np.int64
    for k in range(classes):
        truth, predicted = (published_region(one == k, distance) for one in (truth_HW, predicted_HW))
        assert counts[:, k].tolist() == [(truth & predicted).sum(), truth.sum(), predicted.sum()]


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_right_wherever_there_is_truth_is_perfect_whatever_is_said_elsewhere(seed, classes):
    truth_HW = blobs(seed, classes, (23, 31), ignored=True)
    predicted_HW = np.where(truth_HW == IGNORE, blobs(seed + 1, classes, (23, 31), ignored=False), truth_HW)
    iou_K, mean = boundary_iou(boundary_counts(predicted_HW, truth_HW, classes, ratio=0.1))
    present_K = np.isin(np.arange(classes), truth_HW)
    assert (iou_K[present_K] == 1).all() and np.isnan(iou_K[~present_K]).all()
    assert mean == 1 or not present_K.any()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6))
def test_of_an_image_of_one_class_the_frame_is_the_boundary(height, width, distance):
    found_HW = boundary_labels(np.zeros((height, width), np.uint8), distance) == 0
    expected_HW = np.ones((height, width), bool)
    expected_HW[distance : height - distance, distance : width - distance] = False
    np.testing.assert_array_equal(found_HW, expected_HW)


@given(st.integers(0, 10_000))
def test_counts_of_images_add_up_and_follow_the_classes_when_renumbered(seed):
    truth_HW, predicted_HW = (blobs(seed + n, 4, (20, 25), ignored=True) for n in (0, 1))
    counts = boundary_counts(predicted_HW, truth_HW, 4, ratio=0.06)
    order = np.random.default_rng(seed).permutation(4)
    renumber = np.full(256, IGNORE, np.uint8)
    renumber[:4] = order
    renumbered = boundary_counts(renumber[predicted_HW], renumber[truth_HW], 4, ratio=0.06)
    np.testing.assert_array_equal(renumbered[:, order], counts)
    twice, _ = boundary_iou(counts + counts)
    np.testing.assert_array_equal(twice, boundary_iou(counts)[0])


def test_a_small_shift_costs_a_large_class_more_at_its_boundary_than_in_its_area():
    truth_HW = np.zeros((100, 100), np.uint8)
    truth_HW[20:80, 20:80] = 1
    shifted_HW = np.roll(truth_HW, 2, axis=1)
    area = (truth_HW & shifted_HW).sum() / (truth_HW | shifted_HW).sum()
    iou_K, _ = boundary_iou(boundary_counts(shifted_HW, truth_HW, 2))
    assert area > 0.93 and iou_K[1] < 0.6


def test_the_distance_is_two_percent_of_the_diagonal_and_never_nothing():
    assert boundary_distance(1024, 2048) == 46
    assert boundary_distance(10, 10) == 1


def test_a_class_without_truth_has_no_score_and_no_part_in_the_mean():
    iou_K, mean = boundary_iou(np.array([[2, 0], [4, 0], [2, 7]]))
    assert iou_K[0] == pytest.approx(0.5) and np.isnan(iou_K[1]) and mean == pytest.approx(0.5)
