"""Labelled images beside what was painted from them, and the labels that both have. It paints nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from clouds.data.images import read_image, read_labels
from clouds.data.labels import LabelMap
from clouds.data.samples import Dataset
from clouds.engine.stage import Stage
from clouds.errors import InputError
from clouds.report.pictures import Picture, color_labels, drawing, largest_classes, photo, shrink_ids, shrink_image
from clouds.report.samples import Row, spread_rows


@runtime_checkable
class HasDataset(Protocol):
    """A stage that reads one data set."""

    @property
    def dataset(self) -> Dataset: ...


@dataclass(frozen=True)
class Repainted:
    """One repainted image: its prompt, its pictures in order, and what could not be shown."""

    prompt: str
    pictures: tuple[Picture, ...]
    problem: str = ""


def repainted_images(stages: Sequence[Stage], label_map: LabelMap | None, count: int) -> list[Repainted]:
    """Some images of the stage that repaints, spread evenly: before, after, labels."""
    if label_map is None:
        return []
    painting = [stage for stage in stages if stage.kind == "repaint" and isinstance(stage, HasDataset)]
    return [
        _shown(stage, shard, row, label_map) for stage in painting for shard, row in spread_rows(stage.artifact, count)
    ]


def _shown(stage: Stage, shard: str, row: Row, label_map: LabelMap) -> Repainted:
    assert isinstance(stage, HasDataset)
    folder = stage.artifact.shard_folder(shard)
    try:
        before_HWC = stage.dataset.image(list(stage.dataset.ids).index(row["source"]))
        after_HWC = read_image(folder / row["file_name"])
        labels_HW = read_labels(folder / row["labels_file_name"])
    except (InputError, ValueError) as error:
        return Repainted(row["prompt"], (), str(error))
    drawn_HWC = color_labels(shrink_ids(labels_HW), label_map)
    pictures = (
        photo(shrink_image(before_HWC), f"Labelled image {row['source']}", "Labelled image"),
        photo(shrink_image(after_HWC), f"Repainted image: {row['prompt']}", "Repainted image"),
        drawing(drawn_HWC, f"Labels of both: {largest_classes(labels_HW, label_map)}", "Labels of both"),
    )
    return Repainted(row["prompt"], pictures)
