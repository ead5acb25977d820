import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouds.ops.confusion import confusion_matrix, merged, most_frequent_class, scores

IGNORE = 255


def random_pair(seed, classes, shape=(9, 11)):
    rng = np.random.default_rng(seed)
    ids = [*range(classes), IGNORE]
    return rng.choice(ids, shape).astype(np.uint8), rng.choice(ids, shape).astype(np.uint8)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_the_matrix_counts_pixels_one_by_one(seed, classes):
    prediction_HW, target_HW = random_pair(seed, classes)
    expected = np.zeros((classes, classes + 1), dtype=np.int64)
    for predicted, true in zip(prediction_HW.ravel(), target_HW.ravel(), strict=True):
        if true != IGNORE:
            expected[true, classes if predicted == IGNORE else predicted] += 1
    matrix = confusion_matrix(prediction_HW, target_HW, classes, IGNORE)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, expected)


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_scores_by_their_definition(seed, classes):
    prediction_HW, target_HW = random_pair(seed, classes, shape=(3, 5))
    found = scores(confusion_matrix(prediction_HW, target_HW, classes))
    known_HW = target_HW != IGNORE
    ious, accuracies, weights = [], [], []
    for k in range(classes):
        true_HW, predicted_HW = known_HW & (target_HW == k), known_HW & (prediction_HW == k)
        if not true_HW.any():
            assert np.isnan(found.iou_K[k]) and np.isnan(found.accuracy_K[k])
            continue
        ious.append((true_HW & predicted_HW).sum() / (true_HW | predicted_HW).sum())
        accuracies.append((true_HW & predicted_HW).sum() / true_HW.sum())
        weights.append(true_HW.sum())
        assert found.iou_K[k] == pytest.approx(ious[-1]) and found.accuracy_K[k] == pytest.approx(accuracies[-1])
    if ious:
        assert found.mean_iou == pytest.approx(np.mean(ious))
        assert found.mean_accuracy == pytest.approx(np.mean(accuracies))
        assert found.pixel_accuracy == pytest.approx((prediction_HW == target_HW)[known_HW].mean())
        assert found.frequency_weighted_iou == pytest.approx(np.average(ious, weights=weights))
    else:
        assert np.isnan([found.mean_iou, found.mean_accuracy, found.pixel_accuracy]).all()


def test_images_add_up():
    one, two = random_pair(0, 5), random_pair(1, 5)
    both = [np.concatenate(pair) for pair in zip(one, two, strict=True)]
    np.testing.assert_array_equal(confusion_matrix(*one, 5) + confusion_matrix(*two, 5), confusion_matrix(*both, 5))


def test_a_class_only_predicted_has_no_score_but_costs_the_class_it_hides():
    matrix = np.array([[3, 0, 1], [0, 4, 0], [0, 0, 0]])
    found = scores(matrix)
    np.testing.assert_allclose(found.iou_K, [0.75, 1.0, np.nan])
    assert found.mean_iou == pytest.approx(0.875)


def test_no_prediction_is_wrong_for_its_class_alone():
    target_HW = np.array([[0, 0, 1, 1]], dtype=np.uint8)
    prediction_HW = np.array([[0, IGNORE, 1, 1]], dtype=np.uint8)
    found = scores(confusion_matrix(prediction_HW, target_HW, 2))
    np.testing.assert_allclose(found.iou_K, [0.5, 1.0])
    assert found.pixel_accuracy == pytest.approx(0.75)


def test_no_ground_truth_at_all_scores_nothing_and_warns_of_nothing():
    with np.errstate(all="raise"):
        found = scores(np.zeros((3, 4), dtype=np.int64))
    assert np.isnan(found.iou_K).all() and np.isnan(found.mean_iou) and np.isnan(found.frequency_weighted_iou)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16])
def test_wider_integers_count_the_same(dtype):
    prediction_HW, target_HW = random_pair(3, 7)
    np.testing.assert_array_equal(
        confusion_matrix(prediction_HW.astype(dtype), target_HW.astype(dtype), 7),
        confusion_matrix(prediction_HW, target_HW, 7),
    )


