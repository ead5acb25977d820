"""Which share of a set's pixels belongs to which class, from labels or from counts. It shows nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clouds.data.labels import LabelMap
from clouds.data.samples import Dataset
from clouds.engine.atomic import read_json, write_json
from clouds.engine.shard import digest
from clouds.errors import InputError
from clouds.ops.class_pixels import Pixels_K1, class_pixels
from clouds.ops.spread import spread

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


def source_shares(cache: Path, datasets: Mapping[str, Dataset], label_map: LabelMap) -> list[Share]:
    """Of each data set that has labels, from labels spread evenly over it; what was counted is kept in `cache`."""
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
        share_of(one["name"], SOURCE, np.array(one["pixels"]), label_map, one["counted"], one["images"])
        for one in counted.values()
    ]


def share_of(
    name: str, group: str, pixels_K1: Pixels_K1, label_map: LabelMap, counted: int, images: int | None = None
) -> Share:
    """From the pixels counted in so many of a set's images; in all of them where nothing else is said."""
    labelled, total = int(pixels_K1[:-1].sum()), int(pixels_K1.sum())
    shares = pixels_K1[:-1] / max(1, labelled)
    by_class = {name: float(share) for name, share in zip(label_map.names, shares, strict=True)}
    unlabelled = 1 - labelled / total if total else None
    return Share(name, group, by_class, unlabelled, counted, counted if images is None else images)


def scored_share(name: str, result: Mapping[str, Any], label_map: LabelMap) -> Share:
    """From the pixels that scoring counted, those with a truth: `result` is the data set's part of `scores.json`."""
    total = max(1, sum(result["pixels"].values()))
    by_class = {one: result["pixels"].get(one, 0) / total for one in label_map.names}
    images = int(result["protocol"]["images"])
    return Share(name, TARGET, by_class, None, images, images)


def _count(dataset: Dataset, indices: Sequence[int], label_map: LabelMap) -> dict[str, Any]:
    """Pixels by class of these labels; one that cannot be read is passed over, and not counted."""
    pixels_K1, counted = np.zeros(label_map.num_classes + 1, np.int64), 0
    for index in indices:
        try:
            pixels_K1 += class_pixels(dataset.labels(index), label_map.num_classes)
            counted += 1
        except InputError:
            continue
    return {"pixels": pixels_K1.tolist(), "counted": counted}
