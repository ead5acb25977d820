"""From the counts in a data set's rows to its scores, as `scores.json` holds them. It opens no image.

Rows are read one after the other: memory holds sums, and the counts of a few images at a time.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from clouds.data.cityscapes import categories
from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact
from clouds.ops.bootstrap import ImageBootstrap, percentile_interval
from clouds.ops.boundary import boundary_iou
from clouds.ops.confusion import (
    FloatArray,
    Matrix,
    class_counts,
    matrix_from_cells,
    merged,
    most_frequent_class,
    scores,
    scores_of_counts,
)
from clouds.scoring.counts import ScoringConfig

# images whose counts are held at a time; a part of how the bootstrap draws, so no setting
_CHUNK = 256
_LEVEL = 0.95


def score(artifact: Artifact, shards: Sequence[str], label_map: LabelMap, config: ScoringConfig) -> dict[str, Any]:
    """The scores of the images in these shards, ready for JSON: shares in [0, 1], null without ground truth."""
    classes = label_map.num_classes
    images = sum("cells" in row for row in _rows(artifact, shards))
    matrix, edges = np.zeros((classes, classes + 1), np.int64), np.zeros((3, classes), np.int64)
    counted_too = _Counted(label_map, boundaries=config.boundary_ratio is not None)
    bootstrap = ImageBootstrap(images, counted_too.columns, config.resamples, config.seed)
    counted = (row for row in _rows(artifact, shards) if "cells" in row)
    for rows in _chunks(counted):
        matrices = [matrix_from_cells(row["cells"], classes) for row in rows]
        edges_of = [_edges(row.get("boundary", ()), classes) for row in rows]
        matrix += sum(matrices)
        edges += sum(edges_of)
        bootstrap.add(np.stack([counted_too.of(*pair) for pair in zip(matrices, edges_of, strict=True)]))
    result = scores_json(matrix, label_map.names)
    if config.boundary_ratio is not None:
        result |= _boundary_json(edges, label_map.names, config.boundary_ratio)
    result |= _category_json(matrix, label_map)
    # one image drawn again and again is always itself
    if config.resamples and images > 1:
        how = {"level": _LEVEL, "over": "images", "resamples": config.resamples, "seed": config.seed}
        result["interval"] = {**counted_too.intervals(bootstrap.sums()), **how}
    return result


def scores_json(matrix: Matrix, class_names: Sequence[str]) -> dict[str, Any]:
    """The scores of a confusion matrix, ready for JSON: shares in [0, 1], null where there is no ground truth."""
    found = scores(matrix)
    winner, constant = most_frequent_class(matrix)
    return {
        "mean_iou": number(found.mean_iou),
        "mean_accuracy": number(found.mean_accuracy),
        "pixel_accuracy": number(found.pixel_accuracy),
        "frequency_weighted_iou": number(found.frequency_weighted_iou),
        "iou": {name: number(value) for name, value in zip(class_names, found.iou_K, strict=True)},
        "accuracy": {name: number(value) for name, value in zip(class_names, found.accuracy_K, strict=True)},
        "most_frequent": None if winner < 0 else {"class": class_names[winner], "mean_iou": constant},
        "pixels": {name: int(count) for name, count in zip(class_names, matrix.sum(axis=1), strict=True)},
        "confusion": matrix.tolist(),
    }


def number(value: float) -> float | None:
    """A score as JSON holds it: null where it is NaN."""
    return None if math.isnan(value) else float(value)


def _rows(artifact: Artifact, shards: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for shard in shards:
        yield from artifact.rows(shard)


def _chunks(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


def _edges(cells: Iterable[Sequence[int]], classes: int) -> Matrix:
    counts = np.zeros((3, classes), np.int64)
    for row, column, pixels in cells:
        counts[row, column] = pixels
    return counts


def _boundary_json(edges: Matrix, names: Sequence[str], ratio: float) -> dict[str, Any]:
    iou_K, mean_iou = boundary_iou(edges)
    by_class = {name: number(value) for name, value in zip(names, iou_K, strict=True)}
    return {"mean_boundary_iou": number(mean_iou), "boundary_iou": by_class, "boundary_ratio": ratio}


def _category_json(matrix: Matrix, label_map: LabelMap) -> dict[str, Any]:
    groups = categories(label_map)
    if groups is None:
        return {}
    found = scores(merged(matrix, list(groups.values())))
    by_category = {name: number(value) for name, value in zip(groups, found.iou_K, strict=True)}
    return {"mean_category_iou": number(found.mean_iou), "category_iou": by_category}


class _Counted:
    """What an image is resampled with: counts of classes, and beside them those of boundaries and of categories."""

    def __init__(self, label_map: LabelMap, *, boundaries: bool) -> None:
        groups = categories(label_map)
        self._names, self._boundaries = label_map.names, boundaries
        self._groups = {} if groups is None else groups

    @property
    def columns(self) -> int:
        return len(self._names) * (1 + self._boundaries) + len(self._groups)

    def of(self, matrix: Matrix, edges: Matrix) -> Matrix:
        """(3, columns) of one image."""
        parts = [class_counts(matrix)]
        if self._boundaries:
            parts.append(edges)
        if self._groups:
            parts.append(class_counts(merged(matrix, list(self._groups.values()))))
        return np.concatenate(parts, axis=1)

    def intervals(self, sums_3BS: FloatArray) -> dict[str, Any]:
        """Of every score, by the score's own key, from the counts of resamples."""
        classes = len(self._names)
        found = _intervals(scores_of_counts(*sums_3BS[..., :classes]), self._names)
        rest_3BS = sums_3BS[..., classes:]
        if self._boundaries:
            found |= _iou_intervals("boundary", rest_3BS[..., :classes], self._names)
            rest_3BS = rest_3BS[..., classes:]
        if self._groups:
            found |= _iou_intervals("category", rest_3BS, list(self._groups))
        return found


def _iou_intervals(what: str, sums_3BK: FloatArray, names: Sequence[str]) -> dict[str, Any]:
    measured = scores_of_counts(*sums_3BK)
    return _intervals({f"mean_{what}_iou": measured["mean_iou"], f"{what}_iou": measured["iou"]}, names)


def _intervals(measured: Mapping[str, FloatArray], names: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, values in measured.items():
        low_K, high_K = percentile_interval(values.reshape(len(values), -1), _LEVEL)
        pairs = [[number(low), number(high)] for low, high in zip(low_K, high_K, strict=True)]
        found[key] = dict(zip(names, pairs, strict=True)) if values.ndim > 1 else pairs[0]
    return found
