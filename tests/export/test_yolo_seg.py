"""YOLO polygons: painted in order they give back every pixel but those they say are lost."""

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from made_images import CLASSES, IGNORE, export, truth
from PIL import Image
from scipy import ndimage

from clouds.export.polygons import enclosed_area, outline
from clouds.export.yolo_seg import _lines
from clouds.ops.components import connected_components

SIDES = st.integers(1, 10)


def filled(corners_NXY, size):
    """Pixels whose centre an outline of horizontal and vertical edges encloses: crossings on the left are odd."""
    crossings_HW = np.zeros((size[0], size[1] + 1), int)
    for (x, y), (next_x, next_y) in zip(corners_NXY, np.roll(corners_NXY, -1, axis=0), strict=True):
        assert (x == next_x) != (y == next_y)
        if x == next_x:
            crossings_HW[min(y, next_y) : max(y, next_y), x] += 1
    return np.cumsum(crossings_HW, axis=1)[:, :-1] % 2 == 1


def painted(lines, size):
    """What the lines of a label file say, each painted over those before."""
    labels_HW = np.full(size, IGNORE, np.uint8)
    for line in lines:
        class_id, *numbers = line.split()
        exact = np.array(numbers, float).reshape(-1, 2) * (size[1], size[0])
        corners = np.rint(exact).astype(int)
        assert np.abs(exact - corners).max() < 0.01
        labels_HW[filled(corners, size)] = int(class_id)
    return labels_HW


def without_enclosed_ignore(labels_HW):
    """The labels but for ignored pixels that one class encloses, which no polygon can tell; and where those are."""
    lost_HW = np.zeros(labels_HW.shape, bool)
    for region in connected_components(labels_HW, IGNORE, connectivity=4):
        holes_HW = ndimage.binary_fill_holes(region.mask_HW, np.ones((3, 3))) & ~region.mask_HW
        lost_HW[region.window] |= holes_HW
    return lost_HW & (labels_HW == IGNORE)


@settings(deadline=None, max_examples=60)
@given(arrays.arrays(np.bool_, st.tuples(SIDES, SIDES)))
def test_an_outline_holds_the_region_and_its_holes(mask_HW):
    for region in connected_components(mask_HW.astype(np.uint8), ignore=0, connectivity=4):
        corners = outline(region.mask_HW)
        inside_HW = filled(corners, region.mask_HW.shape)
        assert np.array_equal(inside_HW, ndimage.binary_fill_holes(region.mask_HW, np.ones((3, 3))))
        assert enclosed_area(corners) == inside_HW.sum()


@settings(deadline=None, max_examples=60)
@given(arrays.arrays(np.uint8, st.tuples(SIDES, SIDES), elements=st.sampled_from([0, 1, IGNORE])))
def test_lines_give_back_all_but_enclosed_ignore(labels_HW):
    back_HW = painted(_lines(labels_HW, IGNORE), labels_HW.shape)
    kept_HW = ~without_enclosed_ignore(labels_HW)
    assert np.array_equal(back_HW[kept_HW], labels_HW[kept_HW])


def test_the_export_gives_back_all_but_what_it_says_is_lost(images, tmp_path):
    said = export(images, "yolo-seg", tmp_path / "out", share=0.4)
    out = tmp_path / "out"
    assert any("a polygon has no holes" in line for line in said)
    assert "a polygon has no holes" in (out / "README.md").read_text()
    config = yaml.safe_load((out / "data.yaml").read_text())
    assert config["names"] == dict(enumerate(CLASSES))
    seen = lost = 0
    for split in ("train", "val"):
        for path in (out / config[split]).rglob("*.png"):
            # as the trainer finds them: the last `images` of the path becomes `labels`
            labels = out / "labels" / path.relative_to(out / "images").with_suffix(".txt")
            _, image_HWC, labels_HW = next(one for one in truth(images) if one[0].id == path.stem)
            assert np.array_equal(np.asarray(Image.open(path)), image_HWC)
            back_HW = painted(labels.read_text().splitlines(), labels_HW.shape)
            lost_HW = without_enclosed_ignore(labels_HW)
            assert np.array_equal(back_HW[~lost_HW], labels_HW[~lost_HW])
            seen, lost = seen + 1, lost + int(lost_HW.sum())
    assert seen == images.total and lost > 0


def test_without_a_validation_share_the_config_says_so(images, tmp_path):
    export(images, "yolo-seg", tmp_path / "out")
    text = (tmp_path / "out" / "data.yaml").read_text()
    assert yaml.safe_load(text)["val"] == "images/train" and "no share was kept" in text


@pytest.mark.parametrize("mask", [[[1]], [[1, 1], [1, 0]]])
def test_corners_alone_are_kept(mask):
    corners = outline(np.array(mask, bool))
    assert len(corners) == (4 if mask == [[1]] else 6)
