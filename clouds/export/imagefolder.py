"""Hugging Face `imagefolder`: image and mask files with a `metadata.jsonl`. It copies files and encodes nothing."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from clouds.export.files import PartFiles
from clouds.export.format import Finish, Job, Pair, id2label, note_item
from clouds.export.parts import Part


class ImageFolder:
    """`SPLIT/images`, `SPLIT/masks` and `SPLIT/metadata.jsonl`, whose file names become image columns."""

    name: ClassVar[str] = "imagefolder"
    packages: ClassVar[Sequence[str]] = ()
    sharded: ClassVar[bool] = False

    def check(self, job: Job) -> None:
        """Everything can be told."""

    def lost(self, job: Job) -> list[str]:
        return []

    def about(self, job: Job) -> str:
        return (
            "`SPLIT/images` holds the images, `SPLIT/masks` their masks: single-channel PNG of class ids, "
            f"{job.label_map.ignore} ignore.\n`SPLIT/metadata.jsonl` names both and what is known of each image; "
            "`id2label.json` names the classes.\n"
        )

    def read_back(self, job: Job) -> str:
        return f'datasets.load_dataset("DIR", split="{job.splits[0]}")[0]  # "image", "mask", "prompt", ...'

    def front_matter(self, job: Job) -> dict[str, Any]:
        return {"configs": [{"config_name": "default", "data_files": [_files(split) for split in job.splits]}]}

    def write(self, job: Job, part: Part, pairs: Iterator[Pair], files: PartFiles) -> None:
        for pair in pairs:
            image, mask = f"images/{pair.image_name}", f"masks/{pair.sample.path}.png"
            files.place(pair.sample.place.image, f"{part.split}/{image}")
            files.place(pair.sample.place.mask, f"{part.split}/{mask}")
            note_item(files, pair, image, mask_file_name=mask)

    def finish(self, finish: Finish) -> None:
        for split in finish.job.splits:
            lines = (line + "\n" for line in finish.notes.lines("metadata", split))
            finish.text(f"{split}/metadata.jsonl", lines)
        finish.json("id2label.json", id2label(finish.job.label_map))


def _files(split: str) -> dict[str, str]:
    return {"split": split, "path": f"{split}/**"}
