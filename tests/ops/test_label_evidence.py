"""How far scores bear out labels: losses in steps, votes of views, sums over classes."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from clouds.ops.label_evidence import LOSS_STEPS, count_classes, label_loss, votes

IGNORE = 255


def scores(*pixels):
    """(K, 1, W) of the scores of each pixel."""
    return torch.tensor(pixels, dtype=torch.float32).T[:, None]


def test_the_loss_is_the_cross_entropy_of_the_label():
    logits_KHW = torch.randn(5, 7, 6, generator=torch.Generator().manual_seed(0))
    labels_HW = torch.randint(5, (7, 6), generator=torch.Generator().manual_seed(1))
    expected_HW = F.cross_entropy(logits_KHW[None], labels_HW[None], reduction="none")[0]
    found_HW = label_loss(logits_KHW.softmax(0), labels_HW.numpy().astype(np.uint8))
    assert found_HW.dtype == np.uint16
    np.testing.assert_allclose(found_HW / LOSS_STEPS, expected_HW.numpy(), atol=0.6 / LOSS_STEPS, rtol=1e-5)


def test_what_scores_lack_counts_against_the_label_and_what_is_too_much_is_shared():
    steps = label_loss(scores([0.5, 0.0], [0.5, 0.25], [3.0, 1.0]), np.zeros((1, 3), np.uint8))[0]
    expected = [math.log(2), math.log(2), math.log(4 / 3)]
    np.testing.assert_allclose(steps / LOSS_STEPS, expected, atol=1 / LOSS_STEPS)


def test_the_highest_loss_is_what_16_bits_hold_and_no_label_has_none():
    labels_HW = np.array([[0, 0, 0, IGNORE]], np.uint8)
    steps = label_loss(scores([0.0, 1.0], [0.0, 0.0], [math.nan, 1.0], [0.0, 1.0]), labels_HW)
    assert steps.tolist() == [[65535, 65535, 65535, 0]]


def test_the_class_of_a_label_has_nothing_to_do_with_its_number():
    scores_KHW = torch.rand(4, 5, 5, generator=torch.Generator().manual_seed(0))
    labels_HW = torch.randint(4, (5, 5), generator=torch.Generator().manual_seed(1))
    order = torch.tensor([2, 0, 3, 1])
    # class k moves to order[k]
    moved_KHW = torch.empty_like(scores_KHW)
    moved_KHW[order] = scores_KHW
    one_HW, other_HW = (ids_HW.numpy().astype(np.uint8) for ids_HW in (labels_HW, order[labels_HW]))
    np.testing.assert_array_equal(label_loss(scores_KHW, one_HW), label_loss(moved_KHW, other_HW))


@given(st.lists(st.lists(st.sampled_from([0, 1, 2, IGNORE]), min_size=4, max_size=4), min_size=1, max_size=6))
def test_votes_are_of_the_most_frequent_class(views):
    maps = [np.array([view], np.uint8) for view in views]
    expected = [max([sum(view[at] == one for view in views) for one in (0, 1, 2)]) for at in range(4)]
    assert votes(maps, IGNORE).tolist() == [expected]
    assert votes(maps[::-1], IGNORE).tolist() == [expected]


def test_sums_over_classes_are_exact():
    labels_HW = np.array([[0, 3], [3, IGNORE]], np.uint8)
    losses_HW = np.array([[65535, 1], [65535, 7]], np.uint16)
    assert count_classes(labels_HW, losses_HW) == [[0, 1, 65535], [3, 2, 65536]]
    assert count_classes(np.full((2, 2), IGNORE, np.uint8), losses_HW) == []
