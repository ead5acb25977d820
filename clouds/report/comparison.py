"""What the first and the last model predict on labelled images, beside the truth. It predicts nothing itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
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
        image_HWC, truth_HW = dataset.image(index), dataset.labels(index)
        pictures = [
            photo(shrink_image(image_HWC), f"Image {id_} of {dataset.name}", "Image"),
            _drawn(truth_HW, label_map, "Truth", "Truth"),
        ]
        for model, predicted_HW in _predictions(dataset.name, id_, artifacts):
            said = f"{model}, right on {_right(predicted_HW, truth_HW, label_map.ignore):.0%}"
            pictures.append(_drawn(predicted_HW, label_map, f"Prediction of {said} of pixels", said))
    except (InputError, ValueError) as error:
        return Comparison(id_, (), str(error))
    return Comparison(id_, tuple(pictures))


def _predictions(dataset: str, id_: str, artifacts: Sequence[Artifact]) -> Iterator[tuple[str, Ids_HW]]:
    """What each model that kept a prediction of an image predicts, with the model's name."""
    for artifact in artifacts:
        for shard, kept, file_name in _kept(artifact, dataset):
            if kept == id_:
                yield scores_of([artifact])[0].model, read_labels(artifact.shard_folder(shard) / file_name)


def _kept(artifact: Artifact, dataset: str) -> list[tuple[str, str, str]]:
    """Shard, id and file of each prediction kept of a data set: those of its first images."""
    shards = (shard for shard in artifact.shard_ids() if shard.rpartition("-")[0] == dataset)
    rows = ((shard, row) for shard in shards for row in published_rows(artifact, shard))
    kept = takewhile(lambda one: PREDICTION in one[1], rows)
    return [(shard, row["id"], row[PREDICTION]) for shard, row in kept]


def _right(prediction_HW: Ids_HW, truth_HW: Ids_HW, ignore: int) -> float:
    """The share of pixels with a truth that are predicted as what they are."""
    if prediction_HW.shape != truth_HW.shape:
        raise InputError(f"the prediction has size {prediction_HW.shape}, the truth {truth_HW.shape}")
    known_HW = truth_HW != ignore
    return float(np.mean(prediction_HW[known_HW] == truth_HW[known_HW])) if known_HW.any() else 0.0


def _drawn(labels_HW: Ids_HW, label_map: LabelMap, what: str, caption: str) -> Picture:
    shown_HWC = color_labels(shrink_ids(labels_HW), label_map)
    return drawing(shown_HWC, f"{what}: {largest_classes(labels_HW, label_map)}", caption)
