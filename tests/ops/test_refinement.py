import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mask_models import PerfectMasks, ScriptedMasks, WildMasks

from clouds.ops.components import connected_components
from clouds.ops.prompts import prompts_for
from clouds.ops.refinement import PseudoLabel, refine_all, refine_labels
from clouds.ops.refinement_settings import PRESETS, RefinementSettings, published

IGNORE = 255
EVERYTHING = RefinementSettings(min_area=0.0, min_agreement=0.0, passes=1)

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=14)
label_maps = hnp.arrays(np.uint8, shapes, elements=st.sampled_from([0, 1, 2, 3, IGNORE]))
shares = st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0])
seeds = st.integers(0, 2**32 - 1)
settings_of_any_kind = st.builds(
    RefinementSettings,
    min_area=shares,
    connectivity=st.sampled_from([4, 8]),
    points=st.sampled_from(["random", "core", "centre"]),
    points_per_component=st.integers(1, 6),
    negative_points=st.integers(0, 2),
    box=st.booleans(),
    show_component=st.booleans(),
    passes=st.integers(1, 3),
    settled=shares,
    choose_by=st.sampled_from(["quality", "agreement"]),
    min_agreement=shares,
    contested=st.sampled_from(["better", "smaller", "ignore"]),
    unclaimed=st.sampled_from(["keep", "keep_confident", "ignore"]),
    min_confidence=shares,
    protect_small=st.booleans(),
)


def refine(labels_HW, model, settings=EVERYTHING, confidence_HW=None, seed=0):
    return refine_labels(labels_HW, confidence_HW, model, settings, np.random.default_rng(seed), IGNORE)


def confidence_of(labels_HW, seed):
    return np.random.default_rng(seed).random(labels_HW.shape, dtype=np.float32)


def columns(*widths):
    """A label map of two rows: `widths[k]` columns of class k."""
    return np.repeat(np.arange(len(widths)), widths)[None].repeat(2, axis=0).astype(np.uint8)


def on(width, start, stop):
    mask_HW = np.zeros((2, width), dtype=bool)
    mask_HW[:, start:stop] = True
    return mask_HW


# --- rules that hold for every model and every setting


@given(label_maps, settings_of_any_kind, seeds)
def test_no_class_is_invented_and_the_counts_are_true(labels_HW, settings, seed):
    before_HW = labels_HW.copy()
    result = refine(labels_HW, WildMasks(labels_HW.shape, seed), settings, confidence_of(labels_HW, seed), seed)
    np.testing.assert_array_equal(labels_HW, before_HW)
    assert result.labels_HW.dtype == np.uint8 and result.labels_HW.shape == labels_HW.shape
    assert set(np.unique(result.labels_HW)) <= set(np.unique(labels_HW)) | {IGNORE}
    assert result.components == len(connected_components(labels_HW, IGNORE, settings.connectivity))
    assert result.accepted + result.rejected == result.prompted <= result.components
    assert result.changed_pixels == np.count_nonzero(result.labels_HW != labels_HW)
    assert result.ignored_pixels == np.count_nonzero(result.labels_HW == IGNORE)
    assert 0 <= result.contested_pixels <= labels_HW.size


@given(label_maps, settings_of_any_kind, seeds, st.permutations(range(4)))
def test_permuting_the_classes_permutes_the_result(labels_HW, settings, seed, order):
    table = np.arange(256, dtype=np.uint8)
    table[:4] = order
    confidence_HW = confidence_of(labels_HW, seed)
    model = WildMasks(labels_HW.shape, seed)
    plain = refine(labels_HW, model, settings, confidence_HW, seed)
    permuted = refine(table[labels_HW], model, settings, confidence_HW, seed)
    np.testing.assert_array_equal(table[plain.labels_HW], permuted.labels_HW)
    assert plain.counts() == permuted.counts()


@given(label_maps, settings_of_any_kind, seeds)
def test_the_same_seed_gives_the_same_result(labels_HW, settings, seed):
    model, confidence_HW = WildMasks(labels_HW.shape, seed), confidence_of(labels_HW, seed)
    one, two = (refine(labels_HW, model, settings, confidence_HW, seed) for _ in range(2))
    np.testing.assert_array_equal(one.labels_HW, two.labels_HW)


