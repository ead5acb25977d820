"""Simulated prompts lie where they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_corpus import RenderedCorpus

from clouds.pretraining.promptable_config import FrameConfig, MaskObjectiveConfig, PromptableConfig, PromptConfig
from clouds.pretraining.promptable_draws import Frame, MaskDraws, choose_masks, framed
from clouds.pretraining.prompting import (
    box_of,
    correction,
    corrupted,
    first_prompt,
    noisy_box,
    points_in,
    touching,
)

CORPUS = RenderedCorpus(4)
SEEDS = st.integers(0, 2**32)


@st.composite
def blobs(draw):
    """A non-empty mask of one to three rectangles, and a map of objects it is number 1 of."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    objects_HW = np.full((height, width), draw(st.sampled_from([0, 2])), np.int32)
    objects_HW[:, width // 2 :] = 3
    for _ in range(draw(st.integers(1, 3))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        objects_HW[top : top + draw(st.integers(1, 20)), left : left + draw(st.integers(1, 20))] = 1
    return objects_HW == 1, objects_HW


@given(blobs(), st.integers(1, 9), SEEDS)
@settings(max_examples=60, deadline=None)
def test_points_lie_on_the_mask_and_differ_while_they_can(blob, count, seed):
    mask_HW, _ = blob
    points_NX = points_in(mask_HW, count, np.random.default_rng(seed))
    assert points_NX.shape == (count, 2)
    assert mask_HW[points_NX[:, 1], points_NX[:, 0]].all()
    assert len(np.unique(points_NX, axis=0)) == count or count > mask_HW.sum()


@given(blobs(), SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_correction_lies_on_a_mistake_and_says_what_is_there(blob, seed):
    mask_HW, _ = blob
    rng = np.random.default_rng(seed)
    answer_HW = rng.random(mask_HW.shape) < 0.5
    found = correction(answer_HW, mask_HW, rng)
    if found is None:
        assert (answer_HW == mask_HW).all()
        return
    (x, y), on_target = found
    assert answer_HW[y, x] != mask_HW[y, x]
    assert on_target == mask_HW[y, x]
    assert correction(mask_HW, mask_HW, rng) is None


@given(blobs(), SEEDS)
@settings(max_examples=60, deadline=None)
def test_boxes_are_tight_and_noisy_ones_stay_near_and_inside(blob, seed):
    mask_HW, _ = blob
    left, top, right, bottom = box_X = box_of(mask_HW)
    window = mask_HW[int(top) : int(bottom) + 1, int(left) : int(right) + 1]
    assert window.sum() == mask_HW.sum()
    assert window[0].any() and window[-1].any() and window[:, 0].any() and window[:, -1].any()
    noisy_X = noisy_box(mask_HW, np.random.default_rng(seed))
    assert noisy_X[0] <= noisy_X[2] and noisy_X[1] <= noisy_X[3]
    assert (noisy_X >= 0).all() and (noisy_X <= np.array([*mask_HW.shape[::-1]] * 2) - 1).all()
    assert (np.abs(noisy_X - box_X) <= 20 + 1e-3).all()


@given(blobs(), SEEDS)
@settings(max_examples=100, deadline=None)
def test_a_component_is_never_empty_and_still_the_same_thing(blob, seed):
    mask_HW, objects_HW = blob
    before_HW = mask_HW.copy()
    region_HW = corrupted(mask_HW, objects_HW, np.random.default_rng(seed))
    assert region_HW.shape == mask_HW.shape and region_HW.dtype == np.bool_
    assert (region_HW & mask_HW).sum() >= 0.35 * (region_HW | mask_HW).sum() > 0
    assert (mask_HW == before_HW).all()


def test_components_differ_from_their_masks_by_as_much_as_pseudo_labels_do():
    rng = np.random.default_rng(0)
    overlaps = []
    for index in range(4):
        objects_HW = CORPUS.instances(index).astype(np.int32)
        for mask_HW in choose_masks(objects_HW, FrameConfig(masks=8, groups=0.0), rng):
            region_HW = corrupted(mask_HW, objects_HW, rng)
            overlaps.append((region_HW & mask_HW).sum() / (region_HW | mask_HW).sum())
    assert 0.6 < np.mean(overlaps) < 0.9
    assert np.min(overlaps) < 0.6


@given(blobs(), SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_first_prompt_is_one_of_three_kinds(blob, seed):
    mask_HW, objects_HW = blob
    prompt = first_prompt(mask_HW, objects_HW, PromptConfig(), np.random.default_rng(seed))
    assert 0 <= len(prompt.points_NX) <= 5
    assert len(prompt.points_NX) or prompt.box_X is not None
    if prompt.shown_HW is not None:
        assert prompt.shown_HW[prompt.points_NX[:, 1], prompt.points_NX[:, 0]].all()


@pytest.mark.parametrize(("kind", "points", "boxed"), [("point", {1}, False), ("box", {0}, True)])
def test_weights_choose_the_kind(kind, points, boxed):
    config = PromptConfig(**{"point": 0, "box": 0, "component": 0, kind: 1})
    mask_HW = np.zeros((8, 8), np.bool_)
    mask_HW[2:5, 3:7] = True
    for seed in range(10):
        prompt = first_prompt(mask_HW, mask_HW.astype(np.int32), config, np.random.default_rng(seed))
        assert {len(prompt.points_NX)} == points
        assert (prompt.box_X is not None) == boxed


def test_touching_sees_corners_and_no_background():
    objects_HW = np.array([[1, 1, 0, 0], [0, 0, 2, 0], [3, 0, 0, 4]])
    assert touching(objects_HW == 1, objects_HW).tolist() == [2]
    assert touching(objects_HW == 2, objects_HW).tolist() == [1, 4]


def test_small_objects_are_asked_for_as_often_as_large_ones():
    objects_HW = np.ones((64, 64), np.int32)
    for number in range(2, 42):  # forty specks of four pixels
        row, column = divmod(number, 8)
        objects_HW[row * 6 : row * 6 + 2, column * 6 : column * 6 + 2] = number
    config = FrameConfig(masks=1, groups=0.0)
    rng = np.random.default_rng(0)
    areas = [int(choose_masks(objects_HW, config, rng).sum()) for _ in range(200)]
    assert 70 < sum(area > 100 for area in areas) < 130


def test_masks_are_whole_objects_or_groups_that_touch_and_none_is_asked_twice():
    objects_HW = CORPUS.instances(0).astype(np.int32)
    rng = np.random.default_rng(1)
    single = choose_masks(objects_HW, FrameConfig(masks=10, groups=0.0, min_area=6), rng)
    numbers = [np.unique(objects_HW[mask_HW]).tolist() for mask_HW in single]
    assert all(len(found) == 1 for found in numbers)
    assert len({found[0] for found in numbers}) == len(single) == 10
    for mask_HW, [number] in zip(single, numbers, strict=True):
        assert number > 0 and mask_HW.sum() == (objects_HW == number).sum() >= 6
    grouped = choose_masks(objects_HW, FrameConfig(masks=10, groups=1.0), rng)
    assert all(2 <= len(np.unique(objects_HW[mask_HW])) <= 4 for mask_HW in grouped)
    assert choose_masks(np.zeros((8, 8), np.int32), FrameConfig(), rng).shape == (0, 8, 8)


@given(st.integers(8, 40), st.integers(8, 40), st.floats(0, 1), SEEDS)
@settings(max_examples=40, deadline=None)
def test_a_frame_keeps_picture_and_objects_together(height, width, crops, seed):
    rng = np.random.default_rng(seed)
    objects_HW = np.full((height, width), 7, np.int32)
    objects_HW[:, : width // 2] = 3
    image_HWC = (objects_HW[..., None] * 30 + np.zeros(3, np.int32)).astype(np.uint8)
    frame = framed(Frame(image_HWC, objects_HW), 32, FrameConfig(crops=crops, jitter=None), rng)
    assert frame.image_HWC.shape == (*frame.objects_HW.shape, 3)
    assert max(frame.objects_HW.shape) == 32
    # bilinear at the border, nearest elsewhere
    same_HW = np.abs(frame.image_HWC[..., 0].astype(int) - frame.objects_HW * 30) <= 60
    assert same_HW.mean() > 0.7


def test_a_draw_depends_on_seed_and_number_alone():
    config = PromptableConfig(steps=1)
    one, again, other = (MaskDraws(CORPUS, 64, config, seed) for seed in (1, 1, 2))
    assert one[9].number == 9
    _ = one[0]
    for name in ("image_HWC", "targets_NHW"):
        assert (getattr(one[5], name) == getattr(again[5], name)).all()
        assert not np.array_equal(getattr(one[5], name), getattr(other[5], name))
    points = [[prompt.points_NX.tolist() for prompt in draws[5].prompts] for draws in (one, again)]
    assert points[0] == points[1]


def test_a_corpus_without_objects_is_said_to_be_one():
    empty = RenderedCorpus(1)
    empty.instances = lambda index: np.zeros((64, 128), np.uint16)
    assert "no object of 4 pixels" in str(MaskDraws(empty, 64, PromptableConfig(steps=1), 0)[0])


def test_bad_values_are_refused():
    with pytest.raises(ValidationError, match="nothing asks first"):
        PromptConfig(point=0, box=0, component=0)
    with pytest.raises(ValidationError, match="smaller number first"):
        FrameConfig(crop_side=(0.9, 0.2))


def test_the_balance_falls_to_nothing_and_stays_there():
    objective = MaskObjectiveConfig(balance=0.8, balanced=0.5)
    assert [objective.balance_at(step, 100) for step in (0, 25, 50, 99)] == pytest.approx([0.8, 0.4, 0.0, 0.0])
    assert MaskObjectiveConfig(balanced=0.0).balance_at(0, 10) == 0.0
