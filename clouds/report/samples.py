"""A few items of a run, spread over its artifacts, each followed from image to refined label. It decodes no picture.

The number of files it opens depends on how many items are asked for and on how many shards there are, not on how many
items the run made.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from clouds.engine.artifact import Artifact
from clouds.engine.stage import Stage
from clouds.ops.spread import spread

Row = dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """The files that came of one generated image, by their path from the run's folder; None where there is none yet.

    `earlier` are the refined labels of the rounds before, by the name of their stage.
    """

    image: str
    prompt: str = ""
    seed: int | None = None
    labels: str | None = None
    confidence: str | None = None
    refined: str | None = None
    earlier: tuple[tuple[str, str], ...] = ()


def trace_items(run_folder: Path, stages: Sequence[Stage], count: int, earlier_rounds: int = 3) -> list[Trace]:
    """At most `count` items, spread evenly over what the last stage that has any published."""
    chain = [stage for kind in ("generate", "label", "refine") for stage in stages if stage.kind == kind]
    for stage in reversed(chain):
        rows = list(spread_rows(stage.artifact, count))
        if rows:
            traces = [_trace(stage, shard, row) for shard, row in rows]
            before = [one for one in chain if one.kind == "refine" == stage.kind and one is not stage]
            traces = _with_labels(run_folder, traces)
            traces = _with_prompts(run_folder, traces)
            return _with_earlier(traces, before[-earlier_rounds:])
    return []


def first_row(artifact: Artifact) -> Row | None:
    """The metadata of the first published item, or None before there is one."""
    return next((row for _, row in spread_rows(artifact, 1)), None)


def published_rows(artifact: Artifact, shard: str) -> Iterator[Row]:
    """A shard's rows; none where it is not there: a run at work may be just exchanging it."""
    try:
        yield from artifact.rows(shard)
    except (OSError, json.JSONDecodeError):
        return


def spread_rows(artifact: Artifact, count: int) -> Iterator[tuple[str, Row]]:
    """Rows at evenly spread positions, with their shards; only the shards they lie in are opened."""
    sizes = [(shard, summary.done) for shard in artifact.shard_ids() if (summary := artifact.summary(shard))]
    positions = spread(sum(size for _, size in sizes), count)
    start = 0
    for shard, size in sizes:
        here = {position - start for position in positions if start <= position < start + size}
        if here:
            rows = islice(published_rows(artifact, shard), max(here) + 1)
            yield from ((shard, row) for number, row in enumerate(rows) if number in here)
        start += size


def _trace(stage: Stage, shard: str, row: Row) -> Trace:
    """What a metadata row says of its item: a row of an image has none of the keys that name other files."""
    own = f"{stage.name}/{shard}/{row['file_name']}"
    if stage.kind == "refine":
        return Trace(image=row["source_image"], labels=row["labels"], refined=own)
    if stage.kind == "label":
        return Trace(image=row["source_image"], labels=own)
    return Trace(image=own)


def _with_labels(run_folder: Path, traces: Sequence[Trace]) -> list[Trace]:
    found = _rows_of_files(run_folder, [one.labels for one in traces if one.labels])
    completed = []
    for one in traces:
        row = found.get(one.labels or "", {})
        name = row.get("confidence_file_name")
        folder = "/".join((one.labels or "").split("/")[:2])
        completed.append(replace(one, confidence=f"{folder}/{name}") if name else one)
    return completed


def _with_prompts(run_folder: Path, traces: Sequence[Trace]) -> list[Trace]:
    found = _rows_of_files(run_folder, [one.image for one in traces])
    rows = [found.get(one.image, {}) for one in traces]
    return [
        replace(one, prompt=row.get("prompt", ""), seed=row.get("seed")) for one, row in zip(traces, rows, strict=True)
    ]


def _with_earlier(traces: Sequence[Trace], stages: Sequence[Stage]) -> list[Trace]:
    """With the refined labels of these stages: a stage that follows another shard by shard keeps the shards' names."""
    images = {one.image for one in traces}
    by_image: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for stage in stages:
        for shard in sorted({image.split("/")[1] for image in images}):
            for row in _matching(published_rows(stage.artifact, shard), "source_image", images):
                by_image[row["source_image"]].append((stage.name, f"{stage.name}/{shard}/{row['file_name']}"))
    return [replace(one, earlier=tuple(by_image[one.image])) for one in traces]


def _rows_of_files(run_folder: Path, files: Iterable[str]) -> dict[str, Row]:
    """The metadata rows of files named as STAGE/SHARD/FILE_NAME; each shard is read once, no further than needed."""
    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file in files:
        stage, shard, name = file.split("/", 2)
        wanted[stage, shard].add(name)
    found = {}
    for (stage, shard), names in wanted.items():
        for row in _matching(published_rows(Artifact(run_folder / stage), shard), "file_name", names):
            found[f"{stage}/{shard}/{row['file_name']}"] = row
    return found


def _matching(rows: Iterable[Row], key: str, wanted: Collection[str]) -> Iterator[Row]:
    """The rows whose key has one of the wanted values, which are different: it stops at the last of them."""
    hits = (row for row in rows if row.get(key) in wanted)
    return islice(hits, len(wanted))
