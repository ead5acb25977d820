"""Draws of images without labels: one cut and two views, what is pasted, and that a draw belongs to its number."""

import numpy as np
import pytest
from small_online import CLEAN, WHOLE, labelled, online_draws, unlabelled
from small_training import CROPPED, LABELS, Faulty, by_class, world

from clouds.data.transforms import AugmentConfig, BlurConfig, JitterConfig
from clouds.errors import CloudsError
from clouds.training.draws import Source, load_steps
from clouds.training.settings import MixConfig
from clouds.training.unlabelled import OnlineDraws

STRONG = AugmentConfig(crop=(32, 64), jitter=JitterConfig(probability=1.0), blur=BlurConfig(probability=1.0))


def asked(draws, count=12):
    """The draws among the first that have no labels of their own."""
    return [drawn for drawn in map(draws.draw, range(count)) if drawn.unlabelled is not None]


def test_labelled_draws_have_labels_and_the_others_are_open():
    draws = online_draws()
    drawn = [draws.draw(number) for number in range(8)]
    assert {one.source for one in drawn} == {0, 1}
    for one in drawn:
        assert (one.unlabelled is None) == draws.is_labelled(one.source)
        if one.unlabelled is None:
            assert (one.labels_HW != LABELS.ignore).any()
        else:
            assert (one.labels_HW == LABELS.ignore).all()
            assert one.unlabelled.open_HW.any()


def test_labels_that_are_there_are_never_read():
    def refuse(index):
        raise AssertionError

    photos = Faulty(world(3, "photos"))
    object.__setattr__(photos, "labels", refuse)
    draws = OnlineDraws([labelled()], [unlabelled(photos)], 5, LABELS.ignore)
    assert asked(draws)


def test_the_student_sees_the_same_cut_in_other_colours():
    """Without blur and jitter it would see the very same pixels."""
    for strong, clean in zip(asked(online_draws(augment=STRONG)), asked(online_draws(augment=CLEAN)), strict=True):
        assert clean.unlabelled.image_HWC is None
        assert np.array_equal(strong.unlabelled.image_HWC, clean.image_HWC)
        assert np.array_equal(strong.unlabelled.open_HW, clean.unlabelled.open_HW)
        assert not np.array_equal(strong.image_HWC, clean.image_HWC)


def test_padding_is_not_the_teachers():
    small = AugmentConfig(crop=(32, 64), scale=(0.5, 0.5), jitter=None)
    for one in asked(online_draws(augment=small)):
        assert one.unlabelled.open_HW[:16, :32].all()
        assert one.unlabelled.open_HW.sum() == 16 * 32


def test_in_a_mix_classes_of_a_labelled_image_are_pasted():
    plain = {one.number: one for one in asked(online_draws(augment=CLEAN))}
    for one in asked(online_draws(augment=CLEAN, mix=MixConfig())):
        pasted_HW = one.labels_HW != LABELS.ignore
        assert 0 < pasted_HW.mean() < 1
        assert not (pasted_HW & one.unlabelled.open_HW).any()
        below = plain[one.number]
        assert np.array_equal(one.unlabelled.image_HWC, below.image_HWC)
        assert np.array_equal(one.image_HWC[~pasted_HW], below.image_HWC[~pasted_HW])
        assert not np.array_equal(one.image_HWC[pasted_HW], below.image_HWC[pasted_HW])


def test_pasted_pixels_and_the_image_below_change_colour_together():
    """As published: the mix is jittered, not its parts; so without the mix the rest has the same colours."""
    jitter = STRONG.model_copy(update={"blur": None})
    alone = {one.number: one for one in asked(online_draws(augment=jitter))}
    for one in asked(online_draws(augment=jitter, mix=MixConfig())):
        open_HW = one.unlabelled.open_HW
        assert np.array_equal(one.image_HWC[open_HW], alone[one.number].image_HWC[open_HW])


def test_a_share_of_one_pastes_every_labelled_pixel():
    for one in asked(online_draws(augment=CLEAN, mix=MixConfig(share=1.0)), count=4):
        assert (one.labels_HW != LABELS.ignore).mean() > 0.3


