"""One integer confusion matrix and the scores read from it. It knows no class names and no data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_BYTES = 256
# with runs shorter than this, finding them takes longer than it saves
_SHORTEST_RUN = 8
_STRETCH = 1 << 18


def confusion_matrix(
    prediction_HW: NDArray[np.integer[Any]], target_HW: NDArray[np.integer[Any]], num_classes: int, ignore: int = 255
) -> Matrix:
    """How often each class was predicted as which; matrices of several images add up.

    Args:
        prediction_HW: class ids in [0, num_classes), or `ignore` where nothing was predicted.
        target_HW: class ids in [0, num_classes), or `ignore` where the truth is unknown: not counted at all.

    Returns:
        int64 (K, K + 1), rows truth, columns prediction; the last column counts pixels of a class for which nothing
        was predicted: each is wrong for its class and no other.

    Raises ValueError where shapes differ or an id is neither a class nor `ignore`.
    """
    if prediction_HW.shape != target_HW.shape:
        raise ValueError(f"the prediction has shape {prediction_HW.shape}, the truth {target_HW.shape}")
    if not 0 < num_classes <= ignore <= 255:
        raise ValueError(f"{num_classes} classes and ignore = {ignore} do not fit into one byte")
    counts = pair_counts(_as_bytes("truth", target_HW), _as_bytes("prediction", prediction_HW))
    known = [*range(num_classes), ignore]
    matrix = counts[np.ix_(known, known)]
    if matrix.sum() != target_HW.size:
        _check_ids("truth", counts.sum(axis=1), num_classes, ignore)
        _check_ids("prediction", counts.sum(axis=0), num_classes, ignore)
    return matrix[:num_classes]


def cells_of(matrix: Matrix) -> list[list[int]]:
    """The cells of a matrix that are not zero, as [truth, prediction, count]: one image has few of them."""
    return [[int(row), int(column), int(matrix[row, column])] for row, column in np.argwhere(matrix)]


def matrix_from_cells(cells: Sequence[Sequence[int]], num_classes: int) -> Matrix:
    """The int64 (K, K + 1) matrix whose cells `cells_of` listed."""
    matrix = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    for row, column, count in cells:
        matrix[row, column] = count
    return matrix


@dataclass(frozen=True, eq=False)
class SegmentationScores:
    """Scores in [0, 1]; NaN where a class, or the whole matrix, has no ground truth."""

    iou_K: FloatArray
    """Per class: pixels rightly predicted / pixels that are or were predicted as it."""
    accuracy_K: FloatArray
    """Per class: pixels rightly predicted / pixels that are it."""
    mean_iou: float
    """Over the classes that have ground truth."""
    mean_accuracy: float
    """Over the classes that have ground truth."""
    pixel_accuracy: float
    """Pixels rightly predicted / pixels with ground truth."""
    frequency_weighted_iou: float
    """IoU averaged with each class's share of the ground truth."""


def scores(matrix: Matrix) -> SegmentationScores:
    """The scores of a confusion matrix, (K, K) or (K, K + 1), rows truth.

    A class without ground truth has no score and no part in a mean; predicting it still costs the classes it hides.
    """
    if matrix.ndim != 2 or matrix.shape[1] - matrix.shape[0] not in (0, 1):
        raise ValueError(f"a confusion matrix has shape (K, K) or (K, K + 1), not {matrix.shape}")
    num_classes = len(matrix)
    right_K = matrix.diagonal().astype(np.float64)
    truth_K = matrix.sum(axis=1).astype(np.float64)
    union_K = truth_K + matrix[:, :num_classes].sum(axis=0) - right_K
    present_K = truth_K > 0
    iou_K, accuracy_K = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    np.divide(right_K, union_K, out=iou_K, where=present_K)
    np.divide(right_K, truth_K, out=accuracy_K, where=present_K)
    total = truth_K.sum()
    return SegmentationScores(
        iou_K=iou_K,
        accuracy_K=accuracy_K,
        mean_iou=_mean(iou_K[present_K]),
        mean_accuracy=_mean(accuracy_K[present_K]),
        pixel_accuracy=float(right_K.sum() / total) if total else float("nan"),
        frequency_weighted_iou=float((iou_K * truth_K)[present_K].sum() / total) if total else float("nan"),
    )


def mean_iou(right: FloatArray, truth: FloatArray, predicted: FloatArray) -> FloatArray:
    """Mean IoU over the classes with ground truth, NaN without any, of counts (..., K) as `class_counts` gives them."""
    present = truth > 0
    iou = np.divide(right, truth + predicted - right, out=np.zeros(right.shape), where=present)
    total = present.sum(axis=-1)
    return np.divide(iou.sum(axis=-1), total, out=np.full(total.shape, np.nan), where=total > 0)


