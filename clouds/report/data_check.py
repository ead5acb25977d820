"""What a look through data sets found, as tables and lines for a terminal. It reads no file."""

from collections.abc import Iterator, Sequence
from typing import Any

from clouds.data.codings import shown_id
from clouds.data.labels import LabelMap
from clouds.data.survey import Survey
from clouds.report.printed import MARKDOWN, TERMINAL, folded
from clouds.report.tables import markdown, percent

# how many entries of a list are shown
_SHOWN = 5


def data_check(surveys: Sequence[Survey], label_map: LabelMap, form: str = TERMINAL, width: int | None = None) -> str:
    """A table of the data sets, a table of the classes' shares in them, and what is to be known or mended.

    As Markdown, or for a terminal of `width` characters.
    """
    header = ["data set", "items", "looked at", "failed", "sizes", "labelled", "ids", "found"]
    parts = [_table(header, [_row(survey, label_map) for survey in surveys], form, width)]
    labelled = [survey for survey in surveys if survey.classes]
    if labelled:
        rows = [[one.name, *(_share(survey, one.id, label_map) for survey in labelled)] for one in label_map.classes]
        shares = _table(["class", *(survey.name for survey in labelled)], rows, form, width)
        parts.append(f"share of the labelled pixels in percent\n\n{shares}")
    lines = [line for survey in surveys for line in _lines(survey)]
    return "\n".join([*parts, *(["\n".join(lines) + "\n"] if lines else [])])


def data_json(surveys: Sequence[Survey], label_map: LabelMap) -> dict[str, Any]:
    """The same by data set, ready for JSON; pixels by class, `ignored` ones beside them."""
    return {
        survey.name: {
            "items": survey.count,
            "looked_at": survey.looked_at,
            "failed": survey.failed,
            "sound": survey.sound,
            "labelled": survey.labelled,
            "pixels": {one.name: int(survey.classes[one.id]) for one in label_map.classes},
            "ignored": int(survey.classes[label_map.ignore]),
            "found": list(_lines(survey)),
        }
        for survey in surveys
    }


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], form: str, width: int | None) -> str:
    return markdown(header, rows) if form == MARKDOWN else folded(header, rows, width)


def _row(survey: Survey, label_map: LabelMap) -> list[str]:
    if survey.problem is not None:
        return [survey.name, *["-"] * 6, "cannot be opened"]
    known = sum(survey.classes.values()) - survey.classes[label_map.ignore]
    every = sum(survey.classes.values()) + sum(entry.pixels for entry in survey.unknown.values())
    labelled = "no labels" if not survey.labelled else f"{percent(known / every if every else None)} %"
    found = "sound" if survey.sound else "see below"
    counts = [str(survey.count), str(survey.looked_at), str(survey.failed)]
    return [survey.name, *counts, _sizes(survey), labelled, _ids(survey), found]


def _sizes(survey: Survey) -> str:
    """Width x height of the most frequent sizes."""
    sizes = [f"{width}x{height}" for (height, width), _ in survey.sizes.most_common(2)]
    more = len(survey.sizes) - len(sizes)
    return ", ".join(sizes) + (f" and {more} more" if more else "") if sizes else "-"


def _ids(survey: Survey) -> str:
    """The ids seen, neighbours as a range."""
    ids = sorted(id_ for id_ in survey.stored if id_ not in survey.unknown)
    starts = [id_ for id_ in ids if id_ - 1 not in survey.stored or id_ - 1 in survey.unknown]
    ranges = []
    for start in starts:
        end = start
        while end + 1 in survey.stored and end + 1 not in survey.unknown:
            end += 1
        ranges.append(str(start) if end == start else f"{start}-{end}")
    more = f" and {len(ranges) - 2 * _SHOWN} more" if len(ranges) > 2 * _SHOWN else ""
    return " ".join(ranges[: 2 * _SHOWN]) + more or "-"


def _share(survey: Survey, id_: int, label_map: LabelMap) -> str:
    labelled = sum(survey.classes.values()) - survey.classes[label_map.ignore]
    return f"{100 * survey.classes[id_] / labelled:.2f}" if survey.classes[id_] else "-"


def _lines(survey: Survey) -> Iterator[str]:
    """What is wrong, with its mend, and then what is only to be known."""
    if survey.problem is not None:
        yield f"wrong: {survey.problem}"
    for error in survey.failures:
        yield f"wrong: {survey.name}: {error}"
    if survey.failed > len(survey.failures):
        yield f"wrong: {survey.name}: {survey.failed} items in all cannot be used"
    most = sorted(survey.unknown.items(), key=lambda entry: -entry[1].pixels)
    for id_, entry in most[:_SHOWN]:
        yield f"wrong: {survey.name}: {shown_id(id_)} is no class: {entry.pixels} pixels, first in {entry.first_file}"
    if len(most) > _SHOWN:
        yield f"wrong: {survey.name}: {len(most)} ids in all are no class"
    if most:
        yield "  mend: list them in the set's `ignore`, or mend the files"
    if survey.unmatched:
        unknown = ", ".join(survey.unmatched)
        yield f"note: {survey.name}: pixels of {unknown} are ignored, no class of the run has that name"
