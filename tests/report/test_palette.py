"""Colours that readers with any colour vision tell apart."""

import re
from importlib.resources import files

import numpy as np
import pytest

from clouds.data.labels import LabelMap
from clouds.report import palette
from clouds.report.palette import least_distance, safe_map, seen, told_apart


def test_colours_are_seen_as_expected():
    lab_V3 = seen(np.array([[255, 255, 255], [255, 0, 0]]))
    np.testing.assert_allclose(lab_V3[0, 0], (100, 0, 0), atol=0.02)  # D65 white
    np.testing.assert_allclose(lab_V3[0, 1], (53.24, 80.09, 67.20), atol=0.05)  # sRGB red, in any table of it
    np.testing.assert_allclose(lab_V3[:, 0], lab_V3[:1, 0].repeat(4, axis=0), atol=0.05)  # white is white to all


def test_red_and_green_are_one_colour_to_who_lacks_the_cones():
    red_and_green = [(150, 110, 0), (120, 125, 0)]
    normal, protan, deutan, tritan = np.linalg.norm(np.diff(seen(np.array(red_and_green)), axis=1), axis=(1, 2))
    assert normal > 20 and tritan > 20
    assert min(protan, deutan) < normal / 2


@pytest.mark.parametrize(("name", "before", "after"), [("street11", 4, 18), ("cityscapes19", 4, 15)])
def test_classes_that_looked_alike_are_moved_apart_and_the_rest_left(name, before, after):
    label_map = LabelMap.of(name)
    assert least_distance(label_map.colors) < before
    safe = safe_map(label_map)
    assert least_distance(safe.colors) > after
    assert safe.names == label_map.names
    assert sum(one == other for one, other in zip(safe.colors, label_map.colors, strict=True)) >= 4


def test_colours_that_are_apart_stay():
    apart = [palette.ORANGE, palette.BLUE, (0, 0, 0), (255, 255, 255)]
    assert told_apart(apart) == apart


def test_the_same_colour_twice_and_many_classes():
    assert least_distance(told_apart([(10, 10, 10)] * 2)) >= 20
    many = told_apart([(0, 0, 0)] * 150)
    assert len(set(many)) == 150 and least_distance(many) > 1


def test_what_may_become_of_a_label_is_told_apart():
    assert least_distance([palette.ORANGE, palette.BLUE, palette.GREEN]) > 15


def contrast(one: str, other: str) -> float:
    """The ratio of luminances, as WCAG 2 defines it."""
    values = []
    for color in (one, other):
        shares = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        values.append(float(np.dot(linear, (0.2126, 0.7152, 0.0722))))
    return (max(values) + 0.05) / (min(values) + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_bars_stand_out_from_what_they_lie_on(theme):
    css = (files("clouds.report") / "assets" / "report.css").read_text(encoding="utf-8")
    pairs = dict(re.findall(r"--(\w+): light-dark\(([^)]*)\)", css))
    colors = {name: both.split(", ")[theme] for name, both in pairs.items()}
    for ground in ("paper", "panel", "raised"):
        assert all(contrast(colors[text], colors[ground]) >= 4.5 for text in ("ink", "soft", "link"))
        assert all(contrast(colors[bar], colors[ground]) >= 3 for bar in ("before", "after", "third"))
    rgb = [tuple(int(colors[bar][at : at + 2], 16) for at in (1, 3, 5)) for bar in ("before", "after", "third")]
    assert least_distance(rgb) > 15
