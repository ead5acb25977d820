"""YOLO's segmentation format: polygons in text files. It takes connected pieces for objects, of every class."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from clouds.export.files import PartFiles
from clouds.export.format import Finish, Job, Labels, Pair, finish_metadata, note_item
from clouds.export.parts import VALIDATION, Part
from clouds.export.polygons import enclosed_area, outline
from clouds.ops.components import connected_components

CONFIG = "data.yaml"


class YoloSeg:
    """`images/SPLIT`, `labels/SPLIT/*.txt` (class, then corners as shares of width and height) and `data.yaml`."""

    name: ClassVar[str] = "yolo-seg"
    packages: ClassVar[Sequence[str]] = ()
    sharded: ClassVar[bool] = False

    def check(self, job: Job) -> None:
        """Everything that is not lost can be told."""

    def lost(self, job: Job) -> list[str]:
        return [
            "every connected piece of a class is an object of its own: the labels know no objects",
            "a polygon has no holes: ignored pixels that an object encloses become that object",
            "other ignored pixels become background, which YOLO learns as such",
            "polygons run along the edges of pixels: a reader that rounds corners to pixels moves borders by one",
        ]

    def about(self, job: Job) -> str:
        return (
            "`images/SPLIT` holds the images; `labels/SPLIT/*.txt` have a line for each connected piece of a class: "
            "the class id, then the\ncorners of its outline, x and y as shares of width and height. A piece that lies "
            "in another's hole comes after it: painted\nin order, the lines give the labels back. "
            f"`{CONFIG}` is for the trainer. `metadata.jsonl` names each image with what is\nknown of it.\n"
        )

    def read_back(self, job: Job) -> str:
        return f'[line.split() for line in open("DIR/labels/{job.splits[0]}/SHARD/ID.txt")]  # class, x, y, x, y, ...'

    def front_matter(self, job: Job) -> dict[str, Any]:
        return {}

    def write(self, job: Job, part: Part, pairs: Iterator[Pair], files: PartFiles) -> None:
        for pair in pairs:
            image = f"images/{part.split}/{pair.image_name}"
            files.place(pair.sample.place.image, image)
            lines = "".join(_lines(pair.labels_HW, job.label_map.ignore))
            files.write_text(f"labels/{part.split}/{pair.sample.path}.txt", lines)
            note_item(files, pair, image)

    def finish(self, finish: Finish) -> None:
        finish_metadata(finish)
        finish.text(CONFIG, [_config(finish.job)])


def _lines(labels_HW: Labels, ignore: int) -> list[str]:
    """A line per piece, by the area its outline encloses: whatever lies in a hole comes after what is around it."""
    height, width = labels_HW.shape
    found = []
    for region in connected_components(labels_HW, ignore, connectivity=4):
        corners = outline(region.mask_HW)
        shares = (corners + np.array([region.left, region.top])) / (width, height)
        numbers = " ".join(f"{value:.6f}".rstrip("0").rstrip(".") for value in shares.ravel().tolist())
        found.append((enclosed_area(corners), f"{region.class_id} {numbers}\n"))
    return [line for _, line in sorted(found, key=lambda one: -one[0])]


def _config(job: Job) -> str:
    names = "".join(f"  {one.id}: {json.dumps(one.name)}\n" for one in job.label_map.classes)
    train = job.splits[0]
    if VALIDATION in job.splits:
        validation = f"val: images/{VALIDATION}\n"
    else:
        validation = f"val: images/{train}  # no share was kept for validation, and the trainer asks for one\n"
    return f"# paths start from this file's folder\ntrain: images/{train}\n{validation}names:\n{names}"
