import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clouds.ops.components import Region, connected_components, region_of

label_maps = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, 2, 254, 255])
)
masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))


def flood(labels_HW, start, connectivity):
    """All pixels one reaches from `start` over neighbours of the same class: the definition, slowly."""
    reached, todo = set(), [start]
    steps = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    if connectivity == 8:
        steps += [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    while todo:
        row, column = todo.pop()
        inside = 0 <= row < labels_HW.shape[0] and 0 <= column < labels_HW.shape[1]
        if inside and (row, column) not in reached and labels_HW[row, column] == labels_HW[start]:
            reached.add((row, column))
            todo += [(row + down, column + right) for down, right in steps]
    return reached


def pixels(region):
    rows, columns = np.nonzero(region.mask_HW)
    return {(int(r) + region.top, int(c) + region.left) for r, c in zip(rows, columns, strict=True)}


@given(label_maps, st.sampled_from([4, 8]))
def test_components_are_the_flood_fills_of_their_pixels(labels_HW, connectivity):
    regions = connected_components(labels_HW, ignore=255, connectivity=connectivity)
    seen = set()
    for region in regions:
        own = pixels(region)
        start = min(own)
        assert own == flood(labels_HW, start, connectivity)
        assert region.class_id == labels_HW[start]
        assert region.area == len(own)
        assert not own & seen
        seen |= own
    assert len(seen) == np.count_nonzero(labels_HW != 255)


@given(label_maps)
def test_boxes_are_tight(labels_HW):
    for region in connected_components(labels_HW):
        rows, columns = zip(*pixels(region), strict=True)
        assert region.box_XYXY == (min(columns), min(rows), max(columns), max(rows))
        assert region.mask_HW.shape == (max(rows) - min(rows) + 1, max(columns) - min(columns) + 1)


@given(label_maps, st.permutations(range(255)))
def test_order_does_not_depend_on_class_numbers(labels_HW, order):
    table = np.array([*order, 255], dtype=np.uint8)
    before, after = connected_components(labels_HW), connected_components(table[labels_HW])
    assert [pixels(r) for r in before] == [pixels(r) for r in after]
    assert [table[r.class_id] for r in before] == [r.class_id for r in after]


def test_corners_connect_only_with_eight():
    labels_HW = np.array([[0, 255], [255, 0]], dtype=np.uint8)
    assert len(connected_components(labels_HW, connectivity=8)) == 1
    assert len(connected_components(labels_HW, connectivity=4)) == 2
    with pytest.raises(ValueError, match="6"):
        connected_components(labels_HW, connectivity=6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_any_integer_dtype(dtype):
    [region] = connected_components(np.full((3, 4), 7, dtype=dtype))
    assert (region.class_id, region.area, region.box_XYXY) == (7, 12, (0, 0, 3, 2))


@given(masks)
def test_a_region_of_a_mask_is_the_mask(mask_HW):
    region = region_of(mask_HW, class_id=3)
    back_HW = np.zeros_like(mask_HW)
    back_HW[region.window] = region.mask_HW
    np.testing.assert_array_equal(back_HW, mask_HW)
    assert region.area == mask_HW.sum()


@given(masks, st.integers(0, 2**32 - 1))
def test_iou_is_that_of_the_whole_masks(mask_HW, seed):
    other_HW = np.random.default_rng(seed).random(mask_HW.shape) < 0.5
    union = (mask_HW | other_HW).sum()
    expected = (mask_HW & other_HW).sum() / union if union else 1.0
    assert region_of(mask_HW, 0).iou(other_HW) == pytest.approx(expected)


def test_a_region_keeps_no_view_of_the_whole_mask():
    mask_HW = np.ones((4, 4), dtype=bool)
    region = region_of(mask_HW, 0)
    mask_HW[:] = False
    assert isinstance(region, Region) and region.mask_HW.all()


@given(hnp.arrays(bool, (6, 7)), hnp.arrays(bool, (6, 7)))
def test_two_regions_agree_as_their_masks_do(one_HW, other_HW):
    one, other = region_of(one_HW, 0), region_of(other_HW, 0)
    assert one.overlap(other) == np.count_nonzero(one_HW & other_HW)
    assert one.agreement(other) == other.agreement(one) == one.iou(other_HW)
