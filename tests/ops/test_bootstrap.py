"""The bootstrap's draws and its interval, against drawing all images at once."""

import numpy as np
import pytest

from clouds.ops.bootstrap import ImageBootstrap, percentile_interval
from clouds.ops.confusion import class_counts, confusion_matrix, mean_iou, scores, scores_of_counts


def image_counts(images: int, classes: int = 3, seed: int = 0) -> np.ndarray:
    """(N, 3, K) counts of images that differ in how well they are predicted."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(images):
        truth_HW = rng.integers(0, classes, (8, 9))
        right_HW = rng.random((8, 9)) < rng.uniform(0.3, 0.9)
        predicted_HW = np.where(right_HW, truth_HW, rng.integers(0, classes, (8, 9)))
        found.append(class_counts(confusion_matrix(predicted_HW, truth_HW, classes)))
    return np.stack(found)


def bootstrap(counts: np.ndarray, chunk: int, resamples: int = 4000, seed: int = 0) -> ImageBootstrap:
    found = ImageBootstrap(len(counts), counts.shape[-1], resamples, seed)
    for start in range(0, len(counts), chunk):
        found.add(counts[start : start + chunk])
    return found


def means(found: ImageBootstrap) -> np.ndarray:
    return mean_iou(*found.sums())


def interval(found: ImageBootstrap) -> tuple[float, float]:
    low_K, high_K = percentile_interval(means(found)[:, None])
    return float(low_K[0]), float(high_K[0])


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_in_chunks_it_draws_as_all_at_once(chunk):
    counts = image_counts(40)
    rng = np.random.default_rng(1)
    drawn = counts[rng.integers(0, len(counts), (4000, len(counts)))].sum(axis=1).astype(float)
    expected = mean_iou(*drawn.swapaxes(0, 1))
    found = means(bootstrap(counts, chunk))
    # two samples of 4000 of one distribution: their means differ by its spread / 45 or so
    assert found.mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / np.sqrt(2000))
    assert found.std() == pytest.approx(expected.std(), rel=0.1)
    for share in (0.025, 0.5, 0.975):
        assert np.quantile(found, share) == pytest.approx(np.quantile(expected, share), abs=0.3 * expected.std())


def test_each_resample_holds_as_many_images_as_there_are():
    counts = np.ones((23, 3, 1), np.int64)
    found = bootstrap(counts, 5)
    assert (found._sums_BS == 23).all()


def test_the_same_seed_gives_the_same_resamples_of_every_model():
    counts = image_counts(30)
    assert interval(bootstrap(counts, 8)) == interval(bootstrap(counts, 8))
    assert interval(bootstrap(counts, 8)) != interval(bootstrap(counts, 8, seed=1))
    # a model that is better on every image is better in every resample
    worse = counts.copy()
    worse[:, 0] -= np.minimum(worse[:, 0], 1)
    assert (means(bootstrap(worse, 8)) < means(bootstrap(counts, 8))).all()


def test_the_interval_holds_the_score_and_shrinks_with_the_images():
    few, many = image_counts(10), image_counts(400)
    for counts in (few, many):
        low, high = interval(bootstrap(counts, 64))
        assert low < mean_iou(*counts.sum(axis=0).astype(float)) < high
    widths = [np.subtract(*reversed(interval(bootstrap(counts, 64)))) for counts in (few, many)]
    assert widths[1] < widths[0] / 3


def test_mean_iou_of_counts_is_that_of_the_matrix():
    rng = np.random.default_rng(2)
    matrix = rng.integers(0, 50, (5, 6))
    matrix[3] = 0
    assert mean_iou(*class_counts(matrix).astype(float)) == pytest.approx(scores(matrix).mean_iou, abs=1e-15)


def test_images_without_truth_have_no_interval_and_too_many_are_refused():
    empty = bootstrap(np.zeros((4, 3, 2), np.int64), 2)
    assert np.isnan(interval(empty)).all()
    with pytest.raises(ValueError, match="0 were left"):
        empty.add(np.zeros((1, 3, 2), np.int64))
    with pytest.raises(ValueError, match="still to come"):
        ImageBootstrap(2, 1).sums()


def test_every_score_of_counts_is_that_of_the_matrix():
    rng = np.random.default_rng(3)
    matrices = rng.integers(0, 50, (4, 5, 6))
    matrices[:, 3] = 0
    found = scores_of_counts(*np.stack([class_counts(one) for one in matrices]).swapaxes(0, 1).astype(float))
    for number, matrix in enumerate(matrices):
        expected = scores(matrix)
        np.testing.assert_allclose(found["iou"][number], expected.iou_K, atol=1e-15)
        np.testing.assert_allclose(found["accuracy"][number], expected.accuracy_K, atol=1e-15)
        for name in ("mean_iou", "mean_accuracy", "pixel_accuracy", "frequency_weighted_iou"):
            assert found[name][number] == pytest.approx(getattr(expected, name), abs=1e-14)
    empty = scores_of_counts(*np.zeros((3, 2, 4)))
    assert all(np.isnan(values).all() for values in empty.values())


def test_an_interval_leaves_out_resamples_without_the_class():
    values_BK = np.stack([np.arange(101.0), np.full(101, np.nan), np.arange(101.0)], axis=1)
    values_BK[:50, 2] = np.nan
    low_K, high_K = percentile_interval(values_BK, 0.9)
    np.testing.assert_allclose(low_K, [5, np.nan, 52.5])
    np.testing.assert_allclose(high_K, [95, np.nan, 97.5])
