"""Whether pictures show what their captions say: things, by a segmenter's labels, and the time of day, by their light.

It holds the one table from the captions' words to classes. It knows no model, and nothing that learns sees it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clouds.data.labels import LabelMap

_SPECK = 0.0006
_LEAST_PIXELS = 3

DARK_TO_BRIGHT = ("at night", "at dusk", "at noon")
"""Times of day as captions name them, whose pictures are ever brighter."""


@dataclass(frozen=True)
class Thing:
    """What a caption may name: the words that do, its class, and the share of a picture from which on it is there.

    The shares are those from which on captions name a thing.
    """

    name: str
    words: tuple[str, ...]
    label: str
    share: float


THINGS = (
    Thing("car", ("car", "cars"), "car", _SPECK),
    Thing("person", ("person", "people"), "person", _SPECK),
    Thing("bicycle", ("bicycle", "bicycles"), "bicycle", _SPECK),
    Thing("traffic sign", ("traffic sign", "traffic signs"), "traffic sign", _SPECK),
    Thing("poles", ("poles", "street lamps"), "pole", _SPECK),
    Thing("trees", ("trees",), "vegetation", 0.03),
    Thing("fence", ("fence",), "fence", 0.01),
    Thing("buildings", ("tall buildings", "low houses"), "building", 0.05),
)


def named_things(caption: str) -> frozenset[str]:
    """The names of the things that a caption names."""
    return frozenset(thing.name for thing in THINGS if any(_holds(caption, words) for words in thing.words))


def found_things(labels_HW: NDArray[np.integer[Any]], label_map: LabelMap) -> frozenset[str]:
    """The names of the things of which a label map has enough; one whose class it does not know is never found."""
    pixels = np.bincount(labels_HW.ravel(), minlength=label_map.num_classes)
    ids = {thing.name: label_map.find(thing.label) for thing in THINGS}
    least = {thing.name: max(_LEAST_PIXELS, thing.share * labels_HW.size) for thing in THINGS}
    return frozenset(name for name, id_ in ids.items() if id_ is not None and pixels[id_] >= least[name])


def recognition(captions: Sequence[str], found: Sequence[frozenset[str]]) -> dict[str, Any]:
    """How what was found in pictures (see `found_things`) agrees with what their captions name; ready for JSON.

    Of each thing in `things`: `named`, the number of captions that name it; `recall`, the share of their pictures in
    which it was found; `false_alarms`, the share of the other pictures in which it was found all the same. In [0, 1],
    None where there is no such picture. `recall` and `false_alarms` of all: the means over things.
    """
    named = [named_things(caption) for caption in captions]
    things = {thing.name: _agreement(thing.name, named, found) for thing in THINGS}
    means = {key: _mean(one[key] for one in things.values()) for key in ("recall", "false_alarms")}
    return {"pictures": len(captions), **means, "things": things}


def brightness(captions: Sequence[str], images_HWC: Iterable[NDArray[np.uint8]]) -> dict[str, Any]:
    """How bright the pictures of each time of day are on average, in [0, 1], None where there is none.

    `in_order`: whether those of `DARK_TO_BRIGHT` that there are grow ever brighter.
    """
    values: dict[str, list[float]] = {time: [] for time in DARK_TO_BRIGHT}
    for caption, image_HWC in zip(captions, images_HWC, strict=True):
        for time in values:
            if _holds(caption, time):
                values[time].append(float(image_HWC.mean()) / 255)
    means = {time: _mean(found) for time, found in values.items()}
    known = [value for value in means.values() if value is not None]
    return {**means, "in_order": all(a < b for a, b in pairwise(known))}


def _agreement(name: str, named: Sequence[frozenset[str]], found: Sequence[frozenset[str]]) -> Mapping[str, Any]:
    hits = [name in there for said, there in zip(named, found, strict=True) if name in said]
    alarms = [name in there for said, there in zip(named, found, strict=True) if name not in said]
    return {"named": len(hits), "recall": _mean(hits), "false_alarms": _mean(alarms)}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _holds(caption: str, words: str) -> bool:
    return re.search(rf"\b{re.escape(words)}\b", caption) is not None
