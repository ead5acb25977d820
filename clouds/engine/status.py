"""How far a run has come, read from its folder alone. It loads no model and no config of a stage."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from clouds.engine.artifact import LEDGER, Artifact
from clouds.engine.atomic import read_json
from clouds.engine.ledger import DONE, FAILED, latest_records
from clouds.engine.session import Session, read_sessions

PROGRESS = "progress.json"


@dataclass(frozen=True)
class StageStatus:
    """One stage: `done` of `size` units, failures, the seconds it took, and whether it is complete.

    `stale` output is whole, but not what the config asks for now. `sessions` tell on what it was made, as far as that
    is on record.
    """

    name: str
    unit: str
    size: int | None
    done: int
    failed: int
    seconds: float
    complete: bool
    stale: bool = False
    sessions: tuple[Session, ...] = ()

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.complete or self.stale:
            return "complete" if self.complete else "stale"
        return "not begun" if self.size is None else "begun"

    @property
    def pace(self) -> float | None:
        """Units a second while working, or None before the first."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far, on one process; None where it cannot be said yet."""
        if self.complete or self.stale or self.size is None or self.pace is None:
            return None
        return max(0, self.size - self.done - self.failed) / self.pace

    def content(self) -> dict[str, Any]:
        """Ready for JSON."""
        derived = {"pace": self.pace, "seconds_left": self.seconds_left, "state": self.state}
        return {**asdict(self), **derived, "sessions": [session.content() for session in self.sessions]}


@dataclass(frozen=True)
class Failure:
    """One failed item: where, which, and the first line of why."""

    stage: str
    item: str
    error: str


def stage_status(artifact: Artifact, name: str, *, current: bool = True) -> StageStatus:
    """How far one stage has come; one that is not `current` is stale, however complete."""
    description = artifact.description() or {}
    done, failed, seconds = 0, 0, 0.0
    unfinished = set(artifact.unfinished())
    for shard in artifact.shard_ids():
        summary = artifact.summary(shard)
        if summary is not None and shard not in unfinished:
            done, failed = done + summary.size - summary.failed, failed + summary.failed
            seconds += summary.seconds
    for shard in unfinished:
        counts = _scratch_counts(artifact.scratch_folder(shard))
        done, failed, seconds = done + counts[0], failed + counts[1], seconds + counts[2]
    complete = bool(description.get("complete"))
    unit, size = description.get("unit", ""), description.get("size")
    sessions = read_sessions(artifact.folder)
    return StageStatus(
        name, unit, size, done, failed, seconds, complete and current, complete and not current, sessions
    )


def failures(artifact: Artifact, name: str, limit: int) -> list[Failure]:
    """The first failed items of a stage; only the ledgers that have some are read."""
    return list(islice(_failures(artifact, name), limit))


class ProgressNote:
    """How far an indivisible shard has come, noted in its scratch folder every few seconds for `clouds status`."""

    def __init__(self, folder: Path, every_seconds: float = 2.0) -> None:
        self._path = folder / PROGRESS
        self._every = every_seconds
        self._last = 0.0

    def note(self, done: int, seconds: float) -> None:
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._path.write_text(json.dumps({"done": done, "seconds": round(seconds, 3)}), encoding="utf-8")

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)


def _failures(artifact: Artifact, name: str) -> Iterator[Failure]:
    for shard in artifact.shard_ids():
        summary = artifact.summary(shard)
        if summary is not None and summary.failed:
            yield from _failures_in(artifact.shard_folder(shard) / LEDGER, name)
    for shard in artifact.unfinished():
        yield from _failures_in(artifact.scratch_folder(shard) / LEDGER, name)


def _failures_in(ledger: Path, name: str) -> Iterator[Failure]:
    for record in latest_records(ledger).values():
        if record.status == FAILED:
            yield Failure(name, record.id, record.error.partition("\n")[0])


def _scratch_counts(folder: Path) -> tuple[int, int, float]:
    note = read_json(folder / PROGRESS)
    if isinstance(note, dict):
        return int(note["done"]), 0, float(note["seconds"])
    latest = latest_records(folder / LEDGER)
    statuses = [record.status for record in latest.values()]
    seconds = sum(record.seconds for record in latest.values())
    return statuses.count(DONE), statuses.count(FAILED), seconds


def format_duration(seconds: float | None) -> str:
    """Seconds as 1:02:03, or a dash."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def totals(statuses: Sequence[StageStatus]) -> tuple[int, float | None]:
    """Failures over all stages, and the time left of the stages that have begun."""
    left = [status.seconds_left for status in statuses if status.seconds_left is not None]
    return sum(status.failed for status in statuses), sum(left) if left else None
