"""Test and validation domains are no part of what foundation models learn from, nor of each other."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from clouds.data.world import DOMAINS, TEST_DOMAINS, VALIDATION_DOMAINS, WEB_DOMAINS, Domain, render_scene
from clouds.data.world.dice import Range
from clouds.data.world.looks import Film, Palette, Place, View, Weather

WEB = DOMAINS["web"]
HELD_OUT = (*TEST_DOMAINS, *VALIDATION_DOMAINS)
PAIRS = list(itertools.product(TEST_DOMAINS, VALIDATION_DOMAINS))

APART = 16.0
"""Least distance (Euclidean, channels 0-255) of a held-out colour of a thing from all colours that web has for it."""
APART_AIR = 8.0
"""The same for skies and fog, whose colours are closer together by nature."""
APART_EACH_OTHER = 8.0
"""The same between test and validation domains."""
MOST_OVERLAP = 0.25
"""The share of a held-out range that may lie in the span of web's ranges if it is to count as separate."""

PARTS = ("places", "lights", "weathers", "films", "views")
PALETTES = tuple(f.name for f in fields(Place) if f.type == Palette)
SIZES = tuple(f.name for f in fields(Place) if f.type == Range)


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Euclidean distance of two colours."""
    return float(np.linalg.norm(np.subtract(one, other)))


def spans_of(part: Any) -> dict[str, Range]:
    """All numbers of a part (film, view, light, weather, sizes of a place) as ranges; colours and texts left out."""
    found: dict[str, Range] = {}
    for f in fields(part):
        value = getattr(part, f.name)
        if isinstance(value, float):
            found[f.name] = (value, value)
        elif isinstance(value, tuple) and f.name in ("ambient", "lamp_color"):
            found |= {f"{f.name}[{k}]": (level, level) for k, level in enumerate(value)}
        elif f.name == "tint":
            found |= {f"tint[{k}]": span for k, span in enumerate(value)}
        elif isinstance(value, tuple) and len(value) == 2 and all(isinstance(bound, float) for bound in value):
            found[f.name] = value
    return {name: span for name, span in found.items() if not isinstance(part, Place) or name in SIZES}


def separate_spans(part: Any, known: Sequence[Any]) -> list[str]:
    """Numbers of a part that lie outside, or all but outside, the span of those of the known parts."""
    return [
        name
        for name, span in spans_of(part).items()
        if overlap(span, [spans_of(other)[name] for other in known]) <= MOST_OVERLAP
    ]


def overlap(span: Range, known: Sequence[Range]) -> float:
    """The share of a range that lies in the hull of the known ones."""
    low, high = min(a for a, _ in known), max(b for _, b in known)
    if span[0] == span[1]:
        return float(low <= span[0] <= high)
    return max(0.0, min(high, span[1]) - max(low, span[0])) / (span[1] - span[0])


def shared_parts(domain: Domain, known: Domain) -> Iterator[str]:
    """Parts that are in both; clear air is everywhere the same."""
    for kind in PARTS:
        for part in getattr(domain, kind):
            if part in getattr(known, kind) and part != Weather():
                yield f"both have {kind} {getattr(part, 'name', '')!r}"


def near_colors(domain: Domain, known: Domain, apart: float, apart_air: float) -> Iterator[str]:
    """Colours closer than allowed to a known one of the same thing."""
    for owner, name, least in (
        *(("places", name, apart) for name in PALETTES),
        ("lights", "sky_top", apart_air),
        ("lights", "sky_low", apart_air),
    ):
        taken = {color for part in getattr(known, owner) for color in getattr(part, name)}
        for part in getattr(domain, owner):
            for color in getattr(part, name):
                nearest = min(taken, key=lambda other: distance(color, other))
                if distance(color, nearest) < least:
                    yield f"{name} of {part.name!r}: {color} is near {nearest}"
    for air in (air for air in domain.weathers if air.fog[1]):
        for other in (other for other in known.weathers if other.fog[1]):
            if distance(air.fog_color, other.fog_color) < apart_air:
                yield f"fog_color of {air.name!r}: {air.fog_color} is near {other.fog_color}"


def usual_parts(domain: Domain, known: Domain) -> Iterator[str]:
    """Layouts, films, cameras and lights without any number outside the known span."""
    for kind in ("places", "films", "views"):
        for part in getattr(domain, kind):
            if not separate_spans(part, getattr(known, kind)):
                yield f"{kind}: {part} is within the known span"
    for light, air in itertools.product(domain.lights, domain.weathers):
        hour = [other for other in known.lights if other.name == light.name]
        weather = [other for other in known.weathers if other.name == air.name]
        assert hour and weather, "a held-out domain shows an hour and a weather that can be told in known words"
        if not separate_spans(light, hour) and not separate_spans(air, weather):
            yield f"light and weather: {light} in {air} are within the known span"


def complaints(domain: Domain, known: Domain = WEB) -> list[str]:
    """Everything in which a domain is not separate from a known one."""
    return [*shared_parts(domain, known), *near_colors(domain, known, APART, APART_AIR), *usual_parts(domain, known)]


def test_the_groups_are_whole() -> None:
    assert {"source", *WEB_DOMAINS, *HELD_OUT} == set(DOMAINS)
    assert TEST_DOMAINS == ("fog", "night", "rain", "snow", "abroad")
    assert tuple(f"val_{name}" for name in TEST_DOMAINS) == VALIDATION_DOMAINS
    assert set(PALETTES) >= {"facades", "roads", "sidewalks", "leaves", "cars", "clothes", "signs"}
    assert set(SIZES) >= {"road_width", "sidewalk_width", "building_height", "storey", "window_width"}


@pytest.mark.parametrize("name", HELD_OUT)
def test_a_held_out_domain_is_apart_from_web(name: str) -> None:
    assert complaints(DOMAINS[name]) == []


@pytest.mark.parametrize(("test", "validation"), PAIRS)
def test_validation_is_apart_from_test(test: str, validation: str) -> None:
    one, other = DOMAINS[validation], DOMAINS[test]
    assert [*shared_parts(one, other), *near_colors(one, other, APART_EACH_OTHER, APART_EACH_OTHER)] == []


@pytest.mark.parametrize("kind", PARTS)
def test_any_part_of_web_in_a_domain_is_found(kind: str) -> None:
    spoilt = replace(DOMAINS["fog"], **{kind: getattr(WEB, kind)[-1:]})
    found = complaints(spoilt)
    assert any(kind in complaint for complaint in found), found


def test_a_town_painted_like_webs_is_found() -> None:
    place = DOMAINS["rain"].places[0]
    facade = WEB.places[0].facades[0]
    repainted = replace(place, facades=(*place.facades, (facade[0] + 3, facade[1], facade[2])))
    found = complaints(replace(DOMAINS["rain"], places=(repainted,)))
    assert len(found) == 1 and found[0].startswith("facades of")


def test_a_part_that_only_renames_webs_is_found() -> None:
    town = replace(WEB.places[0], name="street of another name")
    film = replace(WEB.films[0], grain=(0.009, 0.024))
    view = replace(WEB.views[0], aim=(-0.07, 0.07))
    light = replace(WEB.lights[0], clouds=(0, 1))
    found = complaints(Domain((town,), (light,), WEB.weathers[-1:], (film,), (view,)))
    for start in ("places", "films", "views", "light and weather", "facades", "sky_top"):
        assert any(complaint.startswith(start) for complaint in found), start


@pytest.mark.parametrize(
    ("span", "share"), [((0.0, 1.0), 0.0), ((1.0, 3.0), 0.5), ((2.2, 2.8), 1.0), ((1.0, 1.0), 0.0), ((2.0, 2.0), 1.0)]
)
def test_overlap_is_measured_against_the_hull(span: Range, share: float) -> None:
    assert overlap(span, [(2.0, 2.4), (2.6, 4.0)]) == pytest.approx(share)


def test_numbers_of_every_part_are_compared() -> None:
    assert {"texture", "grain", "tint[2]"} <= set(spans_of(Film()))
    assert set(spans_of(View())) == {"focal", "height", "horizon", "aim", "roll"}
    assert {"ambient[0]", "sun", "lamps", "lamp_color[2]"} <= set(spans_of(WEB.lights[0]))
    assert {"fog", "cover", "wet", "rain", "flakes", "dim"} <= set(spans_of(Weather()))
    assert set(spans_of(WEB.places[0])) == set(SIZES)


def test_no_held_out_scene_is_a_scene_of_web() -> None:
    web = {render_scene("web", index).image_HWC.tobytes() for index in range(60)}
    for name in HELD_OUT:
        scenes = {render_scene(name, index).image_HWC.tobytes() for index in range(12)}
        assert len(scenes) == 12 and scenes.isdisjoint(web), name
