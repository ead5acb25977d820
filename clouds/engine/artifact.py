"""A stage's output folder: shards that are complete under their final name. It does not know what they hold.

    STAGE/stage.json            what the output depends on, and its fingerprint
    STAGE/00000/                a published shard: its files, metadata.jsonl, ledger.jsonl and shard.json
    STAGE/.work/00001/          a shard in the making; the same command goes on with it

A shard is published by one rename. One that is opened again (failed items retried, inputs changed) is remade beside
the old one and then takes its place; `recover` finishes or undoes an exchange that a crash cut in two.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clouds.engine.atomic import publish_folder, read_json, subfolders, write_atomic, write_json
from clouds.engine.ledger import DONE, FAILED, Ledger, Record, latest_records
from clouds.engine.shard import Shard, digest
from clouds.replacing import sync_folder

DESCRIPTION = "stage.json"
SUMMARY = "shard.json"
METADATA = "metadata.jsonl"
LEDGER = "ledger.jsonl"
STAMP = "inputs.txt"
REPLACED = ".replaced"
OLD = ".old"
NEW = ".new"


@dataclass(frozen=True)
class ShardSummary:
    """What a published shard holds.

    `size` and `inputs` are as its stage gave them, `digest` stamps what was made, `done` and `failed` count items.
    """

    size: int
    inputs: str
    digest: str
    done: int
    failed: int
    seconds: float


class Artifact:
    """The output folder of one stage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.folder.name

    @property
    def work_folder(self) -> Path:
        return self.folder / ".work"

    @property
    def _discarded(self) -> Path:
        return self.folder.with_name(f".{self.folder.name}.discarded")

    def description(self) -> dict[str, Any] | None:
        """The content of stage.json, or None where the stage has not begun."""
        content = read_json(self.folder / DESCRIPTION)
        return content if isinstance(content, dict) else None

    def edition(self) -> int:
        """How often the artifact was discarded to be made anew: it stamps what later stages make from it."""
        return int((self.description() or {}).get("edition", 0))

    def find_replaced(self, fingerprint: str) -> Path | None:
        """The output with this fingerprint that an earlier change of the config set aside, if there is one."""
        found = (folder for folder, told in self.replaced() if told.get("fingerprint") == fingerprint)
        return next(found, None)

    def replaced(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Every output that a change of the config set aside, of any stage of the run, with its description."""
        replaced = self.folder.parent / REPLACED
        for name in subfolders(replaced):
            description = read_json(replaced / name / DESCRIPTION)
            if isinstance(description, dict):
                yield replaced / name, description

    def scratch_failures(self, shard: str) -> int:
        """How many items of a shard in the making have failed so far."""
        records = latest_records(self.scratch_folder(shard) / LEDGER).values()
        return sum(record.status == FAILED for record in records)

    def describe(self, content: dict[str, Any]) -> None:
        """Write stage.json, making the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / DESCRIPTION, content)

    def shard_ids(self) -> list[str]:
        """The published shards, in order."""
        return list(subfolders(self.folder))

    def begun(self) -> bool:
        """Whether it holds any shard, published or in the making."""
        return bool(self.shard_ids() or self.unfinished())

    def shard_folder(self, shard: str) -> Path:
        return self.folder / shard

    def scratch_folder(self, shard: str) -> Path:
        return self.work_folder / shard

    def summary(self, shard: str) -> ShardSummary | None:
        """What a published shard holds, or None where it is not published."""
        return _read_summary(self.folder / shard)

    def rows(self, shard: str) -> Iterator[dict[str, Any]]:
        """The metadata of the items a published shard holds, in order."""
        with (self.folder / shard / METADATA).open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    def stamped_rows(self, shard: str) -> Iterator[tuple[dict[str, Any], str]]:
        """As `rows`, each with the stamp of what the item was made from and of the artifact's edition."""
        edition = self.edition()
        for row in self.rows(shard):
            yield row, row.get("inputs", "") + (f"#{edition}" if edition else "")

    def mirrored(self, token: str = "") -> Iterator[Shard]:
        """The shards of a stage that makes one item from each of this artifact's; `token` stamps its other inputs."""
        for shard in self.shard_ids():
            summary = self.summary(shard)
            if summary is not None:
                yield Shard(shard, summary.done, digest([summary.digest, token]))

    def stamp(self) -> str:
        """What changes when any item of the artifact does."""
        summaries = ((shard, self.summary(shard)) for shard in self.shard_ids())
        return digest(f"{shard} {summary.digest}" for shard, summary in summaries if summary is not None)

    def open_shard(self, shard: Shard, *, keep_items: bool = True) -> Ledger:
        """The scratch folder's ledger, ready to go on: as a crash left it, or with what the published shard holds.

        Without `keep_items` the shard is one indivisible thing: made from other inputs, it starts anew.
        """
        scratch = self.scratch_folder(shard.id)
        if scratch.exists() and not keep_items and _made_from(scratch) != shard.inputs:
            self.set_aside(f"{self.folder.name}-{shard.id}", scratch)
        if not scratch.exists():
            self._make_scratch(self.shard_folder(shard.id), scratch, shard.inputs, keep_items)
        # the stamp before the summary goes: at any instant one of them says what the shard is made from
        write_atomic(scratch / STAMP, shard.inputs)
        (scratch / SUMMARY).unlink(missing_ok=True)
        return Ledger(scratch / LEDGER)

    def observe_shard(self, shard: Shard) -> Ledger:
        """The ledger of a scratch folder that another process has opened."""
        return Ledger(self.scratch_folder(shard.id) / LEDGER)

    def publish(self, shard: Shard, records: list[Record], made: str, *, keep_items: bool = True) -> None:
        """Write the shard's metadata and summary, and give the scratch folder its final name.

        With `keep_items`, files that no item names (of items that failed, or are no longer listed) are left out; so
        are hidden ones, which a library that was killed while it wrote leaves behind.
        """
        scratch, final = self.scratch_folder(shard.id), self.shard_folder(shard.id)
        _drop(scratch, lambda path: path.name.startswith("."))
        done = [record for record in records if record.status == DONE]
        lines = (json.dumps(_published_row(record), ensure_ascii=False) + "\n" for record in done)
        (scratch / METADATA).write_text("".join(lines), encoding="utf-8")
        if keep_items:
            _drop_unnamed(scratch, done)
        summary = ShardSummary(
            size=shard.size,
            inputs=shard.inputs,
            digest=made,
            done=len(done),
            failed=sum(record.status == FAILED for record in records),
            seconds=round(sum(record.seconds for record in records), 3),
        )
        write_json(scratch / SUMMARY, asdict(summary))
        (scratch / STAMP).unlink()
        old = self.work_folder / (shard.id + OLD)
        if final.exists():
            os.rename(final, old)
        publish_folder(scratch, final)
        self._retire(old, records)

    def unfinished(self) -> list[str]:
        """The shards in the making, in order."""
        return [name for name in subfolders(self.work_folder) if not name.endswith((NEW, OLD))]

    def recover(self) -> None:
        """Finish or undo what a crash cut in two: a discard, a copy for a scratch folder, the exchange in `publish`.

        Files that were being written anew are removed: of some there is no next time that would overwrite them.
        """
        shutil.rmtree(self._discarded, ignore_errors=True)
        for left in self.folder.glob(".*.tmp"):
            left.unlink()
        if not self.work_folder.exists():
            return
        for new in self.work_folder.glob("*" + NEW):
            shutil.rmtree(new)
        for old in sorted(self.work_folder.glob("*" + OLD)):
            shard = old.name.removesuffix(OLD)
            scratch, final = self.scratch_folder(shard), self.shard_folder(shard)
            if final.exists():
                self._retire(old, list(Ledger(final / LEDGER).records.values()))
            elif (scratch / SUMMARY).exists():
                publish_folder(scratch, final)
                self._retire(old, list(Ledger(final / LEDGER).records.values()))
            else:
                os.rename(old, final)

    def close(self) -> None:
        """Remove the scratch area, once it is empty."""
        with contextlib.suppress(OSError):
            self.work_folder.rmdir()

    def discard(self) -> None:
        """Delete the artifact: out of sight at once, so that no half of it is ever taken for the whole."""
        shutil.rmtree(self._discarded, ignore_errors=True)
        if self.folder.exists():
            os.rename(self.folder, self._discarded)
            shutil.rmtree(self._discarded)

    def set_aside(self, name: str, folder: Path | None = None) -> Path:
        """Move the artifact, or a folder in it, into the run's `.replaced` folder: superseded, never deleted."""
        source = folder or self.folder
        target = free_name(self.folder.parent / REPLACED / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(source, target)
        sync_folder(source.parent)
        return target

    def _make_scratch(self, published: Path, scratch: Path, inputs: str, keep_items: bool) -> None:
        building = scratch.with_name(scratch.name + NEW)
        shutil.rmtree(building, ignore_errors=True)
        if keep_items and published.exists():
            shutil.copytree(published, building)
            (building / METADATA).unlink(missing_ok=True)
        else:
            building.mkdir(parents=True)
        (building / STAMP).write_text(inputs, encoding="utf-8")
        os.rename(building, scratch)

    def _retire(self, old: Path, records: list[Record]) -> None:
        """Drop the former version of a shard, unless it holds something the new one does not."""
        if not old.exists():
            return
        kept = {(record.id, record.token) for record in records if record.status == DONE}
        former = Ledger(old / LEDGER).records.values()
        if all((record.id, record.token) in kept for record in former if record.status == DONE):
            shutil.rmtree(old)
            return
        self.set_aside(f"{self.folder.name}-{old.name.removesuffix(OLD)}", old)


def _published_row(record: Record) -> dict[str, Any]:
    """An item's metadata: the file it names first, as data set readers want it, then what it was made from."""
    return {**record.row, "inputs": record.token} if record.token else record.row


def _drop_unnamed(scratch: Path, done: list[Record]) -> None:
    """Remove the files of a scratch folder that no record names; a row names its files in keys `*file_name`."""
    named = {LEDGER, METADATA, STAMP}
    named |= {str(value) for record in done for key, value in record.row.items() if key.endswith("file_name")}
    _drop(scratch, lambda path: path.relative_to(scratch).as_posix() not in named)


def _drop(scratch: Path, unwanted: Callable[[Path], bool]) -> None:
    """Remove those files of a scratch folder, at any depth."""
    for folder, _, files in os.walk(scratch):
        for path in (Path(folder, file) for file in files):
            if unwanted(path):
                path.unlink()


def _read_summary(shard_folder: Path) -> ShardSummary | None:
    content = read_json(shard_folder / SUMMARY)
    try:
        return ShardSummary(**content)
    except TypeError:
        return None


def _made_from(scratch: Path) -> str | None:
    """The inputs a scratch folder's content is made from; None where that is not on record."""
    if (scratch / STAMP).exists():
        return (scratch / STAMP).read_text(encoding="utf-8")
    summary = _read_summary(scratch)
    return summary.inputs if summary is not None else None


def free_name(path: Path) -> Path:
    """The path, or the path with the first number behind it that nothing bears yet."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate
