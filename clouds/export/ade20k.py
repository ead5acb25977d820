"""The folder layout of ADE20K's scene parsing benchmark: ids from 1, 0 for what is not labelled. It knows no class."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from clouds.export.files import PartFiles
from clouds.export.format import Finish, Job, Pair, finish_metadata, note_item, shifted_ids
from clouds.export.parts import Part

CLASS_LIST = "objectInfo.txt"
_FOLDERS = {"train": "training", "val": "validation"}


class ADE20K:
    """`images/SPLIT`, `annotations/SPLIT` (ids + 1, 0 ignore) and a tab-separated `objectInfo.txt`."""

    name: ClassVar[str] = "ade20k"
    packages: ClassVar[Sequence[str]] = ()
    sharded: ClassVar[bool] = False

    def check(self, job: Job) -> None:
        """Everything can be told: a label map has 254 classes at most."""

    def lost(self, job: Job) -> list[str]:
        return []

    def about(self, job: Job) -> str:
        folders = ", ".join(f"`{_folder(split)}`" for split in job.splits)
        return (
            f"`images` and `annotations` have the folders {folders}. An annotation is a single-channel PNG of class "
            f"ids + 1; 0 is\nignore (`reduce_zero_label=True` where a reader asks). `{CLASS_LIST}` lists ids, shares "
            "of labelled pixels and how many images of\neach split show a class. Images keep their format: where a "
            "reader expects `.jpg`, tell it the suffix.\n"
        )

    def read_back(self, job: Job) -> str:
        return f'numpy.array(PIL.Image.open("DIR/annotations/{_folder(job.splits[0])}/SHARD/ID.png")).astype(int) - 1'

    def front_matter(self, job: Job) -> dict[str, Any]:
        return {}

    def write(self, job: Job, part: Part, pairs: Iterator[Pair], files: PartFiles) -> None:
        table = shifted_ids(job)
        for pair in pairs:
            image = f"images/{_folder(part.split)}/{pair.image_name}"
            files.place(pair.sample.place.image, image)
            files.write_gray(f"annotations/{_folder(part.split)}/{pair.sample.path}.png", table[pair.labels_HW])
            note_item(files, pair, image)

    def finish(self, finish: Finish) -> None:
        finish_metadata(finish)
        finish.text(CLASS_LIST, _class_list(finish))


def _folder(split: str) -> str:
    return _FOLDERS.get(split, split)


def _class_list(finish: Finish) -> Iterator[str]:
    yield "\t".join(["Idx", "Ratio", *(f"Images {split}" for split in finish.job.splits), "Name"]) + "\n"
    for one in finish.job.label_map.classes:
        shown = [str(finish.tally.images_of(split, one.id)) for split in finish.job.splits]
        yield "\t".join([str(one.id + 1), f"{finish.tally.share(one.id):.4f}", *shown, one.name]) + "\n"
