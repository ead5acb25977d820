"""The folder layout of Cityscapes, in its ids. It knows Cityscapes' class list, and matches classes by name only."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from clouds.data.label_maps import CLASS_LISTS
from clouds.data.labels import IGNORE, LabelMap
from clouds.data.names import name_key
from clouds.errors import UsageError
from clouds.export.files import PartFiles
from clouds.export.format import Finish, Job, Pair, escaped, finish_metadata, note_item
from clouds.export.parts import Part

_TRAIN = LabelMap.of("cityscapes19")
_ORIGINAL = CLASS_LISTS["cityscapes34"]
_UNLABELED = 0


class Cityscapes:
    """`leftImg8bit/SPLIT/CITY` and `gtFine/SPLIT/CITY` with labelIds, labelTrainIds and color of each image."""

    name: ClassVar[str] = "cityscapes"
    packages: ClassVar[Sequence[str]] = ()
    sharded: ClassVar[bool] = False

    def check(self, job: Job) -> None:
        if not any(_original_id(name) for name in job.label_map.names):
            raise UsageError(
                f"--format cityscapes: none of the classes is one of Cityscapes': {', '.join(job.label_map.names)}",
                "choose a format that keeps your own classes, such as imagefolder or mmseg",
            )

    def lost(self, job: Job) -> list[str]:
        ids = {name: _original_id(name) for name in job.label_map.names}
        unknown = [name for name, id_ in ids.items() if not id_]
        merged = [name for name, id_ in ids.items() if id_ and list(ids.values()).count(id_) > 1]
        untrained = [name for name, id_ in ids.items() if id_ and _train_id(name) == IGNORE]
        sentences = [
            (unknown, "Cityscapes has no such class, so their pixels are unlabeled (0) in labelIds"),
            (untrained, "their pixels are ignored in labelTrainIds, which has the 19 evaluated classes"),
            (merged, "they are one class in Cityscapes, and one id in these files"),
        ]
        return [f"classes {', '.join(names)}: {why}" for names, why in sentences if names]

    def about(self, job: Job) -> str:
        rows = "".join(
            f"| {one.name} | {_original_id(one.name) or _UNLABELED} | {_train_id(one.name)} |\n"
            for one in job.label_map.classes
        )
        return (
            "`leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` are the images; in `gtFine/SPLIT/CITY` each has\n"
            "`*_gtFine_labelIds.png` (Cityscapes' original ids, 0 unlabeled), `*_gtFine_labelTrainIds.png` (its train "
            "ids, 255 ignore)\nand `*_gtFine_color.png`. A CITY is a shard of the artifact. `metadata.jsonl` names "
            f"each image with what is known of it.\n\n| class | labelIds | labelTrainIds |\n|---|---:|---:|\n{rows}"
        )

    def read_back(self, job: Job) -> str:
        return f'torchvision.datasets.Cityscapes("DIR", split="{job.splits[0]}", target_type="semantic")[0]'

    def front_matter(self, job: Job) -> dict[str, Any]:
        return {}

    def write(self, job: Job, part: Part, pairs: Iterator[Pair], files: PartFiles) -> None:
        label_ids, train_ids, colors = _tables(job.label_map)
        for pair in pairs:
            city = f"shard{escaped(pair.sample.place.shard, '_')}"
            name = f"{part.split}/{city}/{city}_{escaped(pair.sample.id, '_')}_000000"
            image = f"leftImg8bit/{name}_leftImg8bit.png"
            files.place_png(pair.sample.place.image, image)
            files.write_gray(f"gtFine/{name}_gtFine_labelIds.png", label_ids[pair.labels_HW])
            files.write_gray(f"gtFine/{name}_gtFine_labelTrainIds.png", train_ids[pair.labels_HW])
            files.write_image(f"gtFine/{name}_gtFine_color.png", colors[pair.labels_HW])
            note_item(files, pair, image)

    def finish(self, finish: Finish) -> None:
        finish_metadata(finish)


def _original_id(name: str) -> int:
    """The id of a class in labelIds, 0 where Cityscapes has no such class."""
    train = _TRAIN.find(name)
    key = name_key(name if train is None else _TRAIN.names[train])
    return next((id_ for id_, known in enumerate(_ORIGINAL) if name_key(known) == key), _UNLABELED)


def _train_id(name: str) -> int:
    """The id of a class in labelTrainIds, 255 where it is not evaluated."""
    found = _TRAIN.find(name)
    return IGNORE if found is None else found


def _tables(label_map: LabelMap) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Run's id -> label id, train id and colour: uint8 [256], [256] and [256, 3]."""
    label_ids = np.full(256, _UNLABELED, np.uint8)
    train_ids = np.full(256, IGNORE, np.uint8)
    colors = np.zeros((256, 3), np.uint8)
    for one in label_map.classes:
        train = _TRAIN.find(one.name)
        label_ids[one.id] = _original_id(one.name)
        train_ids[one.id] = _train_id(one.name)
        if label_ids[one.id]:
            colors[one.id] = one.color if train is None else _TRAIN.classes[train].color
    return label_ids, train_ids, colors
