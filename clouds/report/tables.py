"""Scores as JSON, Markdown and terminal tables. It reads scores and computes none but their means and gains."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clouds.engine.artifact import Artifact
from clouds.engine.atomic import read_json
from clouds.report.protocols import from_files, protocol_lines


@dataclass(frozen=True)
class ModelScores:
    """What one model scored on each data set: the content of its scores.json."""

    model: str
    results: Mapping[str, Mapping[str, Any]]

    def mean_iou(self, dataset: str) -> float | None:
        """In [0, 1]; None where the data set has no ground truth or was not scored."""
        value = self.results.get(dataset, {}).get("mean_iou")
        return None if value is None else float(value)

    @property
    def own(self) -> bool:
        """Whether a segmenter was scored, rather than predictions in files."""
        return not any(from_files(result.get("protocol", {})) for result in self.results.values())

    def interval(self, dataset: str, *keys: str) -> str:
        """Between which percentages a score of 95% of resamples lies, such as ` [42.0, 44.3]`; "" if unknown.

        `keys` lead to the score, such as `iou` and a class; without any it is the mean IoU.
        """
        found: Any = self.results.get(dataset, {}).get("interval")
        for key in keys or ("mean_iou",):
            found = (found or {}).get(key)
        low, high = found or (None, None)
        return "" if low is None or high is None else f" [{percent(low)}, {percent(high)}]"


def scores_of(artifacts: Sequence[Artifact]) -> list[ModelScores]:
    """The scores these artifacts hold, in their order; those that hold none are left out."""
    contents = (read_json(artifact.folder / "scores.json") for artifact in artifacts)
    return [ModelScores(content["model"], content["results"]) for content in contents if isinstance(content, dict)]


def models_table(
    models: Sequence[ModelScores], notes: Mapping[str, str] | None = None, *, intervals: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Header and rows: mIoU in percent of each model on each data set and their mean.

    Where there are several models, a last column has the mean gain of each over the first, and a last row the gain of
    the last over the first on each data set. `notes` say what a model is, by its name; with `intervals` each data
    set's mIoU is followed by its interval.
    """
    datasets = list(dict.fromkeys(name for model in models for name in model.results))
    header = ["model", *datasets, *(["mean"] if len(datasets) > 1 else [])]
    rows = [[_named(model.model, notes or {}), *_cells(model, datasets, intervals)] for model in models]
    if len(models) > 1:
        header.append("gain")
        for model, row in zip(models, rows, strict=True):
            row.append("-" if model is models[0] else signed(mean(_gains(models[0], model, datasets))))
        rows.append(["gain", *_gain_cells(models[0], models[-1], datasets), ""])
    return header, rows


def class_table(results: Mapping[str, Mapping[str, Any]], class_names: Sequence[str]) -> str:
    """Per-class IoU in percent as Markdown, a column per data set, and below it how the data sets were scored."""
    header = ["class", *results]
    scored = ModelScores("", results)
    rows = [
        [one, *(percent(result["iou"][one]) + scored.interval(name, "iou", one) for name, result in results.items())]
        for one in class_names
    ]
    rows.append(["**mean IoU**", *(percent(scored.mean_iou(name)) + scored.interval(name) for name in results)])
    rows += _more_rows(scored)
    notes = [
        *protocol_lines([results]),
        *(note for name, result in results.items() for note in _constant(name, result)),
    ]
    return markdown(header, rows) + "\n" + "".join(f"- {note}\n" for note in notes)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, columns aligned, numbers to the right; a cell may hold any text, which stays in its cell."""
    header, rows = _one_line(header), [_one_line(row) for row in rows]
    widths = _widths(header, rows)
    rule = [("-" * width if column == 0 else "-" * (width - 1) + ":") for column, width in enumerate(widths)]
    lines = [_aligned(line, widths) for line in (header, rule, *rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def terminal(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table for a terminal."""
    widths = _widths(header, rows)
    rule = ["-" * width for width in widths]
    return "".join("  ".join(_aligned(line, widths)).rstrip() + "\n" for line in (header, rule, *rows))


def percent(value: float | None) -> str:
    """A share as a percentage with one digit, or a dash where there is none."""
    return "-" if value is None else f"{100 * value:.1f}"


def signed(gain: float | None) -> str:
    """A difference of shares in percentage points with its sign, or a dash where there is none."""
    return "-" if gain is None else f"{100 * gain:+.1f}"


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are known, or None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _more_rows(scored: ModelScores) -> list[list[str]]:
    """The other scores over all classes, and the categories', where any data set has them."""
    results = scored.results
    keys = {
        "mean_boundary_iou": "mean boundary IoU",
        "mean_category_iou": "mean category IoU",
        "mean_accuracy": "mean accuracy",
        "frequency_weighted_iou": "frequency-weighted IoU",
        "pixel_accuracy": "pixel accuracy",
    }
    rows = [
        [f"**{label}**", *(percent(result.get(key)) + scored.interval(name, key) for name, result in results.items())]
        for key, label in keys.items()
        if any(key in result for result in results.values())
    ]
    categories = dict.fromkeys(name for result in results.values() for name in result.get("category_iou", ()))
    return rows + [
        [f"category {name}", *(percent(result.get("category_iou", {}).get(name)) for result in results.values())]
        for name in categories
    ]


def _constant(name: str, result: Mapping[str, Any]) -> list[str]:
    constant = result["most_frequent"]
    return [f"{name}: {constant['class']} everywhere would score {percent(constant['mean_iou'])}"] if constant else []


def _cells(model: ModelScores, datasets: Sequence[str], intervals: bool) -> list[str]:
    values = {name: model.mean_iou(name) for name in datasets}
    overall = [percent(mean(values.values()))] if len(datasets) > 1 else []
    return [*(percent(value) + model.interval(name) * intervals for name, value in values.items()), *overall]


def _named(name: str, notes: Mapping[str, str]) -> str:
    return f"{name}, {notes[name]}" if name in notes else name


def _gains(first: ModelScores, last: ModelScores, datasets: Sequence[str]) -> list[float | None]:
    pairs = [(first.mean_iou(name), last.mean_iou(name)) for name in datasets]
    return [None if a is None or b is None else b - a for a, b in pairs]


def _gain_cells(first: ModelScores, last: ModelScores, datasets: Sequence[str]) -> list[str]:
    gains = _gains(first, last, datasets)
    return [signed(gain) for gain in (*gains, *([mean(gains)] if len(datasets) > 1 else []))]


def _one_line(cells: Sequence[str]) -> list[str]:
    """Cells in which neither a bar nor the end of a line ends a cell."""
    return [" ".join(cell.split()).replace("|", "\\|") for cell in cells]


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(3, *(len(line[column]) for line in (header, *rows))) for column in range(len(header))]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = zip(line, widths, strict=True)
    return [cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(cells)]
