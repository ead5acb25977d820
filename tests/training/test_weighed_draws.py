"""Images that are drawn more often than others, or never: exactly as often, by the seed and the number alone."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.data.transforms import AugmentConfig
from clouds.errors import CloudsError, InputError
from clouds.training.draws import Draws, Source

PLAIN = AugmentConfig(scale=(1.0, 1.0), flip=0.0, jitter=None)


class Numbered:
    """Images that show their own index; those that are broken cannot be read."""

    def __init__(self, size, broken=()):
        self.name, self.ids, self.broken = "generated", [f"{index:03d}" for index in range(size)], broken

    def image(self, index):
        if index in self.broken:
            raise InputError("broken")
        return np.full((2, 2, 3), index, np.uint8)

    def labels(self, index):
        return np.zeros((2, 2), np.uint8)


def drawn(times, numbers, size=None, seed=5, broken=()):
    dataset = Numbered(len(times) if size is None else size, broken)
    draws = Draws([Source(dataset, 1.0, PLAIN, times=times)], seed, 255)
    return [int(draws.draw(number).image_HWC[0, 0, 0]) for number in numbers]


times_of_some = st.lists(st.integers(0, 6), min_size=1, max_size=12).filter(any)


@settings(max_examples=25, deadline=None)
@given(times_of_some, st.integers(0, 2**31))
def test_each_image_comes_as_often_as_it_is_weighed_in_every_round(times, seed):
    total = sum(times)
    for start in (0, total, 3 * total):
        found = Counter(drawn(times, range(start, start + total), seed=seed))
        assert found == Counter({index: count for index, count in enumerate(times) if count})


def test_equal_weights_are_no_weights():
    assert drawn([1] * 9, range(40)) == drawn(None, range(40), size=9)


def test_a_draw_does_not_depend_on_those_before():
    times = [3, 0, 1, 5]
    assert [drawn(times, [number])[0] for number in range(20)] == drawn(times, range(20))


def test_one_that_cannot_be_read_gives_way_to_another_that_is_weighed():
    found = Counter(drawn([4, 0, 2, 1], range(70), broken={0}))
    assert set(found) == {2, 3}


def test_weights_that_leave_nothing_or_do_not_fit_are_refused():
    with pytest.raises(CloudsError, match="'generated' has no images.* each of its 2 .* 0 times"):
        drawn([0, 0], [0])
    with pytest.raises(ValueError, match="3 images, and 2"):
        drawn([1, 1], [0], size=3)
