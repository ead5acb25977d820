"""The numbers of a report as JSON and as Markdown: what the page shows in tables, bars and curves. It computes none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clouds.data.labels import LabelMap
from clouds.engine.status import Failure, StageStatus, format_duration
from clouds.report.browser import Totals
from clouds.report.curves import Curve
from clouds.report.drops import Drop
from clouds.report.extremes import End
from clouds.report.filtered import Summary, counts_text
from clouds.report.left_out import LeftOut
from clouds.report.machines import HEADER, machines
from clouds.report.printed import MARKDOWN, models_json, scores_text
from clouds.report.rounds import RoundChange
from clouds.report.scored_images import ImageScore, rows_of
from clouds.report.tables import ModelScores, class_table, markdown, percent
from clouds.scoring.shares import Share


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Everything that a report counts or was told, whatever its form."""

    name: str
    written: str
    done: str
    outcome: str
    missing: Sequence[str]
    statuses: Sequence[StageStatus]
    failures: Sequence[Failure]
    drops: Sequence[Drop]
    filters: Mapping[str, Summary]
    rounds: Sequence[RoundChange]
    models: Sequence[ModelScores]
    left_out: Sequence[LeftOut]
    notes: Mapping[str, str]
    label_map: LabelMap | None
    images: Mapping[str, Mapping[str, Sequence[ImageScore]]]
    shares: Sequence[Share]
    totals: Totals
    ends: Mapping[str, Sequence[End]]
    curves: Sequence[Curve]
    provenance: Mapping[str, Any]