@pytest.mark.parametrize(
    ("prediction", "target", "told"),
    [([[7]], [[0]], r"prediction has ids \[7\]"), ([[0]], [[200]], r"truth has ids \[200\]"),
     ([[-1]], [[0]], "prediction has ids from -1"), ([[0]], [[256]], "truth has ids from 256"),
     ([[0]], [[0, 1]], "shape")],
)  # fmt: skip
def test_what_is_no_class_is_refused(prediction, target, told):
    with pytest.raises(ValueError, match=told):
        confusion_matrix(np.array(prediction), np.array(target), 5)


def test_impossible_sizes_are_refused():
    pair = random_pair(0, 2)
    with pytest.raises(ValueError, match="ignore"):
        confusion_matrix(*pair, 5, ignore=4)
    with pytest.raises(ValueError, match="confusion matrix has shape"):
        scores(np.zeros((3, 5), dtype=np.int64))


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 60), st.integers(1, 9))
def test_runs_of_any_length_count_as_single_pixels_do(seed, height, width, run):
    shape = (height, -(-width // run))
    prediction_HW, target_HW = (one.repeat(run, axis=1)[:, :width] for one in random_pair(seed, 4, shape))
    matrix = confusion_matrix(prediction_HW, target_HW, 4)
    for true in range(4):
        predicted = prediction_HW[target_HW == true]
        assert matrix[true].tolist() == [(predicted == k).sum() for k in (0, 1, 2, 3, IGNORE)]


@given(st.integers(0, 10_000), st.integers(1, 20))
def test_all_pixels_with_truth_are_counted_once_and_renumbering_moves_cells_only(seed, classes):
    prediction_HW, target_HW = random_pair(seed, classes)
    matrix = confusion_matrix(prediction_HW, target_HW, classes)
    assert matrix.sum() == (target_HW != IGNORE).sum()
    order = np.random.default_rng(seed).permutation(classes)
    renumber = np.full(256, IGNORE, np.uint8)
    renumber[:classes] = order
    renumbered = confusion_matrix(renumber[prediction_HW], renumber[target_HW], classes)
    np.testing.assert_array_equal(renumbered[order][:, [*order, classes]], matrix)
    assert scores(renumbered).mean_iou == pytest.approx(scores(matrix).mean_iou, nan_ok=True)


@given(st.integers(0, 10_000), st.integers(2, 12))
def test_groups_of_classes_count_as_if_they_had_been_one_class(seed, classes):
    prediction_HW, target_HW = random_pair(seed, classes)
    group_of = np.random.default_rng(seed).permutation(np.arange(classes) % 3)
    groups = [np.flatnonzero(group_of == group).tolist() for group in range(min(3, classes))]
    table = np.full(256, IGNORE, np.uint8)
    table[:classes] = group_of
    np.testing.assert_array_equal(
        merged(confusion_matrix(prediction_HW, target_HW, classes), groups),
        confusion_matrix(table[prediction_HW], table[target_HW], len(groups)),
    )


def test_groups_that_do_not_hold_every_class_once_are_refused():
    for groups in ([[0]], [[0, 1], [1]], [[0, 1, 2]]):
        with pytest.raises(ValueError, match="each of 2 classes once"):
            merged(np.zeros((2, 3), dtype=np.int64), groups)


@pytest.mark.parametrize("stretch", [1, 2, 7, 8, 119, 120, 121])
def test_runs_go_on_from_stretch_to_stretch(monkeypatch, stretch):
    prediction_HW, target_HW = (one.repeat(60, axis=1) for one in random_pair(1, 3, (6, 2)))
    expected = confusion_matrix(prediction_HW, target_HW, 3)
    monkeypatch.setattr("clouds.ops.confusion._STRETCH", stretch)
    np.testing.assert_array_equal(confusion_matrix(prediction_HW, target_HW, 3), expected)


def test_an_empty_image_counts_nothing():
    assert confusion_matrix(np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8), 3).sum() == 0


def test_the_most_frequent_class_everywhere_scores_its_share_over_the_classes_there_are():
    matrix = np.array([[5, 5, 0], [30, 0, 0], [0, 0, 0]])
    winner, mean_iou = most_frequent_class(matrix)
    assert winner == 1
    # all 40 pixels predicted as class 1, which 30 are; class 0 is never right, class 2 has no ground truth
    assert mean_iou == pytest.approx((30 / 40 + 0) / 2)
    assert most_frequent_class(np.zeros((3, 4), dtype=np.int64))[0] == -1
