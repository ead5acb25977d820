"""Filters: each on its own, then what holds for any of them together, whatever the labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clouds.ops.filters import (
    confident,
    filtered,
    hardness,
    loss_limits,
    same_label,
    score_limit,
    stable,
    times_by_hardness,
    usual_loss,
)

IGNORE = 255
K = 4

shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
label_maps = hnp.arrays(np.uint8, shapes, elements=st.sampled_from([*range(K), IGNORE]))
thresholds = st.floats(0, 1)
seeds = st.integers(0, 2**32 - 1)


def arrays_for(labels_HW, seed):
    """What is known of an image, at random: confidence, loss, another label map, votes of 5 views."""
    rng = np.random.default_rng(seed)
    confidence_HW = rng.integers(0, 256, labels_HW.shape) / 255
    loss_HW = rng.integers(0, 2**16, labels_HW.shape)
    other_HW = np.where(rng.random(labels_HW.shape) < 0.5, labels_HW, rng.integers(0, K, labels_HW.shape))
    return confidence_HW, loss_HW, other_HW.astype(np.uint8), rng.integers(0, 6, labels_HW.shape)


def class_sums(labels_HW, loss_HW):
    pixels_K = np.array([np.count_nonzero(labels_HW == one) for one in range(K)])
    return np.array([loss_HW[labels_HW == one].sum() for one in range(K)]), pixels_K


def masks_for(labels_HW, seed, threshold=0.5):
    confidence_HW, loss_HW, other_HW, votes_HW = arrays_for(labels_HW, seed)
    limits_K = loss_limits(*class_sums(labels_HW, loss_HW), margin=0.2 + threshold)
    return {
        "confidence": confident(confidence_HW, threshold),
        "class_loss": usual_loss(loss_HW, labels_HW, limits_K),
        "sam_agreement": same_label(labels_HW, other_HW),
        "view_agreement": stable(votes_HW, 5, threshold),
    }


# --- each filter


def test_confidence_is_kept_from_the_threshold_on():
    steps_HW = np.array([[0, 127, 128, 255]], np.uint8)
    np.testing.assert_array_equal(confident(steps_HW / 255, 128 / 255), [[False, False, True, True]])
    assert confident(steps_HW / 255, 0.0).all()
    np.testing.assert_array_equal(confident(steps_HW / 255, 1.0), [[False, False, False, True]])


def test_a_loss_is_measured_by_its_own_class():
    labels_HW = np.array([[0, 0, 1, 1, IGNORE]], np.uint8)
    loss_HW = np.array([[10, 30, 100, 140, 9999]])
    limits_K = loss_limits(*class_sums(labels_HW, loss_HW), margin=1.25)
    # means 20 and 120 of the classes that there are
    np.testing.assert_array_equal(limits_K, [25, 150, np.inf, np.inf])
    np.testing.assert_array_equal(usual_loss(loss_HW, labels_HW, limits_K), [[True, False, True, True, True]])


def test_a_loss_at_the_limit_is_kept():
    labels_HW, loss_HW = np.zeros((1, 4), np.uint8), np.array([[5, 4, 2, 5]])
    assert usual_loss(loss_HW, labels_HW, loss_limits([16], np.array([4]), 1.25)).all()
    np.testing.assert_array_equal(
        usual_loss(loss_HW, labels_HW, loss_limits([16], np.array([4]), 1.2)), [[False, True, True, False]]
    )


def test_one_margin_never_drops_all_of_a_class():
    """Of any class some pixel is at or below the mean: only a margin below 1 can leave nothing."""
    labels_HW = np.random.default_rng(0).integers(0, K, (20, 20)).astype(np.uint8)
    loss_HW = np.random.default_rng(1).integers(0, 999, (20, 20))
    kept_HW = usual_loss(loss_HW, labels_HW, loss_limits(*class_sums(labels_HW, loss_HW), margin=1.0))
    assert set(labels_HW[kept_HW]) == set(range(K))


def test_views_agree_from_the_share_on():
    votes_HW = np.array([[1, 2, 3, 4]])
    np.testing.assert_array_equal(stable(votes_HW, 4, 0.75), [[False, False, True, True]])
    np.testing.assert_array_equal(stable(votes_HW, 4, 1.0), [[False, False, False, True]])
    # 3 * 0.1 is not 0.3: thirds are kept as thirds
    np.testing.assert_array_equal(stable(np.array([[1, 2, 3]]), 3, 2 / 3), [[False, True, True]])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.1), (0.24, 0.1), (0.25, 0.2), (0.5, 0.3), (0.99, 0.4)])
def test_the_lowest_share_of_scores(share, expected):
    assert score_limit([0.1, 0.2, 0.3, 0.4], share) == expected


def test_equal_scores_stay_together_and_no_images_have_no_limit():
    assert score_limit([0.3, 0.3, 0.3, 0.3], 0.5) == 0.3
    assert score_limit([], 0.5) == -np.inf


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.floats(0, 0.999), st.floats(0, 0.999))
def test_a_larger_share_drops_no_fewer_images(scores, one, other):
    limits = [score_limit(sorted(scores), share) for share in sorted((one, other))]
    kept = [sum(score >= limit for score in scores) for limit in limits]
    assert 1 <= kept[1] <= kept[0]
    assert kept[1] >= len(scores) - int(max(one, other) * len(scores) + 1e-9)


# --- any filters together


@given(label_maps, seeds, thresholds)
def test_a_filter_never_invents_a_label(labels_HW, seed, threshold):
    before_HW = labels_HW.copy()
    result = filtered(labels_HW, masks_for(labels_HW, seed, threshold), IGNORE)
    np.testing.assert_array_equal(labels_HW, before_HW)
    assert result.labels_HW.dtype == np.uint8
    kept_HW = result.labels_HW != IGNORE
    np.testing.assert_array_equal(result.labels_HW[kept_HW], labels_HW[kept_HW])
    assert (result.labelled, result.kept) == (np.count_nonzero(labels_HW != IGNORE), np.count_nonzero(kept_HW))
    assert sum(result.first.values()) == result.labelled - result.kept
    for name, alone in result.alone.items():
        assert result.first[name] <= alone <= result.labelled - result.kept


@given(label_maps, seeds, thresholds, st.permutations(["confidence", "class_loss", "sam_agreement", "view_agreement"]))
def test_the_order_of_filters_changes_no_label(labels_HW, seed, threshold, order):
    masks = masks_for(labels_HW, seed, threshold)
    one = filtered(labels_HW, masks, IGNORE)
    other = filtered(labels_HW, {name: masks[name] for name in order}, IGNORE)
    np.testing.assert_array_equal(one.labels_HW, other.labels_HW)
    assert dict(one.alone) == dict(other.alone)
    # and one after another is all at once
    step_HW = labels_HW
    for name in order:
        step_HW = filtered(step_HW, {name: masks[name]}, IGNORE).labels_HW
    np.testing.assert_array_equal(step_HW, one.labels_HW)


@given(label_maps, seeds, thresholds, st.permutations(range(K)))
def test_permuting_the_classes_permutes_the_result(labels_HW, seed, threshold, order):
    table = np.arange(256, dtype=np.uint8)
    table[:K] = order
    confidence_HW, loss_HW, other_HW, votes_HW = arrays_for(labels_HW, seed)

    def kept(labels_HW, other_HW):
        limits_K = loss_limits(*class_sums(labels_HW, loss_HW), margin=0.2 + threshold)
        masks = [confident(confidence_HW, threshold), usual_loss(loss_HW, labels_HW, limits_K)]
        masks += [same_label(labels_HW, other_HW), stable(votes_HW, 5, threshold)]
        return filtered(labels_HW, {str(number): mask_HW for number, mask_HW in enumerate(masks)}, IGNORE)

    plain, permuted = kept(labels_HW, other_HW), kept(table[labels_HW], table[other_HW])
    np.testing.assert_array_equal(table[plain.labels_HW], permuted.labels_HW)
    assert dict(plain.alone) == dict(permuted.alone)


@given(label_maps, seeds, thresholds, thresholds)
def test_a_stricter_threshold_keeps_a_subset(labels_HW, seed, one, other):
    confidence_HW, loss_HW, _, votes_HW = arrays_for(labels_HW, seed)
    low, high = sorted((one, other))
    sums = class_sums(labels_HW, loss_HW)
    for loose_HW, strict_HW in (
        (confident(confidence_HW, low), confident(confidence_HW, high)),
        (stable(votes_HW, 5, low), stable(votes_HW, 5, high)),
        (
            usual_loss(loss_HW, labels_HW, loss_limits(*sums, 2 - low)),
            usual_loss(loss_HW, labels_HW, loss_limits(*sums, 2 - high)),
        ),
    ):
        assert not (strict_HW & ~loose_HW).any()


def test_no_filter_keeps_everything_and_a_mask_of_another_shape_is_refused():
    labels_HW = np.array([[0, 1, IGNORE]], np.uint8)
    result = filtered(labels_HW, {}, IGNORE)
    np.testing.assert_array_equal(result.labels_HW, labels_HW)
    assert (result.labelled, result.kept) == (2, 2)
    with pytest.raises(ValueError, match="filter 'views'"):
        filtered(labels_HW, {"views": np.ones((2, 3), bool)}, IGNORE)


# --- hard images


def test_how_hard_an_image_is_follows_from_its_classes():
    mean_loss_K = np.array([1.0, 3.0, 0.0])
    assert hardness(np.array([10, 0, 0]), mean_loss_K) == 1.0
    assert hardness(np.array([5, 15, 0]), mean_loss_K) == 2.5
    assert hardness(np.array([0, 0, 0]), mean_loss_K) == 0.0


def test_the_published_rule_of_freemask():
    """20 at most, by rank: with 100 maps the easiest comes once and those from the 93rd on 20 times."""
    times_N = times_by_hardness(np.arange(100.0), 20)
    assert times_N[0] == 1 + round(0.2) and times_N[-1] == 20
    assert list(times_N) == [min(1 + round(20 * rank / 100), 20) for rank in range(1, 101)]
    assert np.count_nonzero(times_N == 20) == 8


@given(hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats(0, 9, width=16)), st.integers(1, 30), seeds)
def test_harder_images_come_no_less_often(hardness_N, most, seed):
    times_N = times_by_hardness(hardness_N, most)
    assert times_N.shape == hardness_N.shape and (times_N >= 1).all() and (times_N <= most).all()
    order = np.argsort(hardness_N, kind="stable")
    assert (np.diff(times_N[order]) >= 0).all()
    # but for images that are equally hard, where they stand in the set does not matter
    if len(set(hardness_N.tolist())) == len(hardness_N):
        moved = np.random.default_rng(seed).permutation(len(hardness_N))
        np.testing.assert_array_equal(times_by_hardness(hardness_N[moved], most), times_N[moved])
