"""The folder layout of MMSegmentation, with a config to put under a training. It copies files and encodes nothing."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from clouds.export.files import PartFiles
from clouds.export.format import Finish, Job, Pair, finish_metadata, note_item
from clouds.export.parts import Part

CONFIG = "dataset.py"
_READING = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}]


class MMSegmentation:
    """`img_dir/SPLIT`, `ann_dir/SPLIT` and `dataset.py`, a config for its `BaseSegDataset`."""

    name: ClassVar[str] = "mmseg"
    packages: ClassVar[Sequence[str]] = ()
    sharded: ClassVar[bool] = False

    def check(self, job: Job) -> None:
        """Everything can be told."""

    def lost(self, job: Job) -> list[str]:
        return []

    def about(self, job: Job) -> str:
        return (
            "`img_dir/SPLIT` holds the images and `ann_dir/SPLIT` their labels, single-channel PNG of class ids, "
            f"{job.label_map.ignore} ignore.\n`{CONFIG}` is a config of MMSegmentation 1.x for these folders, with "
            "classes and colours: name it in `_base_`, and set\n`data_root` if you move the folder. `metadata.jsonl` "
            "names each image with what is known of it.\n"
        )

    def read_back(self, job: Job) -> str:
        return f'mmseg.registry.DATASETS.build(mmengine.Config.fromfile("DIR/{CONFIG}").{_variable(job.splits[0])})[0]'

    def front_matter(self, job: Job) -> dict[str, Any]:
        return {}

    def write(self, job: Job, part: Part, pairs: Iterator[Pair], files: PartFiles) -> None:
        for pair in pairs:
            # one suffix for all: the config names it
            image = f"img_dir/{part.split}/{pair.sample.path}.png"
            files.place_png(pair.sample.place.image, image)
            files.place(pair.sample.place.mask, f"ann_dir/{part.split}/{pair.sample.path}.png")
            note_item(files, pair, image)

    def finish(self, finish: Finish) -> None:
        finish_metadata(finish)
        finish.text(CONFIG, [_config(finish.job)])


def _variable(split: str) -> str:
    return f"{split}_dataset"


def _config(job: Job) -> str:
    colors = [list(one.color) for one in job.label_map.classes]
    lines = [
        f'"""Data set of MMSegmentation 1.x: {job.name}."""\n',
        f"data_root = {str(job.out)!r}",
        f"classes = {job.label_map.names!r}",
        f"palette = {colors!r}",
    ]
    for split in job.splits:
        lines.append(
            f"\n{_variable(split)} = dict(\n"
            '    type="BaseSegDataset",\n'
            "    data_root=data_root,\n"
            f'    data_prefix=dict(img_path="img_dir/{split}", seg_map_path="ann_dir/{split}"),\n'
            '    img_suffix=".png",\n'
            '    seg_map_suffix=".png",\n'
            "    metainfo=dict(classes=classes, palette=palette),\n"
            "    reduce_zero_label=False,\n"
            f"    ignore_index={job.label_map.ignore},\n"
            # only reads: a training sets its own
            f"    pipeline={_READING!r},\n"
            ")"
        )
    return "\n".join(lines) + "\n"
