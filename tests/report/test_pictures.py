"""Small pictures of arrays: colours, sizes, and what they are said to show."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from clouds.data.labels import LabelMap
from clouds.report import pictures

CLASSES = LabelMap.of("street11")
IGNORE = CLASSES.ignore


def decoded(picture: pictures.Picture) -> np.ndarray:
    kind, data = picture.uri.split(",", 1)
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_a_drawing_keeps_every_pixel():
    labels_HW = np.arange(11, dtype=np.uint8).reshape(1, 11).repeat(4, axis=0)
    picture = pictures.drawing(pictures.color_labels(labels_HW, CLASSES), "alt", "caption")
    np.testing.assert_array_equal(decoded(picture)[0], [one.color for one in CLASSES.classes])
    assert (picture.width, picture.height) == (11, 4)


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(512, 1024, (128, 256)), (64, 100, (64, 100)), (1, 999, (1, 256))]
)
def test_thumbnails_are_no_wider_than_allowed(height, width, expected):
    assert pictures.shrink_image(np.zeros((height, width, 3), np.uint8)).shape[:2] == expected
    assert pictures.shrink_ids(np.zeros((height, width), np.uint8)).shape == expected


def test_shrinking_ids_invents_none():
    ids_HW = np.random.default_rng(0).choice(np.array([0, 7, 255], np.uint8), (300, 700))
    assert set(np.unique(pictures.shrink_ids(ids_HW))) <= {0, 7, 255}


def test_ignored_pixels_are_hatched_in_colours_of_no_class():
    colored_HWC = pictures.color_labels(np.full((12, 12), IGNORE, np.uint8), CLASSES)
    colors = {tuple(color) for color in colored_HWC.reshape(-1, 3).tolist()}
    assert len(colors) == 2
    assert not colors & {one.color for one in CLASSES.classes}


def test_changes_tell_new_classes_from_lost_ones():
    image_HWC = np.full((1, 3, 3), 200, np.uint8)
    before_HW, after_HW = np.array([[1, 1, 1]]), np.array([[1, 2, IGNORE]])
    shown_HWC = pictures.color_changes(image_HWC, before_HW, after_HW, IGNORE)
    assert shown_HWC[0].tolist() == [[196, 196, 196], list(pictures.CHANGED), list(pictures.REMOVED)]


def test_a_palette_png_takes_the_bits_it_needs_and_keeps_the_ids():
    ids_HW = np.arange(12, dtype=np.uint8).reshape(3, 4)
    colors = [(index, 2 * index, 255) for index in range(12)]
    image = Image.open(io.BytesIO(pictures.ids_png(ids_HW, colors, clear=11)))
    assert (image.mode, image.info["transparency"]) == ("P", 11)
    np.testing.assert_array_equal(np.asarray(image), ids_HW)
    assert image.convert("RGB").getpixel((3, 1)) == (7, 14, 255)
    assert image.convert("RGBA").getpixel((3, 2))[3] == 0


def test_confidence_grows_lighter():
    shown_HWC = pictures.color_confidence(np.arange(256, dtype=np.uint8)[None])
    lightness = shown_HWC[0] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -0.75).all()  # rounding to whole colours
    assert lightness[-1] - lightness[0] > 150
    assert tuple(shown_HWC[0, 0]) == pictures.CONFIDENCE[0]


def test_colours_over_an_image_leave_it_visible():
    mixed_HWC = pictures.lay_over(np.full((1, 1, 3), 100, np.uint8), np.full((1, 1, 3), 200, np.uint8), 0.5)
    assert mixed_HWC.tolist() == [[[150, 150, 150]]]


def test_the_largest_classes_in_words():
    labels_HW = np.array([[0] * 5 + [3] * 3 + [IGNORE] * 2])
    assert pictures.largest_classes(labels_HW, CLASSES) == "sky 50%, road 30%, ignored 20%"
    assert pictures.largest_classes(labels_HW, CLASSES, count=1) == "sky 50%"
