"""What the first and the last model predict on labelled images, beside the truth. It predicts nothing itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from clouds.data.images import read_labels
from clouds.data.labels import LabelMap
from clouds.data.samples import Dataset
from clouds.engine.artifact import Artifact
from clouds.engine.stage import Stage
from clouds.errors import InputError
from clouds.report.pictures import Picture, color_labels, drawing, largest_classes, photo, shrink_ids, shrink_image
from clouds.report.samples import published_rows
from clouds.report.tables import scores_of

PREDICTION = "prediction_file_name"
"""The key under which a row of an evaluated image names the file of its prediction."""

_REMAKE = "make it anew with `--force`, naming the stage that evaluates"

Ids_HW = NDArray[np.integer[Any]]


@runtime_checkable
class HasDatasets(Protocol):
    """A stage that reads labelled data sets."""

    @property
    def datasets(self) -> Mapping[str, Dataset]: ...


@dataclass(frozen=True)
class Comparison:
    """One labelled image: its id, its pictures in order, and what could not be shown."""

    id: str
    pictures: tuple[Picture, ...]
    problem: str = ""


def compare_predictions(stages: Sequence[Stage], label_map: LabelMap | None) -> dict[str, list[Comparison]]:
    """By data set, the images whose predictions are kept: image, truth, prediction before and after."""
    scored = [stage for stage in stages if stage.kind == "evaluate" and scores_of([stage.artifact])]
    if not scored or label_map is None or not isinstance(scored[-1], HasDatasets):
        return {}
    first, last = scored[0].artifact, scored[-1].artifact
    artifacts = [last] if first is last else [first, last]
    compared = {
        name: [_compare(dataset, id_, artifacts, label_map) for _, id_, _ in _kept(last, name)]
        for name, dataset in scored[-1].datasets.items()
    }
    return {name: images for name, images in compared.items() if images}


def _compare(dataset: Dataset, id_: str, artifacts: Sequence[Artifact], label_map: LabelMap) -> Comparison:
    try:
        index = list(dataset.ids).index(id_)
        image_HWC = dataset.image(index)
        truth_HW = dataset.labels(index) if dataset.labelled else None
        pictures = [photo(shrink_image(image_HWC), f"Image {id_} of {dataset.name}", "Image")]
        if truth_HW is not None:
            pictures.append(_drawn(truth_HW, label_map, "Truth", "Truth"))
        for model, path in _predictions(dataset.name, id_, artifacts):
            predicted_HW = read_prediction(path, image_HWC.shape[:2], label_map)
            right = "" if truth_HW is None else f", right on {_right(predicted_HW, truth_HW, label_map.ignore):.0%}"
            of_pixels = " of pixels" if right else ""
            what = f"Prediction of {model}{right}{of_pixels}"
            pictures.append(_drawn(predicted_HW, label_map, what, f"{model}{right}"))
    except (InputError, ValueError) as error:
        return Comparison(id_, (), str(error))
    return Comparison(id_, tuple(pictures))


def read_prediction(path: Path, size: tuple[int, int], label_map: LabelMap) -> Ids_HW:
    """Integer [H, W] ids of the run. Raises `InputError` for a file of another size or with ids of no class."""
    predicted_HW = read_labels(path)
    if predicted_HW.shape != size:
        raise InputError(
            f"prediction {path} is {predicted_HW.shape[1]}x{predicted_HW.shape[0]} pixels (width x height), "
            f"its image {size[1]}x{size[0]}",
            _REMAKE,
        )
    strange = sorted({int(id_) for id_ in np.unique(predicted_HW)} - {*range(label_map.num_classes), label_map.ignore})
    if strange:
        raise InputError(
            f"prediction {path} holds ids that are no class: {strange[:5]}; classes are 0 to "
            f"{label_map.num_classes - 1}, {label_map.ignore} is ignored",
            _REMAKE,
        )
    return predicted_HW


def _predictions(dataset: str, id_: str, artifacts: Sequence[Artifact]) -> Iterator[tuple[str, Path]]:
    """The file of each model's prediction of an image, where it kept one, with the model's name."""
    for artifact in artifacts:
        for shard, kept, file_name in _kept(artifact, dataset):
            if kept == id_:
                yield scores_of([artifact])[0].model, artifact.shard_folder(shard) / file_name


def _kept(artifact: Artifact, dataset: str) -> list[tuple[str, str, str]]:
    """Shard, id and file of each prediction kept of a data set: those of its first images."""
    shards = (shard for shard in artifact.shard_ids() if shard.rpartition("-")[0] == dataset)
    rows = ((shard, row) for shard in shards for row in published_rows(artifact, shard))
    kept = takewhile(lambda one: PREDICTION in one[1], rows)
    return [(shard, row["id"], row[PREDICTION]) for shard, row in kept]


def _right(prediction_HW: Ids_HW, truth_HW: Ids_HW, ignore: int) -> float:
    """The share of pixels with a truth that are predicted as what they are."""
    known_HW = truth_HW != ignore
    return float(np.mean(prediction_HW[known_HW] == truth_HW[known_HW])) if known_HW.any() else 0.0


def _drawn(labels_HW: Ids_HW, label_map: LabelMap, what: str, caption: str) -> Picture:
    shown_HWC = color_labels(shrink_ids(labels_HW), label_map)
    return drawing(shown_HWC, f"{what}: {largest_classes(labels_HW, label_map)}", caption)
