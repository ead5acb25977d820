"""Draws depend on the seed and their number alone, share out as weighted, and pass over what cannot be read."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_training import CROPPED, LABELS, Faulty, draws_of, world

from clouds.data.transforms import AugmentConfig
from clouds.errors import CloudsError
from clouds.training.draws import Drawn, Draws, Source, load_steps, split, too_large_a_crop

PLAIN = AugmentConfig(scale=(1.0, 1.0), flip=0.0, jitter=None)


class Numbered:
    """Images that show their own index: which were drawn can be read off them."""

    def __init__(self, size, name="numbered"):
        self.name, self.ids = name, [f"{index:03d}" for index in range(size)]

    def image(self, index):
        return np.full((2, 2, 3), index, np.uint8)

    def labels(self, index):
        return np.zeros((2, 2), np.uint8)

    def stamp(self, index):
        return ""

    def identity(self):
        return {}


def indices(draws, numbers):
    return [int(draws.draw(number).image_HWC[0, 0, 0]) for number in numbers]


def same(one: Drawn, other: Drawn) -> bool:
    arrays = np.array_equal(one.image_HWC, other.image_HWC) and np.array_equal(one.labels_HW, other.labels_HW)
    return arrays and (one.number, one.skipped) == (other.number, other.skipped)


@settings(max_examples=20, deadline=None)
@given(before=st.lists(st.integers(0, 40), max_size=5), number=st.integers(0, 40))
def test_a_draw_is_the_same_whatever_came_before(before, number):
    fresh, used = draws_of(world(5)), draws_of(world(5))
    for earlier in before:
        used.draw(earlier)
    assert same(fresh.draw(number), used.draw(number))


def test_a_seed_is_another_order_and_another_augmentation():
    assert indices(draws_of(Numbered(50), augment=PLAIN, seed=1), range(50)) != indices(
        draws_of(Numbered(50), augment=PLAIN, seed=2), range(50)
    )
    one, other = (draws_of(world(1), seed=seed).draw(0) for seed in (1, 2))
    assert not np.array_equal(one.image_HWC, other.image_HWC)


def test_augmentation_belongs_to_the_draw_not_to_the_image():
    draws = draws_of(world(1))
    assert not np.array_equal(draws.draw(0).image_HWC, draws.draw(1).image_HWC)


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 30), seed=st.integers(0, 2**40))
def test_each_image_once_in_every_round(size, seed):
    drawn = indices(draws_of(Numbered(size), augment=PLAIN, seed=seed), range(3 * size))
    for start in range(0, 3 * size, size):
        assert sorted(drawn[start : start + size]) == list(range(size))


def test_rounds_differ_in_order():
    drawn = indices(draws_of(Numbered(20), augment=PLAIN), range(40))
    assert drawn[:20] != drawn[20:]


def test_shares_follow_the_weights():
    named = [Numbered(7, "a"), Faulty(Numbered(7, "b"), unreadable=range(7)), Numbered(7, "never")]
    sources = [Source(dataset, weight, PLAIN) for dataset, weight in zip(named, (3.0, 1.0, 0.0), strict=True)]
    draws, count = Draws(sources, 1, LABELS.ignore), 2000
    # the data set that cannot be read tells by its error that it was chosen
    share = Counter(isinstance(draws[number], CloudsError) for number in range(count))[True] / count
    assert abs(share - 0.25) < 0.005


def test_of_a_mixture_too_each_image_comes_once_in_every_round_of_its_set():
    shifted = Numbered(5)
    shifted.image = lambda index: np.full((2, 2, 3), 100 + index, np.uint8)
    sources = [Source(Numbered(7), 0.8, PLAIN), Source(shifted, 0.2, PLAIN)]
    # more draws than are counted in one go, from the end and from the start
    count = 2500
    last = indices(Draws(sources, 3, LABELS.ignore), [count - 1])
    drawn = indices(Draws(sources, 3, LABELS.ignore), range(count))
    assert drawn[-1:] == last
    for first, size in ((0, 7), (100, 5)):
        own = [index - first for index in drawn if first <= index < first + 100]
        for start in range(0, len(own) - size, size):
            assert sorted(own[start : start + size]) == list(range(size))
    # and no stretch of draws does without one of them
    assert all(any(index >= 100 for index in drawn[start : start + 10]) for start in range(0, count, 10))


def test_a_weight_of_zero_is_never_drawn():
    sources = [Source(Faulty(Numbered(3), unreadable=range(3)), 0.0, PLAIN), Source(Numbered(3), 0.1, PLAIN)]
    draws = Draws(sources, 1, LABELS.ignore)
    assert all(isinstance(draws[number], Drawn) for number in range(200))


@pytest.mark.parametrize("weights", [[0.0], [], [0.0, 0.0]])
def test_no_weight_is_no_data(weights):
    with pytest.raises(CloudsError, match="no data"):
        Draws([Source(Numbered(2), weight, PLAIN) for weight in weights], 1, LABELS.ignore)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_names_its_data_set(weight):
    with pytest.raises(CloudsError, match=r"'numbered' has the weight"):
        Draws([Source(Numbered(2), 1.0, PLAIN), Source(Numbered(2), weight, PLAIN)], 1, LABELS.ignore)


def test_an_empty_data_set_is_named():
    with pytest.raises(CloudsError, match="'numbered' has no images"):
        draws_of(Numbered(0))


def test_what_cannot_be_read_is_passed_over_and_named():
    draws = draws_of(Faulty(Numbered(6), unreadable=[2, 3]), augment=PLAIN)
    good = draws_of(Numbered(6), augment=PLAIN)
    told: set[str] = set()
    for number in range(6):
        drawn, wanted = draws.draw(number), int(good.draw(number).image_HWC[0, 0, 0])
        assert (int(drawn.image_HWC[0, 0, 0]) == wanted) == (wanted not in (2, 3))
        assert bool(drawn.skipped) == (wanted in (2, 3))
        told.update(drawn.skipped)
    assert told == {"numbered/002: 002.png is cut off", "numbered/003: 003.png is cut off"}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_set_that_cannot_be_used_at_all_is_an_error(workers):
    draws = draws_of(Faulty(Numbered(3), unreadable=range(3)))
    with pytest.raises(CloudsError, match="'numbered': 20 images in a row cannot be used; the last:") as raised:
        list(load_steps(draws, range(2), 2, 0, 1, workers))
    # also from another process it is a message, not a traceback
    assert "Traceback" not in str(raised.value)
    assert raised.value.mend


@pytest.mark.parametrize(("world_size", "batch_size", "workers"), [(1, 5, 2), (2, 5, 0), (3, 5, 0), (3, 3, 0)])
def test_processes_see_between_them_what_one_sees(world_size, batch_size, workers):
    draws = draws_of(Faulty(world(4), unreadable=[1]))
    shares = [
        list(load_steps(draws, range(2, 4), batch_size, rank, world_size, workers if rank == 0 else 0))
        for rank in range(world_size)
    ]
    for step in (0, 1):
        drawn = sorted((one for share in shares for one in share[step]), key=lambda one: one.number)
        expected = range((step + 2) * batch_size, (step + 3) * batch_size)
        assert [one.number for one in drawn] == list(expected)
        assert all(same(one, draws.draw(one.number)) for one in drawn)


@given(count=st.integers(1, 9), at_once=st.none() | st.integers(1, 10))
def test_a_step_is_split_without_loss(count, at_once):
    draws = draws_of(Numbered(9), augment=PLAIN)
    batches = split([draws.draw(number) for number in range(count)], at_once)
    assert [number for batch in batches for number in batch.numbers] == list(range(count))
    assert max(len(batch.numbers) for batch in batches) <= (at_once or count)
    for batch in batches:
        assert batch.images_BCHW.shape == (len(batch.numbers), 3, 2, 2)
        assert batch.labels_BHW.shape == (len(batch.numbers), 2, 2)


def test_a_batch_holds_image_and_labels_as_drawn():
    drawn = draws_of(world(2)).draw(0)
    [batch] = split([drawn], None)
    assert np.array_equal(batch.images_BCHW[0].permute(1, 2, 0).numpy(), drawn.image_HWC)
    assert np.array_equal(batch.labels_BHW[0].numpy(), drawn.labels_HW)


def test_sizes_that_differ_without_a_crop_are_shown_with_the_mend():
    draws = draws_of(world(1), augment=PLAIN)
    other = replace(draws_of(world(1, height=16, width=48), augment=PLAIN).draw(1), number=1)
    with pytest.raises(CloudsError, match="48x16, 64x32") as raised:
        split([draws.draw(0), other], None)
    assert "augment.crop" in raised.value.mend
    assert len(split([draws.draw(0), other], 1)) == 2


def test_sizes_that_differ_are_fine_with_a_crop():
    draws = draws_of(world(2), world(2, "small", height=16, width=48), augment=CROPPED)
    [batch] = split([draws.draw(number) for number in range(8)], None)
    assert batch.images_BCHW.shape == (8, 3, 32, 64)


def test_a_crop_that_no_image_can_fill_is_told():
    images = Numbered(3)
    told = too_large_a_crop(Source(images, 1.0, AugmentConfig(crop=(5, 9))))
    assert told is not None and "'numbered': `augment.crop` is 9x5, larger than its images (2x2)" in told
    for crop, scale in ((None, (1.0, 1.0)), ((5, 4), (0.5, 2.0)), ((5, 9), (0.5, 2.5)), ((1, 1), (0.5, 0.5))):
        assert too_large_a_crop(Source(images, 1.0, AugmentConfig(crop=crop, scale=scale))) is None
