"""The table of scores as a command prints it: for a terminal of any width, as Markdown or as JSON. It reads no file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from clouds.report.left_out import LeftOut
from clouds.report.protocols import protocol_lines
from clouds.report.tables import ModelScores, markdown, mean, models_table, terminal

TERMINAL, MARKDOWN, JSON = "terminal", "md", "json"
"""The formats."""

_LEFT_OUT = {"confusion", "pixels"}
_TITLE = "mIoU in percent"
# a first column cut shorter than this says nothing
_SHORTEST = 8


def scores_text(
    models: Sequence[ModelScores],
    notes: Mapping[str, str],
    form: str,
    width: int | None,
    stale: Sequence[LeftOut] = (),
) -> str:
    """Models' scores in a format, and at its foot which were left out; `width` is that of the terminal in characters,
    None where it does not matter.

    Markdown and JSON tell the 95% interval of each mean IoU, for which a terminal has no room.
    """
    if form == JSON:
        content = {"models": models_json(models, notes), "left_out": [asdict(one) for one in stale]}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    lines = [*_protocols(models), *(one.line for one in stale)]
    listed = "".join(f"- {line}\n" if form == MARKDOWN else f"{line}\n" for line in lines)
    if not models:
        return listed
    header, rows = models_table(models, notes, intervals=form == MARKDOWN)
    if form == MARKDOWN:
        return f"{_TITLE}{_explained(models)}\n\n{markdown(header, rows)}\n{listed}"
    return f"{_TITLE}\n\n{folded(header, rows, width)}{listed}"


def models_json(models: Sequence[ModelScores], notes: Mapping[str, str]) -> list[dict[str, Any]]:
    """All scores, each data set with its protocol; shares in [0, 1]. Counts of pixels stay in scores.json."""
    return [
        {
            "model": model.model,
            "note": notes.get(model.model, ""),
            "mean_iou": mean(model.mean_iou(name) for name in model.results),
            "results": {
                name: {key: value for key, value in result.items() if key not in _LEFT_OUT}
                for name, result in model.results.items()
            },
        }
        for model in models
    ]


def folded(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """The table for a terminal of so many characters: columns that do not fit go below, beside the first one again.

    Where even the first column and one more do not fit, the first is cut.
    """
    lines = [header, *rows]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]
    if width is None or sum(widths) + 2 * (len(widths) - 1) <= width:
        return terminal(header, rows)
    first = max(min(widths[0], width - 2 - max(widths[1:], default=0)), _SHORTEST)
    parts = []
    for columns in _parts(widths, first, width):
        part = [[_cut(line[0], first), *(line[column] for column in columns)] for line in lines]
        parts.append(terminal(part[0], part[1:]))
    return "\n".join(parts)


def _parts(widths: Sequence[int], first: int, width: int) -> list[list[int]]:
    """The columns but the first, in groups that fit beside it; each holds one at least."""
    parts: list[list[int]] = []
    taken = width
    for column in range(1, len(widths)):
        if not parts or taken + 2 + widths[column] > width:
            parts.append([])
            taken = first
        parts[-1].append(column)
        taken += 2 + widths[column]
    return parts


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _protocols(models: Sequence[ModelScores]) -> list[str]:
    """How data sets were scored, a line for each way."""
    return protocol_lines(model.results for model in models)


def _explained(models: Sequence[ModelScores]) -> str:
    """What the brackets are, where there are any."""
    intervals = (result.get("interval") for model in models for result in model.results.values())
    how = next((one for one in intervals if one), None)
    if how is None:
        return ""
    return f", with the {100 * how['level']:g}% interval of {how['resamples']} resamples of the {how['over']}"
