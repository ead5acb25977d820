import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clouds.ops.components import connected_components, region_of
from clouds.ops.prompts import points_off, points_on, prompts_for, with_negatives

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


@given(label_maps, st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_negative_points_lie_on_neighbours_of_other_classes(labels_HW, count, seed):
    rng = np.random.default_rng(seed)
    regions = connected_components(labels_HW)
    prompts = prompts_for(regions, "random", 2, False, rng)
    for region, prompt in zip(regions, with_negatives(prompts, regions, labels_HW, count, rng), strict=True):
        x, y = prompt.negatives_NXY.T
        assert not np.isin(labels_HW[y, x], [region.class_id, 255]).any()
        assert len(x) in (0, count)
        depth = 1 + min(region.mask_HW.shape) // 2
        left, top, right, bottom = region.box_XYXY
        assert (x >= left - depth).all() and (x <= right + depth).all()
        assert (y >= top - depth).all() and (y <= bottom + depth).all()


def test_negative_points_keep_away_from_the_edge_where_there_is_room():
    labels_HW = np.ones((60, 60), dtype=np.uint8)
    labels_HW[20:40, 20:40] = 0
    [inner] = [region for region in connected_components(labels_HW) if region.class_id == 0]
    points_NXY = points_off(inner, labels_HW, 300, np.random.default_rng(0))
    distance = np.abs(points_NXY - 29.5).max(axis=1) - 9.5
    assert distance.min() == 6 and distance.max() == 10


def test_a_neighbour_that_is_thin_is_still_found():
    labels_HW = np.full((20, 21), 255, dtype=np.uint8)
    labels_HW[:, :20], labels_HW[:, 20] = 0, 1
    [wide, _] = connected_components(labels_HW)
    assert (points_off(wide, labels_HW, 3, np.random.default_rng(0))[:, 0] == 20).all()


@pytest.mark.parametrize("labels_HW", [np.zeros((4, 6), np.uint8), np.array([[0, 255, 0]] * 3, np.uint8)])
def test_without_a_neighbour_there_are_no_negative_points(labels_HW):
    for region in connected_components(labels_HW):
        assert points_off(region, labels_HW, 3, np.random.default_rng(0)).shape == (0, 2)