@pytest.mark.parametrize("augment", [WHOLE, CROPPED])
def test_whole_views_are_told_from_parts(augment):
    drawn = asked(online_draws(augment=augment), count=24)
    found = {one.unlabelled.mirrored for one in drawn}
    assert found == ({True, False} if augment is WHOLE else {None})


def test_a_draw_is_a_function_of_its_number(runtime):
    values = {"augment": STRONG, "mix": MixConfig()}
    steps = load_steps(online_draws(**values), range(2, 4), 3, 0, 1, 2)
    read_ahead = [drawn for step in steps for drawn in step]
    again = online_draws(**values)
    for one in reversed(read_ahead):
        other = again.draw(one.number)
        assert np.array_equal(one.image_HWC, other.image_HWC) and np.array_equal(one.labels_HW, other.labels_HW)
        if one.unlabelled is not None:
            assert np.array_equal(one.unlabelled.open_HW, other.unlabelled.open_HW)


def test_files_that_cannot_be_read_are_passed_over_in_both_parts_of_a_mix():
    draws = OnlineDraws(
        [labelled(Faulty(world(2), unreadable=[0]))],
        [unlabelled(Faulty(world(2, "photos"), unreadable=[1]), mix=MixConfig())],
        5,
        LABELS.ignore,
    )
    skipped = {item for one in asked(draws) for item in one.skipped}
    assert {item.partition("/")[0] for item in skipped} == {"scenes", "photos"}


def test_nothing_readable_comes_as_an_error_in_place_of_the_draw():
    draws = OnlineDraws(
        [labelled(weight=0.0)], [unlabelled(Faulty(world(2, "photos"), unreadable=[0, 1]))], 5, LABELS.ignore
    )
    error = draws[0]
    assert isinstance(error, CloudsError) and "photos" in error.message


def test_what_is_pasted_is_drawn_by_class_where_the_source_is(runtime, tmp_path):
    by = by_class(world(4), tmp_path, runtime)
    rare, plain = (
        OnlineDraws(by.sources, [unlabelled(augment=CLEAN, mix=MixConfig(share=1.0))], 5, LABELS.ignore, tables)
        for tables in (by.tables, {})
    )
    pairs = list(zip(asked(rare), asked(plain), strict=True))
    assert any(not np.array_equal(one.labels_HW, other.labels_HW) for one, other in pairs)


def test_sources_without_images_or_weight_are_refused():
    empty = Source(Faulty(world(1)), 0.0, CROPPED)
    with pytest.raises(CloudsError, match="nothing unlabelled"):
        OnlineDraws([labelled()], [empty], 5, LABELS.ignore)
    with pytest.raises(CloudsError, match="no data"):
        OnlineDraws([labelled(weight=0.0)], [unlabelled(mix=MixConfig())], 5, LABELS.ignore)


class OfOneClass:
    """Images whose every pixel is of one class: what is pasted tells where it is from."""

    ids = ("0", "1", "2")

    def __init__(self, class_id):
        self.name, self.class_id = f"class {class_id}", class_id

    def image(self, index):
        return np.zeros((32, 64, 3), np.uint8)

    def labels(self, index):
        return np.full((32, 64), self.class_id, np.uint8)

    def stamp(self, index):
        return ""

    def identity(self):
        return {}


@pytest.mark.parametrize("seed", range(6))
def test_what_is_pasted_is_shared_out_as_the_labelled_sources_are_weighted(seed):
    sources = [labelled(OfOneClass(0), augment=CLEAN), labelled(OfOneClass(1), weight=3.0, augment=CLEAN)]
    target = unlabelled(augment=CLEAN, weight=2.0, mix=MixConfig(share=1.0))
    draws = OnlineDraws(sources, [target], seed, LABELS.ignore)
    pasted = [int(one.labels_HW[0, 0]) for one in asked(draws, count=240)]
    assert len(pasted) == pytest.approx(80, abs=1)
    assert pasted.count(1) == pytest.approx(60, abs=2)
