"""The protocol's config: where windows lie, which sizes views have, and what cannot be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouds.config import validate
from clouds.errors import UsageError
from clouds.models.protocol import ProtocolConfig

LENGTHS = st.integers(1, 60)


@given(size=st.tuples(LENGTHS, LENGTHS), window=st.tuples(LENGTHS, LENGTHS), data=st.data())
def test_windows_cover_every_pixel_and_stay_inside(size, window, data):
    stride = tuple(data.draw(st.integers(1, length)) for length in window)
    corners = ProtocolConfig(window=window, stride=stride).window_corners(size)
    tall, wide = min(window[0], size[0]), min(window[1], size[1])
    times_HW = np.zeros(size, int)
    for row, column in corners:
        assert 0 <= row <= size[0] - tall and 0 <= column <= size[1] - wide
        times_HW[row : row + tall, column : column + wide] += 1
    assert times_HW.min() >= 1
    assert len(set(corners)) == len(corners)
    assert (size[0] - tall, size[1] - wide) in corners
    # all but the last ones of an axis are a stride apart
    rows = sorted({row for row, _ in corners})
    assert all(row == number * stride[0] for number, row in enumerate(rows[:-1]))


def test_the_published_windows():
    # 2048x1024 images in windows of 1024 every 768 pixels (VLTSeg, real source)
    protocol = ProtocolConfig(window=(1024, 1024), stride=(768, 768))
    assert protocol.window_corners((1024, 2048)) == [(0, 0), (0, 768), (0, 1024)]
    assert ProtocolConfig(window=(1024, 1024)).steps == (768, 768)
    assert ProtocolConfig(window=(1, 1)).steps == (1, 1)


@pytest.mark.parametrize(
    ("values", "size", "views"),
    [
        ({}, (37, 51), [(37, 51)]),
        ({"short_edge": 1024}, (720, 1280), [(1024, 1820)]),
        ({"size": (512, 1024)}, (720, 1280), [(512, 1024)]),
        ({"size": (512, 1024), "scales": (0.5, 1.5)}, (7, 9), [(256, 512), (768, 1536)]),
        ({"scales": (0.01, 1)}, (10, 20), [(1, 1), (10, 20)]),
    ],
)
def test_the_sizes_of_views(values, size, views):
    assert ProtocolConfig(**values).view_sizes(size) == views


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"short_edge": 5, "size": (5, 5)}, "leave one null"),
        ({"stride": (5, 5)}, "`stride` goes with a `window`"),
        ({"window": (5, 5), "stride": (5, 6)}, "leaves gaps"),
        ({"window": (0, 5)}, "'window.0' = 0"),
        ({"scales": ()}, "'scales'"),
        ({"scales": (1, -1)}, "'scales.1' = -1"),
        ({"short_edge": 0}, "'short_edge' = 0"),
        ({"strides": (5, 5)}, "did you mean 'stride'?"),
    ],
)
def test_what_cannot_be_is_named(values, said):
    with pytest.raises(UsageError) as caught:
        validate(ProtocolConfig, values, "here")
    assert said in str(caught.value)