def scores_of_counts(right: FloatArray, truth: FloatArray, predicted: FloatArray) -> dict[str, FloatArray]:
    """The scores of `SegmentationScores` by name, (..., K) or (...), of counts (..., K) as by `class_counts`."""
    present = truth > 0
    iou, accuracy = (
        np.divide(right, whole, out=np.full(right.shape, np.nan), where=present)
        for whole in (truth + predicted - right, truth)
    )
    total, classes = truth.sum(axis=-1), present.sum(axis=-1)
    sums = {
        "mean_accuracy": (np.nansum(accuracy, axis=-1), classes),
        "pixel_accuracy": (right.sum(axis=-1), total),
        "frequency_weighted_iou": (np.nansum(iou * truth, axis=-1), total),
    }
    means = {
        name: np.divide(of, over, out=np.full(total.shape, np.nan), where=over > 0) for name, (of, over) in sums.items()
    }
    return {"iou": iou, "accuracy": accuracy, "mean_iou": mean_iou(right, truth, predicted), **means}


def class_counts(matrix: Matrix) -> Matrix:
    """(3, K) pixels of each class: rightly predicted, with it as ground truth, predicted where there is ground truth.

    All that IoU needs, so that what many images add up to need not be added up as matrices.
    """
    return np.stack([matrix.diagonal(), matrix.sum(axis=1), matrix[:, : len(matrix)].sum(axis=0)])


def merged(matrix: Matrix, groups: Sequence[Sequence[int]]) -> Matrix:
    """The matrix (G, G + 1) of groups of classes; the groups hold every class once.

    A confusion within a group is right; the last column stays that of pixels for which nothing was predicted.
    """
    if sorted(id_ for group in groups for id_ in group) != list(range(len(matrix))):
        raise ValueError(f"the groups {groups} do not hold each of {len(matrix)} classes once")
    rows = np.stack([matrix[list(group)].sum(axis=0) for group in groups])
    columns = [rows[:, list(group)].sum(axis=1) for group in groups]
    return np.stack([*columns, rows[:, len(matrix) :].sum(axis=1)], axis=1)


def most_frequent_class(matrix: Matrix) -> tuple[int, float]:
    """The class with the most ground truth, and the mean IoU of predicting it everywhere: what any model must beat.

    (-1, NaN) where there is no ground truth.
    """
    truth_K = matrix.sum(axis=1)
    if not truth_K.any():
        return -1, float("nan")
    winner = int(truth_K.argmax())
    constant = np.zeros_like(matrix)
    constant[:, winner] = truth_K
    return winner, scores(constant).mean_iou


def pair_counts(rows: NDArray[np.uint8], columns: NDArray[np.uint8]) -> Matrix:
    """How often each pair of bytes stands at one place, (256, 256).

    Labels come in runs: along an image's rows one pair is followed by the same. Where runs end is told by comparing
    bytes, many at a time, and a run is counted at once by its length, so that only the ends are looked at singly.
    """
    rows, columns = rows.ravel(), columns.ravel()
    places = _run_ends(rows, columns)
    if places is None:
        return _histogram(rows, columns)
    # sums of float64 are exact up to 2^53 pixels
    return _histogram(rows[places], columns[places], np.diff(places, prepend=-1)).astype(np.int64)


def _run_ends(rows: NDArray[np.uint8], columns: NDArray[np.uint8]) -> NDArray[np.intp] | None:
    """The last places of runs of one pair; None where runs are too short to be worth it, or there is nothing."""
    if not rows.size:
        return None
    found = []
    # a stretch at a time: what is compared stays in the cache
    for start in range(0, rows.size - 1, _STRETCH):
        stretch = slice(start, start + _STRETCH + 1)
        ends = rows[stretch][1:] != rows[stretch][:-1]
        ends |= columns[stretch][1:] != columns[stretch][:-1]
        if np.count_nonzero(ends) * _SHORTEST_RUN > ends.size:
            return None
        found.append(np.flatnonzero(ends) + start)
    return np.concatenate([*found, [rows.size - 1]])


def _histogram(
    rows: NDArray[np.uint8], columns: NDArray[np.uint8], weights: NDArray[np.integer[Any]] | None = None
) -> NDArray[Any]:
    pairs = rows.astype(np.uint16) * np.uint16(_BYTES) + columns
    return np.bincount(pairs, weights, minlength=_BYTES * _BYTES).reshape(_BYTES, _BYTES)


def _as_bytes(what: str, ids_HW: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    # negative numbers have their highest bit set: one look at all bits together finds every id beyond a byte
    if ids_HW.dtype != np.uint8 and np.bitwise_or.reduce(ids_HW, axis=None) >> 8:
        raise ValueError(f"the {what} has ids from {ids_HW.min()} to {ids_HW.max()}; they lie in [0, 255]")
    return ids_HW.astype(np.uint8, copy=False)


def _check_ids(what: str, counts: NDArray[np.integer[Any]], num_classes: int, ignore: int) -> None:
    strange = [int(value) for value in np.flatnonzero(counts) if value >= num_classes and value != ignore]
    if strange:
        raise ValueError(f"the {what} has ids {strange}: classes are 0 to {num_classes - 1}, {ignore} is ignored")


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else float("nan")
