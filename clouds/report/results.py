"""Scores arranged for a page: the table of models and the table of classes. It computes no score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clouds.data.labels import LabelMap
from clouds.report.protocols import protocol_note
from clouds.report.tables import ModelScores, models_table, percent, signed


@dataclass(frozen=True)
class Cell:
    """A number as it is read, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class ModelRow:
    """One model's scores; `gain` marks the row of differences instead."""

    name: str
    note: str
    cells: tuple[Cell, ...]
    gain: bool = False


@dataclass(frozen=True)
class ClassRow:
    """One class on one data set: IoU in [0, 1] of the first and the last model, None without ground truth."""

    name: str
    color: str
    before: float | None
    after: float | None

    @property
    def texts(self) -> tuple[str, str, str]:
        """Both in percent, and the gain in points."""
        known = self.before is not None and self.after is not None
        gain = signed((self.after or 0) - (self.before or 0)) if known else "-"
        return percent(self.before), percent(self.after), gain


@dataclass(frozen=True)
class Bar:
    """One model's mean IoU on a data set and the bounds of its interval, in [0, 1]; None where unknown."""

    model: str
    note: str
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class DatasetScores:
    """One data set: how it was scored, and its classes."""

    name: str
    protocol: str
    rows: tuple[ClassRow, ...]


def model_rows(models: Sequence[ModelScores], notes: Mapping[str, str]) -> tuple[list[str], list[ModelRow]]:
    """Header and rows of mIoU in percent, the best of each column marked where there is a choice.

    `notes` say what a model is, by its name.
    """
    header, rows = models_table(models)
    compared = rows[: len(models)]
    best = [_best([row[column] for row in compared]) for column in range(1, len(header))]
    if len(models) > 1:
        # of the gains none is marked: the first model has none, and all may be losses
        best[-1] = None
    shown = [
        ModelRow(row[0], notes.get(row[0], ""), tuple(Cell(text, text == best[at]) for at, text in enumerate(row[1:])))
        for row in compared
    ]
    for row in rows[len(models) :]:
        note = f"points, from {models[0].model} to {models[-1].model}"
        shown.append(ModelRow(row[0], note, tuple(Cell(text) for text in row[1:]), gain=True))
    return header, shown


def dataset_bars(models: Sequence[ModelScores], notes: Mapping[str, str]) -> dict[str, list[Bar]]:
    """By data set, a bar for each model."""
    bars: dict[str, list[Bar]] = {}
    for name in dict.fromkeys(name for model in models for name in model.results):
        bars[name] = [_bar(model, name, notes.get(model.model, "")) for model in models]
    return bars


def dataset_scores(models: Sequence[ModelScores], label_map: LabelMap | None) -> list[DatasetScores]:
    """The classes of each data set that the last model was scored on, compared with the first model."""
    if not models:
        return []
    first, last = models[0], models[-1]
    tables = []
    for dataset, result in last.results.items():
        before = first.results.get(dataset, {}).get("iou", {})
        rows = [
            ClassRow(name, color, before.get(name), result["iou"].get(name))
            for name, color in _classes(list(result["iou"]), label_map)
        ]
        tables.append(DatasetScores(dataset, protocol_note(result["protocol"]), tuple(rows)))
    return tables


def _bar(model: ModelScores, dataset: str, note: str) -> Bar:
    low, high = model.results.get(dataset, {}).get("interval", {}).get("mean_iou", (None, None))
    return Bar(model.model, note, model.mean_iou(dataset), low, high)


def _classes(names: Sequence[str], label_map: LabelMap | None) -> list[tuple[str, str]]:
    """Scored classes with their colours as CSS, in the order of the label map; it knows them, or none."""
    if label_map is None:
        return [(name, "") for name in names]
    known = [(one.name, css_color(one.color)) for one in label_map.classes if one.name in names]
    return known + [(name, "") for name in names if name not in label_map.names]


def css_color(color: tuple[int, int, int]) -> str:
    """Red, green and blue of 0..255 as CSS writes them."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def _best(texts: Sequence[str]) -> str | None:
    """The highest number, where there are different ones."""
    numbers = {text for text in texts if text != "-"}
    return max(numbers, key=float) if len(numbers) > 1 else None
