import numpy as np
import pytest
from mask_models import ScriptedMasks

from clouds.ops.components import region_of
from clouds.ops.mask_model import ask
from clouds.ops.prompts import prompts_for


def bar(length, height=2, width=10):
    mask_HW = np.zeros((height, width), dtype=bool)
    mask_HW[:, :length] = True
    return mask_HW


REGIONS = [region_of(bar(4), 0), region_of(~bar(4), 1)]
PROMPTS = prompts_for(REGIONS, "centre", 1, False, np.random.default_rng(0))


def test_quality_takes_the_mask_the_model_likes():
    model = ScriptedMasks(([[bar(4), bar(9)], [~bar(4), bar(1)]], [[0.1, 0.8], [0.7, 0.2]]))
    chosen = ask(model, PROMPTS, REGIONS, "quality", passes=1, settled=1.0)
    np.testing.assert_array_equal(chosen.logits_NHW > 0, [bar(9), ~bar(4)])
    assert chosen.score_N.tolist() == pytest.approx([0.8, 0.7])


def test_agreement_takes_the_mask_most_like_the_component():
    model = ScriptedMasks(([[bar(5), bar(9)], [bar(1), ~bar(5)]], [[0.1, 0.8], [0.7, 0.2]]))
    chosen = ask(model, PROMPTS, REGIONS, "agreement", passes=1, settled=1.0)
    np.testing.assert_array_equal(chosen.logits_NHW > 0, [bar(5), ~bar(5)])
    assert chosen.score_N.tolist() == pytest.approx([4 / 5, 5 / 6])


def test_a_quality_that_is_not_a_number_is_never_chosen():
    model = ScriptedMasks(([[bar(4), bar(9)], [bar(1), bar(2)]], [[np.nan, 0.1], [np.nan, np.nan]]))
    chosen = ask(model, PROMPTS, REGIONS, "quality", passes=1, settled=1.0)
    assert (chosen.logits_NHW[0] > 0).sum() == 18
    assert chosen.score_N[1] == -np.inf


def test_each_pass_is_shown_the_mask_chosen_before():
    answers = [([[bar(n), bar(1)], [~bar(n), bar(1)]], [[0.9, 0.1]] * 2) for n in (4, 6, 8)]
    model = ScriptedMasks(*answers)
    chosen = ask(model, PROMPTS, REGIONS, "quality", passes=3, settled=1.0)
    assert model.asked[0][1] is None
    np.testing.assert_array_equal(model.asked[1][1] > 0, [bar(4), ~bar(4)])
    np.testing.assert_array_equal(model.asked[2][1] > 0, [bar(6), ~bar(6)])
    np.testing.assert_array_equal(chosen.logits_NHW > 0, [bar(8), ~bar(8)])


def test_a_settled_mask_is_asked_no_more_while_others_go_on():
    model = ScriptedMasks(
        ([[bar(4)], [bar(2)]], [[0.5], [0.5]]),
        ([[bar(4)], [bar(8)]], [[0.6], [0.6]]),
        ([[bar(8)]], [[0.7]]),
    )
    chosen = ask(model, PROMPTS, REGIONS, "quality", passes=9, settled=1.0)
    assert [len(prompts) for prompts, _ in model.asked] == [2, 2, 1]
    assert model.asked[2][0] == [PROMPTS[1]]
    assert chosen.score_N.tolist() == pytest.approx([0.6, 0.7])
    np.testing.assert_array_equal(chosen.logits_NHW > 0, [bar(4), bar(8)])


def test_what_is_still_asked_is_compared_with_its_own_component():
    liked = [[0.5, 0.5]]
    model = ScriptedMasks(
        ([[bar(4), bar(0)], [~bar(6), bar(0)]], liked * 2),
        ([[bar(4), bar(0)], [~bar(5), bar(0)]], liked * 2),
        ([[bar(4), ~bar(4)]], liked),
    )
    chosen = ask(model, PROMPTS, REGIONS, "agreement", passes=3, settled=1.0)
    np.testing.assert_array_equal(chosen.logits_NHW > 0, [bar(4), ~bar(4)])
    assert chosen.score_N.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("choice", ["quality", "agreement"])
def test_the_chosen_masks_come_at_the_images_size_with_their_class(choice):
    model = ScriptedMasks(
        ([[bar(4), bar(9)], [~bar(6), ~bar(4)]], [[0.9, 0.1], [0.1, 0.9]]),
        ([[bar(4), bar(9)], [~bar(6), ~bar(2)]], [[0.9, 0.1], [0.9, 0.1]]),
    )
    chosen = ask(model, PROMPTS, REGIONS, choice, passes=2, settled=1.0)
    for number, region in enumerate(REGIONS):
        np.testing.assert_array_equal(
            chosen.logits_NHW[number][chosen.masks[number].window] > 0, chosen.masks[number].mask_HW
        )
        assert chosen.masks[number].area == np.count_nonzero(chosen.logits_NHW[number] > 0)
        assert chosen.masks[number].class_id == region.class_id


def test_the_first_of_equally_good_candidates_is_taken_with_its_own_pixels():
    left, right = bar(2), bar(4) & ~bar(2)
    model = ScriptedMasks(([[left, right], [~bar(4), ~bar(4)]], [[0.5, 0.5]] * 2))
    chosen = ask(model, PROMPTS, REGIONS, "agreement", passes=1, settled=1.0)
    np.testing.assert_array_equal(chosen.logits_NHW[0] > 0, left)
    assert (chosen.masks[0].left, chosen.masks[0].area) == (0, 4)


def test_two_empty_masks_are_settled():
    model = ScriptedMasks(*[([[bar(0)], [bar(0)]], [[0.5], [0.5]])] * 2)
    ask(model, PROMPTS, REGIONS, "quality", passes=5, settled=1.0)
    assert len(model.asked) == 2


def test_the_first_pass_may_be_shown_the_regions():
    model = ScriptedMasks(*[([[bar(6)], [~bar(6)]], [[0.5], [0.5]])] * 2)
    ask(model, PROMPTS, REGIONS, "quality", passes=2, settled=1.0, show_regions=True)
    np.testing.assert_array_equal(model.asked[0][1] > 0, [bar(4), ~bar(4)])
    np.testing.assert_array_equal(model.asked[1][1] > 0, [bar(6), ~bar(6)])