def as_json(numbers: Numbers) -> str:
    """Everything; shares in [0, 1], durations in seconds, seeds as text: many readers have 53 bits for a number."""
    totals = numbers.totals
    content = {
        "name": numbers.name,
        "written": numbers.written,
        "done": numbers.done,
        "outcome": numbers.outcome,
        "missing": list(numbers.missing),
        "models": models_json(numbers.models, numbers.notes),
        "left_out": [asdict(one) for one in numbers.left_out],
        "scored_images": {
            dataset: {end: [asdict(one) for one in found] for end, found in ends.items()}
            for dataset, ends in numbers.images.items()
        },
        "class_shares": [asdict(one) for one in numbers.shares],
        "generated": {
            "images": totals.images,
            "labelled": totals.labelled,
            "refined": totals.refined,
            "mean_confidence": totals.confidence,
            "mean_changed": totals.changed,
            "masks": dict(totals.masks),
            **{name: [asdict(one) for one in items] for name, items in numbers.ends.items()},
        },
        "stages": [one.content() for one in numbers.statuses],
        "failures": [asdict(one) for one in numbers.failures],
        "dropped": [asdict(one) for one in numbers.drops],
        "filters": dict(numbers.filters),
        "rounds": [change.json() for change in numbers.rounds],
        "curves": [
            {"stage": one.stage, "what": one.what, "first": one.first, "last": one.last, "points": one.points}
            for one in numbers.curves
        ],
        "provenance": {key: _plain(value) for key, value in numbers.provenance.items()},
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def as_markdown(numbers: Numbers) -> str:
    """What a reader wants of it: scores first, then shares, images, what was left out, stages, versions."""
    blocks = []
    if numbers.models or numbers.left_out:
        blocks.append(scores_text(numbers.models, numbers.notes, MARKDOWN, None, numbers.left_out))
    missing = "".join(f"- {phrase}\n" for phrase in numbers.missing)
    blocks += [f"## What is missing\n\n{missing}"] if missing else []
    if numbers.models and numbers.label_map is not None:
        last = numbers.models[-1]
        blocks.append(f"## IoU of each class, {last.model}\n\n{class_table(last.results, numbers.label_map.names)}")
    blocks += [_images(numbers)] if numbers.images else []
    blocks += [_shares(numbers.shares)] if numbers.shares else []
    blocks += [_generated(numbers)] if numbers.totals.images else []
    blocks += [_dropped(numbers)] if numbers.drops else []
    blocks += [counts_text(summary, f"What {name} kept") for name, summary in numbers.filters.items()]
    blocks += [_rounds(numbers.rounds)] if numbers.rounds else []
    blocks += [_curves(numbers.curves)] if numbers.curves else []
    blocks += [_stages(numbers.statuses), *_machines(numbers.statuses), _provenance(numbers.provenance)]
    return "\n".join(blocks)


def _images(numbers: Numbers) -> str:
    rows = [
        [dataset, end, one.id, percent(one.before), percent(one.after)] for dataset, end, one in rows_of(numbers.images)
    ]
    header = ["data set", "", "image", numbers.models[0].model, numbers.models[-1].model]
    return f"## Worst and best scored images, percent of pixels that are right\n\n{markdown(header, rows)}"


def _shares(shares: Sequence[Share]) -> str:
    rows = [[name, *(percent(one.by_class[name]) for one in shares)] for name in shares[0].by_class]
    rows.append(["without a label, of all", *(percent(one.unlabelled) for one in shares)])
    rows.append(["images counted", *(f"{one.counted:,} of {one.images:,}" for one in shares)])
    return f"## Class pixel shares, percent\n\n{markdown(['class', *(one.name for one in shares)], rows)}"


def _generated(numbers: Numbers) -> str:
    totals = numbers.totals
    lines = [f"- {totals.images:,} images, {totals.labelled:,} labelled, {totals.refined:,} refined\n"]
    if totals.confidence is not None:
        lines.append(f"- mean confidence of the pseudo-labels: {percent(totals.confidence)} %\n")
    if totals.changed is not None:
        lines.append(f"- refinement changed {percent(totals.changed)} % of pixels\n")
    rows = [
        [
            name.replace("_", " "),
            one.id,
            one.seed or "-",
            percent(one.confidence),
            percent(one.changed),
            one.prompt,
        ]
        for name, items in numbers.ends.items()
        for one in items
    ]
    table = markdown(["", "id", "seed", "confidence, %", "changed, %", "prompt"], rows) if rows else ""
    return f"## Generated images\n\n{''.join(lines)}\n{table}"


def _dropped(numbers: Numbers) -> str:
    rows = [
        [one.stage, one.why, f"{one.count:,}", f"{one.of:,} {one.unit}", percent(one.share)] for one in numbers.drops
    ]
    table = markdown(["stage", "why", "left out", "of", "%"], rows)
    listed = "".join(f"- {one.stage}/{one.item}: {one.error}\n" for one in numbers.failures)
    return f"## What was left out\n\n{table}" + (f"\nThe first failures:\n\n{listed}" if listed else "")


def _rounds(changes: Sequence[RoundChange]) -> str:
    return "## Labels from round to round\n\n" + "".join(f"- {change.sentence}\n" for change in changes)


def _curves(curves: Sequence[Curve]) -> str:
    rows = [[one.stage, one.what, f"{one.steps:,}", f"{one.first:.4g}", f"{one.last:.4g}"] for one in curves]
    return f"## Training\n\n{markdown(['stage', 'value', 'steps', 'first', 'last'], rows)}"


def _stages(statuses: Sequence[StageStatus]) -> str:
    rows = []
    for one in statuses:
        size = "-" if one.size is None else f"{one.done:,} of {one.size:,} {one.unit}s"
        rows.append([one.name, one.state, size, f"{one.failed:,}", format_duration(one.seconds)])
    return f"## Stages\n\n{markdown(['stage', 'state', 'done', 'failed', 'time'], rows)}"


def _machines(statuses: Sequence[StageStatus]) -> list[str]:
    rows = [one.cells() for one in machines(statuses)]
    return [f"## What the stages were made on\n\n{markdown(HEADER, rows)}"] if rows else []


def _provenance(provenance: Mapping[str, Any]) -> str:
    weights = [[", ".join(one["stages"]), f"{one['name']} {one['identity']}"] for one in provenance["weights"]]
    facts = [list(pair) for key in ("generator", "versions", "machine") for pair in provenance[key]]
    models = f"## Models\n\n{markdown(['stages', 'weights'], weights)}\n" if weights else ""
    return f"{models}## Versions and machine where this report was written\n\n{markdown(['what', 'which'], facts)}"


def _plain(value: Any) -> Any:
    """Pairs as a JSON object."""
    pairs = isinstance(value, list) and value and all(isinstance(one, tuple) and len(one) == 2 for one in value)
    return dict(value) if pairs else value
