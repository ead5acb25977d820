"""A sentence for a scene, from what its labels show: place x time x weather x subjects. It looks at no pixel colour."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clouds.data.world.classes import RGB, Kind
from clouds.data.world.domains import DOMAINS
from clouds.data.world.looks import Setting

_CARS = ("car", "cars")
_COUNTED = (
    (Kind.PERSON, ("person", "people")),
    (Kind.BICYCLE, ("bicycle", "bicycles")),
    (Kind.TRAFFIC_SIGN, ("traffic sign", "traffic signs")),
)
_NUMBERS = ("two", "three", "four")
_MANY = "many"
_ONE, _WITH, _AND, _NEAREST = "a", "with", "and", "the nearest"
_TREES, _FENCE, _LAMPS, _POLES, _ZEBRA = "trees", "a fence", "street lamps", "poles", "a zebra crossing"
_TALL, _LOW = "tall buildings", "low houses"
_GREYS = ((56, "black"), (160, "grey"), (256, "white"))
"""Names of greys with the level below which each holds."""
_HUES = ((15, "red"), (42, "orange"), (70, "yellow"), (165, "green"), (260, "blue"), (325, "purple"), (361, "red"))
"""Names of hues with the angle in degrees below which each holds."""
_SMALLEST = 0.0006
"""The share of the picture from which on an object is worth a word."""
_NEAR = 0.01
"""The share of the picture from which on the colour of a car is plain to see."""


@dataclass(frozen=True)
class Facts:
    """What a caption needs to know besides labels: objects by their numbers, heights in metres."""

    building_height: float = 0.0
    """Mean height of the buildings."""
    car_colors: Mapping[int, RGB] = field(default_factory=dict)
    lamp_posts: Collection[int] = ()
    zebra: bool = False
    """Whether a zebra crossing is near."""


def count_visible(labels_HW: NDArray[np.uint8], instances_HW: NDArray[np.int32], kind: Kind) -> int:
    """How many objects of a class are large enough in the picture to be named."""
    return len(_visible(labels_HW, instances_HW, kind))


def describe(setting: Setting, labels_HW: NDArray[np.uint8], instances_HW: NDArray[np.int32], facts: Facts) -> str:
    """The caption: lower-case words and commas."""
    things = _subjects(setting, labels_HW, instances_HW, facts)
    weather = setting.weather.name or setting.light.sky
    scene = " ".join(filter(None, (_ONE, setting.place.name, setting.light.name, weather)))
    return f"{scene} {_WITH} {_join(things)}" if things else scene


def caption_words() -> tuple[str, ...]:
    """Every word that the caption of any scene of any domain can hold, sorted; a comma is no word."""
    return tuple(sorted({word for phrase in _phrases() for word in phrase.split()}))


def name_color(color: RGB) -> str:
    """The everyday name of a colour."""
    low, high = min(color), max(color)
    if high < 48 or high - low < 0.22 * high:
        return _look_up(_GREYS, sum(color) / 3)
    red, green, blue = color
    if high == red:
        turn = (green - blue) / (high - low) % 6
    else:
        turn = 2 + (blue - red) / (high - low) if high == green else 4 + (red - green) / (high - low)
    return _look_up(_HUES, 60 * turn)


def _phrases() -> Iterator[str]:
    yield from (_MANY, _ONE, _WITH, _AND, _NEAREST, _TREES, _FENCE, _LAMPS, _POLES, _ZEBRA, _TALL, _LOW)
    yield from (*_NUMBERS, *_CARS, *(name for _, names in _COUNTED for name in names))
    yield from (name for _, name in (*_GREYS, *_HUES))
    for domain in DOMAINS.values():
        yield from (place.name for place in domain.places)
        yield from (weather.name for weather in domain.weathers)
        yield from (words for light in domain.lights for words in (light.name, light.sky))


def _subjects(
    setting: Setting, labels_HW: NDArray[np.uint8], instances_HW: NDArray[np.int32], facts: Facts
) -> list[str]:
    things = _cars(setting, labels_HW, instances_HW, facts)
    for kind, names in _COUNTED:
        things += _counted(count_visible(labels_HW, instances_HW, kind), names)
    shares = np.bincount(labels_HW.ravel(), minlength=len(Kind)) / labels_HW.size
    poles = _visible(labels_HW, instances_HW, Kind.POLE)
    lamps = not set(poles).isdisjoint(facts.lamp_posts)
    seen = (
        (lamps, _LAMPS),
        (poles and not lamps, _POLES),
        (facts.zebra, _ZEBRA),
        (shares[Kind.VEGETATION] > 0.03, _TREES),
        (shares[Kind.FENCE] > 0.01, _FENCE),
        (shares[Kind.BUILDING] > 0.05, _TALL if facts.building_height > 12.0 else _LOW),
    )
    return things + [name for is_there, name in seen if is_there]


def _cars(setting: Setting, labels_HW: NDArray[np.uint8], instances_HW: NDArray[np.int32], facts: Facts) -> list[str]:
    """The cars, with the colour of the largest if it is large and the light good enough to tell."""
    sizes = _visible(labels_HW, instances_HW, Kind.CAR)
    if not sizes:
        return []
    largest = max(sizes, key=lambda instance: sizes[instance])
    is_plain = sizes[largest] >= _NEAR * labels_HW.size and setting.light.lamps < 0.5
    if not is_plain or largest not in facts.car_colors:
        return _counted(len(sizes), _CARS)
    color = name_color(facts.car_colors[largest])
    return [f"{_ONE} {color} {_CARS[0]}"] if len(sizes) == 1 else [*_counted(len(sizes), _CARS), f"{_NEAREST} {color}"]


def _visible(labels_HW: NDArray[np.uint8], instances_HW: NDArray[np.int32], kind: Kind) -> dict[int, int]:
    """Pixels of each object of a class that is large enough to be named."""
    sizes = np.bincount(instances_HW[labels_HW == kind])
    return {int(i): int(sizes[i]) for i in np.flatnonzero(sizes >= max(3, _SMALLEST * labels_HW.size))}


def _counted(count: int, names: tuple[str, str]) -> list[str]:
    one, many = names
    if count < 2:
        return [f"{_ONE} {one}"] * count
    return [f"{_NUMBERS[count - 2] if count < 2 + len(_NUMBERS) else _MANY} {many}"]


def _look_up(names: tuple[tuple[int, str], ...], value: float) -> str:
    return next(name for below, name in names if value < below)


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {_AND} {words[-1]}"
