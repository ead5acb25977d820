"""COCO's panoptic format: a JSON and PNGs whose colours are segment ids. It takes connected pieces for objects."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from clouds.export.coco import Segment, file_pieces, head, image_id, image_row, segments_of, things_note
from clouds.export.files import PartFiles
from clouds.export.format import Finish, Job, Pair, finish_metadata, note_item
from clouds.export.parts import Part


class CocoPanoptic:
    """`images/SPLIT`, `annotations/panoptic_SPLIT.json` and `annotations/panoptic_SPLIT/*.png`."""

    name: ClassVar[str] = "coco-panoptic"
    packages: ClassVar[Sequence[str]] = ()
    sharded: ClassVar[bool] = False

    def check(self, job: Job) -> None:
        """Everything can be told."""

    def lost(self, job: Job) -> list[str]:
        return [things_note(job)]

    def about(self, job: Job) -> str:
        return (
            "`images/SPLIT` holds the images. `annotations/panoptic_SPLIT/*.png` have a segment's id in each pixel, "
            "R + 256 G + 65536 B,\n0 where it is ignored; `annotations/panoptic_SPLIT.json` says which category a "
            "segment is of. A category's id is the class\nid + 1. `metadata.jsonl` names each image with what is "
            "known of it.\n"
        )

    def read_back(self, job: Job) -> str:
        return f'json.load(open("DIR/annotations/panoptic_{job.splits[0]}.json"))["annotations"][0]["segments_info"]'

    def front_matter(self, job: Job) -> dict[str, Any]:
        return {}

    def write(self, job: Job, part: Part, pairs: Iterator[Pair], files: PartFiles) -> None:
        for pair in pairs:
            image = f"images/{part.split}/{pair.image_name}"
            segments = segments_of(pair.labels_HW, job.things, job.label_map.ignore)
            files.place(pair.sample.place.image, image)
            files.write_image(
                f"annotations/panoptic_{part.split}/{pair.sample.path}.png", _colored(segments, pair.size)
            )
            files.note("images", image_row(pair))
            files.note("annotations", _annotation(pair, segments))
            note_item(files, pair, image)

    def finish(self, finish: Finish) -> None:
        for split in finish.job.splits:
            lists = [(index, finish.notes.lines(index, split)) for index in ("images", "annotations")]
            finish.text(f"annotations/panoptic_{split}.json", file_pieces(head(finish.job), lists))
        finish_metadata(finish)


def _colored(segments: Sequence[Segment], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Segment ids as colours, uint8 [H, W, 3]; a segment's id is its place in the list, from 1."""
    ids_HW = np.zeros(size, np.uint32)
    for id_, segment in enumerate(segments, start=1):
        ids_HW[segment.region.window][segment.region.mask_HW] = id_
    channels = [(ids_HW >> shift) & 255 for shift in (0, 8, 16)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def _annotation(pair: Pair, segments: Sequence[Segment]) -> dict[str, Any]:
    infos = [
        {
            "id": id_,
            "category_id": segment.category_id,
            "area": segment.region.area,
            "bbox": segment.bbox,
            "iscrowd": 0,
        }
        for id_, segment in enumerate(segments, start=1)
    ]
    return {"image_id": image_id(pair), "file_name": f"{pair.sample.path}.png", "segments_info": infos}
