"""COCO's instance and stuff JSON with run-length masks. It takes connected pieces for objects."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from clouds.export.coco import Segment, file_pieces, head, image_id, image_row, numbered, segments_of, things_note
from clouds.export.files import PartFiles
from clouds.export.format import Finish, Job, Pair, finish_metadata, note_item
from clouds.export.parts import Part
from clouds.ops.components import Region


class CocoRle:
    """`images/SPLIT`, `annotations/instances_SPLIT.json` (objects) and `annotations/stuff_SPLIT.json` (the rest)."""

    name: ClassVar[str] = "coco-rle"
    packages: ClassVar[Sequence[str]] = ("pycocotools",)
    sharded: ClassVar[bool] = False

    def check(self, job: Job) -> None:
        """Everything can be told."""

    def lost(self, job: Job) -> list[str]:
        return [things_note(job)]

    def about(self, job: Job) -> str:
        return (
            "`images/SPLIT` holds the images. `annotations/instances_SPLIT.json` has an annotation for each object, "
            "`annotations/stuff_SPLIT.json`\none for each other class of an image; together they cover every pixel "
            "that is not ignored, each once. A category's id is\nthe class id + 1. `metadata.jsonl` names each image "
            "with what is known of it.\n"
        )

    def read_back(self, job: Job) -> str:
        return f'pycocotools.coco.COCO("DIR/annotations/instances_{job.splits[0]}.json")'

    def front_matter(self, job: Job) -> dict[str, Any]:
        return {}

    def write(self, job: Job, part: Part, pairs: Iterator[Pair], files: PartFiles) -> None:
        for pair in pairs:
            image = f"images/{part.split}/{pair.image_name}"
            files.place(pair.sample.place.image, image)
            files.note("images", image_row(pair))
            for segment in segments_of(pair.labels_HW, job.things, job.label_map.ignore):
                files.note("instances" if segment.is_thing else "stuff", _annotation(pair, segment))
            note_item(files, pair, image)

    def finish(self, finish: Finish) -> None:
        for split in finish.job.splits:
            for index in ("instances", "stuff"):
                lists = [
                    ("images", finish.notes.lines("images", split)),
                    ("annotations", numbered(finish.notes.lines(index, split))),
                ]
                finish.text(f"annotations/{index}_{split}.json", file_pieces(head(finish.job), lists))
        finish_metadata(finish)


def _annotation(pair: Pair, segment: Segment) -> dict[str, Any]:
    """Without an id: it is given when all parts are put together."""
    return {
        "image_id": image_id(pair),
        "category_id": segment.category_id,
        "area": segment.region.area,
        "bbox": segment.bbox,
        "iscrowd": 0,
        "segmentation": run_lengths(segment.region, pair.size),
    }


def run_lengths(region: Region, size: tuple[int, int]) -> dict[str, Any]:
    """The region as pycocotools' compressed run lengths over the whole image of this size (height, width)."""
    from pycocotools import mask

    height, width = size
    uncompressed = {"size": [height, width], "counts": _counts(region, height, width)}
    encoded = mask.frPyObjects(uncompressed, height, width)
    return {"size": [height, width], "counts": encoded["counts"].decode("ascii")}


def _counts(region: Region, height: int, width: int) -> list[int]:
    """Lengths of the runs down the columns, first of pixels outside the region: work grows with the region alone."""
    columns, rows = np.nonzero(region.mask_HW.T)
    places = (columns + region.left).astype(np.int64) * height + rows + region.top
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts = places[np.concatenate([[0], breaks + 1])]
    ends = places[np.concatenate([breaks, [len(places) - 1]])] + 1
    edges = np.stack([starts, ends], axis=1).ravel()
    counts: list[int] = np.diff(np.concatenate([[0], edges, [height * width]])).tolist()
    # a last run of no pixels is none
    return counts[:-1] if counts[-1] == 0 else counts
