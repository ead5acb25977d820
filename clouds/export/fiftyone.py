"""FiftyOne's `ImageSegmentationDirectory`: data and labels side by side. It knows no class."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from clouds.export.files import PartFiles
from clouds.export.format import Finish, Job, Pair, finish_metadata, note_item, shifted_ids
from clouds.export.parts import Part

TARGETS = "mask_targets.json"


class FiftyOne:
    """`SPLIT/data`, `SPLIT/labels` (ids + 1: FiftyOne never shows 0) and `mask_targets.json`."""

    name: ClassVar[str] = "fiftyone"
    packages: ClassVar[Sequence[str]] = ()
    sharded: ClassVar[bool] = False

    def check(self, job: Job) -> None:
        """Everything can be told: a label map has 254 classes at most."""

    def lost(self, job: Job) -> list[str]:
        return []

    def about(self, job: Job) -> str:
        return (
            "Each split is a data set of FiftyOne's type `ImageSegmentationDirectory`: `SPLIT/data` holds the images, "
            "`SPLIT/labels`\nsingle-channel PNG of class ids + 1, 0 ignore: FiftyOne takes 0 for background and never "
            f"shows it. `{TARGETS}` names\nthe values: `dataset.default_mask_targets = {{int(key): name for key, name "
            f'in json.load(open("DIR/{TARGETS}")).items()}}`.\n`metadata.jsonl` names each image with what is known '
            "of it.\n"
        )

    def read_back(self, job: Job) -> str:
        return (
            f'fiftyone.Dataset.from_dir("DIR/{job.splits[0]}", fiftyone.types.ImageSegmentationDirectory, '
            'label_field="labels")'
        )

    def front_matter(self, job: Job) -> dict[str, Any]:
        return {}

    def write(self, job: Job, part: Part, pairs: Iterator[Pair], files: PartFiles) -> None:
        table = shifted_ids(job)
        for pair in pairs:
            image = f"{part.split}/data/{pair.image_name}"
            files.place(pair.sample.place.image, image)
            files.write_gray(f"{part.split}/labels/{pair.sample.path}.png", table[pair.labels_HW])
            note_item(files, pair, image)

    def finish(self, finish: Finish) -> None:
        finish_metadata(finish)
        finish.json(TARGETS, {str(one.id + 1): one.name for one in finish.job.label_map.classes})
