"""Which classes the pixels of source, generated and target images belong to. It predicts and labels nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clouds.data.labels import LabelMap
from clouds.data.samples import Dataset
from clouds.engine.atomic import read_json, write_json
from clouds.engine.shard import digest
from clouds.engine.stage import Stage
from clouds.errors import InputError
from clouds.report.browser import Totals
from clouds.report.comparison import HasDatasets
from clouds.report.samples import spread
from clouds.report.tables import ModelScores
from clouds.report.thumbnails import Pixels_K1, count_classes

COUNTED_LABELS = 200
"""So many labels of a source are counted, spread evenly: shares of a few thousand images need no more."""

SOURCE, GENERATED, TARGET = "source", "generated", "target"
"""What a set of images is to the run."""


@dataclass(frozen=True)
class Share:
    """The pixels of one set of images: of each class in [0, 1], of all labelled ones, and how many were counted.

    `unlabelled` is the share of all pixels without a class; None where they were not counted.
    """

    name: str
    group: str
    by_class: Mapping[str, float]
    unlabelled: float | None
    counted: int
    images: int


def class_shares(
    cache: Path, stages: Sequence[Stage], models: Sequence[ModelScores], totals: Totals, label_map: LabelMap | None
) -> list[Share]:
    """Source sets, generated images before and after refinement, and every scored set, as far as they are there.

    What was counted of a source is kept in the file `cache`.
    """
    if label_map is None:
        return []
    found = [*_sources(cache, stages, label_map)]
    if totals.labelled:
        found.append(_share("generated, pseudo-labels", GENERATED, totals.before_K1, label_map, totals.labelled))
    if totals.refined:
        found.append(_share("generated, refined", GENERATED, totals.after_K1, label_map, totals.refined))
    results = models[-1].results if models else {}
    return found + [_target(name, result, label_map) for name, result in results.items() if "pixels" in result]


def bar_groups(shares: Sequence[Share], name: str) -> list[tuple[str, float]]:
    """A class's share by what a set is to the run: of sources and targets the mean, of generated the last labels."""
    groups: dict[str, list[float]] = {}
    for one in shares:
        groups.setdefault(one.group, []).append(one.by_class[name])
    means = {group: sum(values) / len(values) for group, values in groups.items()}
    return [(group, groups[group][-1] if group == GENERATED else mean) for group, mean in means.items()]


def _sources(cache: Path, stages: Sequence[Stage], label_map: LabelMap) -> list[Share]:
    training = next((stage for stage in stages if stage.kind == "train" and isinstance(stage, HasDatasets)), None)
    datasets = training.datasets if isinstance(training, HasDatasets) else {}
    known = read_json(cache)
    known = known if isinstance(known, dict) else {}
    counted: dict[str, Any] = {}
    for name, dataset in datasets.items():
        if dataset.labelled and len(dataset.ids):
            indices = spread(len(dataset.ids), COUNTED_LABELS)
            stamps = (f"{dataset.ids[index]} {dataset.stamp(index)}" for index in indices)
            key = digest([name, str(dataset.identity()), str(label_map.describe()), *stamps])
            counted[key] = known.get(key) or _count(dataset, indices, label_map)
            counted[key]["name"], counted[key]["images"] = name, len(dataset.ids)
    if counted != known:
        write_json(cache, counted)
    return [
        _share(one["name"], SOURCE, np.array(one["pixels"]), label_map, one["counted"], one["images"])
        for one in counted.values()
    ]


def _count(dataset: Dataset, indices: Sequence[int], label_map: LabelMap) -> dict[str, Any]:
    """Pixels by class of these labels; one that cannot be read is passed over, and not counted."""
    pixels_K1, counted = np.zeros(label_map.num_classes + 1, np.int64), 0
    for index in indices:
        try:
            pixels_K1 += count_classes(dataset.labels(index), label_map)
            counted += 1
        except InputError:
            continue
    return {"pixels": pixels_K1.tolist(), "counted": counted}


def _share(
    name: str, group: str, pixels_K1: Pixels_K1, label_map: LabelMap, counted: int, images: int | None = None
) -> Share:
    labelled, total = int(pixels_K1[:-1].sum()), int(pixels_K1.sum())
    shares = pixels_K1[:-1] / max(1, labelled)
    by_class = {name: float(share) for name, share in zip(label_map.names, shares, strict=True)}
    unlabelled = 1 - labelled / total if total else None
    return Share(name, group, by_class, unlabelled, counted, counted if images is None else images)


def _target(name: str, result: Mapping[str, Any], label_map: LabelMap) -> Share:
    """From the pixels that scoring counted: those with a truth."""
    total = max(1, sum(result["pixels"].values()))
    by_class = {one: result["pixels"].get(one, 0) / total for one in label_map.names}
    images = int(result["protocol"]["images"])
    return Share(name, TARGET, by_class, None, images, images)
