"""The cells that a class covers, and the distance of features in them."""

import numpy as np
import pytest
import torch

from clouds.ops.feature_distance import covered_cells, distance_sum


def covered_by_hand(labels_HW, classes, stride, least):
    rows, columns = (-(-side // stride) for side in labels_HW.shape)
    return np.array(
        [
            [
                max(
                    np.count_nonzero(
                        labels_HW[row * stride : (row + 1) * stride, column * stride : (column + 1) * stride] == one
                    )
                    for one in classes
                )
                >= least * stride**2
                for column in range(columns)
            ]
            for row in range(rows)
        ]
    )


@pytest.mark.parametrize("size", [(16, 24), (13, 22)])
@pytest.mark.parametrize("least", [0.2, 0.75, 1.0])
def test_cells_are_those_a_class_covers_enough_of(size, least):
    rng = np.random.default_rng(4)
    labels_BHW = np.kron(rng.integers(0, 3, (2, 5, 8)), np.ones((3, 3)))[:, : size[0], : size[1]].astype(np.uint8)
    labels_BHW[:, :8, :8], labels_BHW[0, :4, 8:11] = 2, 255
    found = covered_cells(torch.from_numpy(labels_BHW), [1, 2], 4, least)
    for one, labels_HW in zip(found, labels_BHW, strict=True):
        np.testing.assert_array_equal(one.numpy(), covered_by_hand(labels_HW, [1, 2], 4, least))
    assert found.any() and not found.all()


def test_two_classes_do_not_cover_a_cell_together():
    labels_BHW = torch.tensor([[[1, 2], [1, 2]]], dtype=torch.uint8)
    assert not covered_cells(labels_BHW, [1, 2], 2, 0.75).any()
    assert covered_cells(labels_BHW, [1, 2], 2, 0.5).all()


def test_the_distance_is_euclidean_and_of_the_cells_alone():
    start, cells = torch.zeros(1, 2, 1, 3), torch.tensor([[[True, False, True]]])
    features = torch.tensor([[[[3.0, 9.0, 0.0]], [[4.0, 9.0, -2.0]]]], requires_grad=True)
    found = distance_sum(features, start, cells)
    assert found.item() == 7
    found.backward()
    torch.testing.assert_close(features.grad, torch.tensor([[[[0.6, 0, 0]], [[0.8, 0, -1]]]]))


def test_where_nothing_moved_the_gradient_is_a_number():
    features = torch.ones(1, 2, 1, 1, requires_grad=True)
    distance_sum(features, torch.ones(1, 2, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool)).backward()
    assert features.grad.abs().sum() == 0