@given(label_maps, settings_of_any_kind, seeds)
def test_perfect_labels_and_perfect_masks_are_a_fixed_point(truth_HW, settings, seed):
    settings = dataclasses.replace(settings, unclaimed="keep")
    result = refine(truth_HW, PerfectMasks(truth_HW, settings.connectivity), settings, None, seed)
    np.testing.assert_array_equal(result.labels_HW, truth_HW)
    assert (result.rejected, result.changed_pixels, result.contested_pixels) == (0, 0, 0)


@given(label_maps, settings_of_any_kind, seeds)
def test_protected_small_components_change_to_nothing_but_ignore(labels_HW, settings, seed):
    settings = dataclasses.replace(settings, protect_small=True)
    result = refine(labels_HW, WildMasks(labels_HW.shape, seed), settings, confidence_of(labels_HW, seed), seed)
    for region in connected_components(labels_HW, IGNORE, settings.connectivity):
        if region.area <= settings.min_area * labels_HW.size:
            after = result.labels_HW[region.window][region.mask_HW]
            assert np.isin(after, [region.class_id, IGNORE]).all()


@given(st.lists(label_maps, min_size=1, max_size=3), settings_of_any_kind, seeds)
def test_several_images_at_once_are_refined_as_each_alone(maps, settings, seed):
    shape = np.minimum.reduce([labels_HW.shape for labels_HW in maps])
    maps = [labels_HW[: shape[0], : shape[1]] for labels_HW in maps]
    model = WildMasks(tuple(shape), seed)
    confidences = [confidence_of(labels_HW, seed + number) for number, labels_HW in enumerate(maps)]
    pairs = list(zip(maps, confidences, strict=True))
    together = refine_all(
        [PseudoLabel(labels, confidence, np.random.default_rng(seed)) for labels, confidence in pairs], model, settings
    )
    for result, (labels_HW, confidence_HW) in zip(together, pairs, strict=True):
        alone = refine(labels_HW, model, settings, confidence_HW, seed)
        np.testing.assert_array_equal(result.labels_HW, alone.labels_HW)
        assert result.counts() == alone.counts()


@given(label_maps, settings_of_any_kind, seeds)
def test_every_prompt_lies_on_a_component_and_none_of_its_negatives_does(labels_HW, settings, seed):
    class Listening(WildMasks):
        def predict(self, prompts, previous_NHW):
            heard.extend(prompts)
            return super().predict(prompts, previous_NHW)

    heard = []
    refine(labels_HW, Listening(labels_HW.shape, seed), settings, confidence_of(labels_HW, seed), seed)
    for prompt in heard:
        x, y = prompt.points_NXY.T
        [class_id] = set(labels_HW[y, x].tolist())
        assert class_id != IGNORE
        u, v = prompt.negatives_NXY.T
        assert not np.isin(labels_HW[v, u], [class_id, IGNORE]).any()


# --- degenerate inputs


@pytest.mark.parametrize("shape", [(4, 6), (1, 1)])
def test_all_ignore_asks_the_model_nothing(shape):
    model = ScriptedMasks()
    result = refine(np.full(shape, IGNORE, np.uint8), model, published())
    assert not model.asked
    assert (result.components, result.prompted, result.changed_pixels) == (0, 0, 0)
    assert result.labels_HW.shape == shape


def test_one_class_over_all():
    labels_HW = np.full((6, 8), 3, np.uint8)
    result = refine(labels_HW, PerfectMasks(labels_HW))
    assert (result.prompted, result.accepted, result.changed_pixels) == (1, 1, 0)


@pytest.mark.parametrize("labels_HW", [np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2), np.float32)])
def test_what_is_no_label_map_is_refused(labels_HW):
    with pytest.raises(ValueError, match="integers of shape"):
        refine(labels_HW, ScriptedMasks())


