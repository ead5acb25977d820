"""What the COCO formats share: categories, objects and stuff of a label map, and JSON written piece by piece.

A category's id is the class id + 1, since many readers take 0 for background. An image's id is its number in the
artifact + 1.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clouds.export.format import Job, Labels, Pair
from clouds.ops.components import Region, connected_components, region_of

LICENCE_NOTE = "see README.md"


@dataclass(frozen=True, eq=False)
class Segment:
    """A piece of an image: an object, or all pixels of a stuff class."""

    region: Region
    is_thing: bool

    @property
    def category_id(self) -> int:
        return self.region.class_id + 1

    @property
    def bbox(self) -> list[int]:
        """Left, top, width, height in pixels."""
        height, width = self.region.mask_HW.shape
        return [self.region.left, self.region.top, width, height]


def segments_of(labels_HW: Labels, things: Iterable[int], ignore: int) -> list[Segment]:
    """Every labelled pixel is in one of them: stuff classes in the order of their ids, then objects in reading order.

    An object is a connected piece of a thing class; pixels that touch at a corner are connected.
    """
    is_thing = np.zeros(256, np.bool_)
    is_thing[list(things)] = True
    shown = [int(id_) for id_ in np.unique(labels_HW) if id_ != ignore and not is_thing[id_]]
    stuff = [Segment(region_of(labels_HW == id_, id_), False) for id_ in shown]
    of_things_HW = np.where(is_thing[labels_HW], labels_HW, np.uint8(ignore))
    return stuff + [Segment(region, True) for region in connected_components(of_things_HW, ignore)]


def image_row(pair: Pair) -> dict[str, Any]:
    """An image as COCO lists it; its file name starts from the folder of the split's images."""
    height, width = pair.size
    return {"id": image_id(pair), "file_name": pair.image_name, "width": width, "height": height}


def image_id(pair: Pair) -> int:
    """The image's number in the artifact, from 1."""
    return pair.sample.number + 1


def categories(job: Job) -> list[dict[str, Any]]:
    """The classes as COCO lists them; `isthing` and `color` as the panoptic format has them."""
    return [
        {
            "id": one.id + 1,
            "name": one.name,
            "supercategory": "thing" if one.id in job.things else "stuff",
            "isthing": int(one.id in job.things),
            "color": list(one.color),
        }
        for one in job.label_map.classes
    ]


def things_note(job: Job) -> str:
    """What is to be known of the objects in a COCO export."""
    names = [name for id_, name in job.label_map.id2label.items() if id_ in job.things]
    if not names:
        return "no class counts as thing (see --things): there are no objects, only stuff"
    return (
        f"objects ({', '.join(names)}) are the connected pieces of their class: the labels know no objects, so those "
        "that touch count as one, and one that something stands before as several"
    )


def file_pieces(head: Mapping[str, Any], sections: Sequence[tuple[str, Iterator[str]]]) -> Iterator[str]:
    """A COCO file: small values, then long lists of which each element is given as JSON; nothing is kept in memory."""
    yield "{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())
    for key, elements in sections:
        yield f",\n{json.dumps(key)}: ["
        for number, element in enumerate(elements):
            yield ("\n" if number == 0 else ",\n") + element
        yield "]"
    yield "}\n"


def head(job: Job) -> dict[str, Any]:
    """What every COCO file says of itself."""
    info = {"description": job.name, "contributor": "clouds"}
    return {"info": info, "licenses": [{"id": 1, "name": LICENCE_NOTE}], "categories": categories(job)}


def numbered(rows: Iterator[str]) -> Iterator[str]:
    """JSON objects with an `id` that counts from 1, put before what they hold."""
    return (f'{{"id": {number}, {row[1:]}' for number, row in enumerate(rows, start=1))
