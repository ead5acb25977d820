import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clouds.ops.components import connected_components, region_of
from clouds.ops.prompts import points_on, prompts_for

RULES = ("random", "core", "centre")
label_maps = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, 255])
)


def ring(size=21, outer=9.5, inner=5.5):
    distance_HW = np.hypot(*(np.indices((size, size)) - size // 2))
    return (distance_HW < outer) & (distance_HW > inner)


@given(label_maps, st.sampled_from(RULES), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_points_lie_on_their_component(labels_HW, rule, count, seed):
    rng = np.random.default_rng(seed)
    regions = connected_components(labels_HW)
    prompts = prompts_for(regions, rule, count, True, rng)
    assert len({len(prompt.points_NXY) for prompt in prompts}) <= 1
    for region, prompt in zip(regions, prompts, strict=True):
        x, y = prompt.points_NXY.T
        assert region.mask_HW[y - region.top, x - region.left].all()
        assert prompt.box_XYXY == region.box_XYXY
        if rule != "centre":
            assert len(set(zip(x.tolist(), y.tolist(), strict=True))) == count or region.area < count or rule == "core"


def test_the_centre_of_a_ring_lies_on_the_ring():
    [[x, y]] = points_on(region_of(ring(), 0), "centre", 5, np.random.default_rng(0))
    assert ring()[y, x]
    assert 7 <= np.hypot(x - 10, y - 10) <= 8.5


def test_the_centre_of_a_bar_is_its_middle():
    mask_HW = np.zeros((20, 60), dtype=bool)
    mask_HW[6:11, 5:56] = True
    [[x, y]] = points_on(region_of(mask_HW, 0), "centre", 1, np.random.default_rng(0))
    assert (x, y) == (30, 8)


def test_core_points_keep_away_from_the_edge():
    mask_HW = np.ones((40, 40), dtype=bool)
    points_NXY = points_on(region_of(mask_HW, 0), "core", 200, np.random.default_rng(0))
    assert points_NXY.min() >= 9 and points_NXY.max() <= 30


def test_random_points_reach_every_pixel_alike():
    mask_HW = ring()
    rng = np.random.default_rng(0)
    points = np.concatenate([points_on(region_of(mask_HW, 0), "random", 5, rng) for _ in range(2000)])
    hits_HW = np.zeros(mask_HW.shape)
    np.add.at(hits_HW, (points[:, 1], points[:, 0]), 1)
    expected = len(points) / mask_HW.sum()
    assert np.all(hits_HW[mask_HW] > expected / 2) and np.all(hits_HW[mask_HW] < expected * 2)


def test_the_same_seed_gives_the_same_points():
    region = region_of(ring(), 0)
    one, two, other = (points_on(region, "random", 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_an_empty_region_is_refused():
    with pytest.raises(ValueError, match="empty"):
        points_on(region_of(np.zeros((3, 3), dtype=bool), 0), "random", 1, np.random.default_rng(0))