def test_a_confidence_that_does_not_fit_is_refused():
    settings = RefinementSettings(unclaimed="keep_confident")
    with pytest.raises(ValueError, match="no confidence"):
        refine(columns(2, 2), ScriptedMasks(), settings)
    with pytest.raises(ValueError, match="shape"):
        refine(columns(2, 2), ScriptedMasks(), settings, np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("name", ["min_area", "settled", "min_agreement", "min_confidence"])
def test_a_setting_out_of_range_is_named(name):
    with pytest.raises(ValueError, match=rf"{name} is 1\.5"):
        RefinementSettings(**{name: 1.5})


@pytest.mark.parametrize("name", ["points_per_component", "passes"])
def test_a_count_below_one_is_named(name):
    with pytest.raises(ValueError, match=f"{name} is 0"):
        RefinementSettings(**{name: 0})


def test_a_negative_count_of_negative_points_is_named():
    with pytest.raises(ValueError, match="negative_points is -1"):
        RefinementSettings(negative_points=-1)


@pytest.mark.parametrize("name", ["connectivity", "points", "choose_by", "contested", "unclaimed"])
def test_an_unknown_choice_is_named(name):
    with pytest.raises(ValueError, match=f"{name} is 'center'"):
        RefinementSettings(**{name: "center"})


# --- who gets which pixel


def overlapping(contested):
    """Class 0 (better score, 8 columns) and class 1 (worse, 5 columns) both claim columns 5 to 7."""
    model = ScriptedMasks(([[on(10, 0, 8)], [on(10, 5, 10)]], [[0.9], [0.8]]))
    settings = dataclasses.replace(EVERYTHING, contested=contested, choose_by="quality")
    return refine(columns(4, 6), model, settings)


@pytest.mark.parametrize(
    ("contested", "expected"),
    [("better", [0] * 8 + [1] * 2), ("smaller", [0] * 5 + [1] * 5), ("ignore", [0] * 5 + [IGNORE] * 3 + [1] * 2)],
)
def test_pixels_claimed_by_two_classes(contested, expected):
    result = overlapping(contested)
    np.testing.assert_array_equal(result.labels_HW, [expected] * 2)
    assert result.contested_pixels == 6


@pytest.mark.parametrize("contested", ["better", "smaller", "ignore"])
def test_masks_of_one_class_are_united(contested):
    labels_HW = np.array([[0, 0, 1, 0, 0]] * 2, dtype=np.uint8)
    left, none, right = on(5, 0, 3), on(5, 0, 0), on(5, 2, 5)
    model = ScriptedMasks(([[left], [none], [right]], [[0.9], [0.8], [0.7]]))
    result = refine(labels_HW, model, dataclasses.replace(EVERYTHING, contested=contested, choose_by="quality"))
    assert (result.labels_HW == 0).all()
    assert result.contested_pixels == 0


def test_a_pixel_two_masks_of_one_class_share_stays_contested_with_a_third():
    labels_HW = np.array([[0, 1, 0]] * 2, dtype=np.uint8)
    everywhere = on(3, 0, 3)
    model = ScriptedMasks(([[everywhere]] * 3, [[0.9], [0.1], [0.8]]))
    result = refine(labels_HW, model, dataclasses.replace(EVERYTHING, contested="ignore", choose_by="quality"))
    assert (result.labels_HW == IGNORE).all()


def test_a_mask_fills_pixels_that_had_no_label():
    labels_HW = np.array([[0, IGNORE, IGNORE, 1]] * 2, dtype=np.uint8)
    truth_HW = np.array([[0, 0, 1, 1]] * 2, dtype=np.uint8)
    np.testing.assert_array_equal(refine(labels_HW, PerfectMasks(truth_HW)).labels_HW, truth_HW)


def test_a_mask_far_from_its_component_is_rejected():
    model = ScriptedMasks(([[on(10, 0, 4)], [on(10, 0, 5)]], [[0.5], [0.9]]))
    result = refine(columns(4, 6), model, dataclasses.replace(EVERYTHING, min_agreement=0.5))
    np.testing.assert_array_equal(result.labels_HW, columns(4, 6))
    assert (result.prompted, result.accepted, result.rejected) == (2, 1, 1)


def test_an_empty_mask_is_rejected_though_any_agreement_is_enough():
    model = ScriptedMasks(([[on(10, 0, 0)], [on(10, 4, 10)]], [[0.9], [0.9]]))
    result = refine(columns(4, 6), model)
    np.testing.assert_array_equal(result.labels_HW, columns(4, 6))
    assert (result.prompted, result.accepted, result.rejected) == (2, 1, 1)


@pytest.mark.parametrize(
    ("unclaimed", "expected"),
    [("keep", [0, 0, 1, 1]), ("keep_confident", [0, IGNORE, 1, IGNORE]), ("ignore", [0, IGNORE, IGNORE, IGNORE])],
)
def test_pixels_no_mask_claims(unclaimed, expected):
    model = ScriptedMasks(([[on(4, 0, 1)], [on(4, 0, 0)]], [[0.9], [0.9]]))
    settings = dataclasses.replace(EVERYTHING, unclaimed=unclaimed, min_confidence=0.6)
    confidence_HW = np.array([[0.1, 0.1, 0.6, 0.5]] * 2, dtype=np.float32)
    result = refine(columns(2, 2), model, settings, confidence_HW)
    np.testing.assert_array_equal(result.labels_HW, [expected] * 2)


@pytest.mark.parametrize(("protect", "expected"), [(True, [0, 0, 0, 0, 1]), (False, [0] * 5)])
def test_a_pole_in_front_of_a_wall(protect, expected):
    model = ScriptedMasks(([[on(5, 0, 5)]], [[0.9]]))
    settings = dataclasses.replace(EVERYTHING, min_area=0.2, protect_small=protect)
    result = refine(columns(4, 1), model, settings)
    np.testing.assert_array_equal(result.labels_HW, [expected] * 2)
    assert (result.components, result.prompted) == (2, 1)


def test_a_component_is_prompted_above_the_area_not_at_it():
    labels_HW = columns(4, 6)
    assert refine(labels_HW, PerfectMasks(labels_HW), dataclasses.replace(EVERYTHING, min_area=0.4)).prompted == 1
    assert refine(labels_HW, PerfectMasks(labels_HW), dataclasses.replace(EVERYTHING, min_area=0.39)).prompted == 2


def test_noisy_edges_snap_to_the_true_ones():
    rng = np.random.default_rng(0)
    truth_HW = np.zeros((48, 64), np.uint8)
    truth_HW[20:], truth_HW[8:40, 10:24], truth_HW[30:44, 40:60] = 1, 2, 3
    # every pixel takes its label from up to three pixels away
    rows, columns_ = (
        np.clip(grid + rng.integers(-3, 4, truth_HW.shape), 0, side - 1)
        for grid, side in zip(np.indices(truth_HW.shape), truth_HW.shape, strict=True)
    )
    noisy_HW = truth_HW[rows, columns_]
    settings = RefinementSettings(min_area=0.02, points="core", protect_small=False)
    result = refine(noisy_HW, PerfectMasks(truth_HW), settings)
    assert (noisy_HW != truth_HW).mean() > 0.1
    np.testing.assert_array_equal(result.labels_HW, truth_HW)


# --- the published rule


def test_the_named_rules():
    assert dict(PRESETS) == {"default": RefinementSettings(), "published": published()}
    # the numbers of the paper's code: 5 random points, over 5,000 of 768x768 pixels, one pass, intersections dropped
    rule = PRESETS["published"]
    assert (rule.points, rule.points_per_component, rule.negative_points, rule.box) == ("random", 5, 0, False)
    assert (rule.passes, rule.choose_by, rule.contested, rule.unclaimed) == (1, "quality", "ignore", "ignore")
    assert rule.min_area * 768 * 768 == 5000


def published_rule(labels_HW, model, rng):
    """The rule as the paper tells it, on whole masks: slow and plain. Labels, and how many masks were empty."""
    settings = published()
    areas = [r for r in connected_components(labels_HW, connectivity=4) if r.area > 5000 / 768**2 * labels_HW.size]
    if not areas:
        return labels_HW, 0
    candidates = model.predict(prompts_for(areas, "random", settings.points_per_component, False, rng), None)
    classes_HW = [[set() for _ in row] for row in labels_HW]
    empty = 0
    for region, logits_CHW, quality_C in zip(areas, candidates.logits_NCHW, candidates.quality_NC, strict=True):
        claimed = np.argwhere(logits_CHW[quality_C.argmax()] > 0)
        empty += len(claimed) == 0
        for row, column in claimed:
            classes_HW[row][column].add(region.class_id)
    only = [[next(iter(found)) if len(found) == 1 else IGNORE for found in row] for row in classes_HW]
    return np.array(only, dtype=np.uint8).reshape(labels_HW.shape), empty


@given(label_maps, seeds)
def test_the_published_rule(labels_HW, seed):
    model = WildMasks(labels_HW.shape, seed)
    expected_HW, empty = published_rule(labels_HW, model, np.random.default_rng(seed))
    result = refine(labels_HW, model, published(), seed=seed)
    np.testing.assert_array_equal(result.labels_HW, expected_HW)
    assert result.rejected == empty


def test_a_component_with_fewer_pixels_than_points_keeps_its_class():
    # in the published code such a component shifted the classes of all that followed
    labels_HW = np.array([[0, 0, 0, 1, 2, 2, 2, 2]], dtype=np.uint8)
    result = refine(labels_HW, PerfectMasks(labels_HW), dataclasses.replace(published(), min_area=0.0))
    np.testing.assert_array_equal(result.labels_HW, labels_HW)
    assert result.accepted == 3
