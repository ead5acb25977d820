"""One record per item of work, appended to a JSON-lines file. It does not know what a stage does.

Each file has one writer. A batch's records are appended in one write, and each says how many of its batch follow: what
a crash left of a batch is dropped when the file is next opened, so a batch counts whole or not at all.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

DONE = "done"
FAILED = "failed"


@dataclass(frozen=True)
class Record:
    """What became of one item.

    `token` stamps the input it was made from, `row` is its provenance as published in the metadata, `seconds` the
    time it took, `error` the failure, `left` the number of records of its batch that follow.
    """

    id: str
    status: str
    token: str = ""
    row: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    left: int = 0


class Ledger:
    """The records of one shard; a later record of an item replaces an earlier one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, Record] = {}
        self._mend_tail()

    def append(self, records: Sequence[Record]) -> None:
        """Add the records of one batch in one write, flushed to disk."""
        counted = [replace(record, left=len(records) - 1 - place) for place, record in enumerate(records)]
        lines = "".join(json.dumps(vars(record), ensure_ascii=False) + "\n" for record in counted)
        with self.path.open("ab") as file:
            file.write(lines.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        self.records.update((record.id, record) for record in counted)

    def done(self, item: str, token: str) -> bool:
        """Whether an item was made from the input that `token` stamps."""
        record = self.records.get(item)
        return record is not None and record.status == DONE and record.token == token

    def failed(self, item: str, token: str) -> bool:
        """Whether an item failed on the input that `token` stamps."""
        record = self.records.get(item)
        return record is not None and record.status == FAILED and record.token == token

    def _mend_tail(self) -> None:
        """Read the whole batches, and cut off what follows them."""
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        batch: list[Record] = []
        whole = end = 0
        for line in content.splitlines(keepends=True):
            record = _parse(line)
            if record is None:
                break
            batch.append(record)
            end += len(line)
            if record.left == 0:
                self.records.update((record.id, record) for record in batch)
                batch, whole = [], end
        if whole < len(content):
            os.truncate(self.path, whole)


def read_records(path: Path) -> Iterator[Record]:
    """The records of a ledger in the order written; a torn last line is left out."""
    try:
        with path.open("rb") as file:
            for line in file:
                record = _parse(line)
                if record is not None:
                    yield record
    except FileNotFoundError:
        return


def latest_records(path: Path) -> dict[str, Record]:
    """What became of each item of a ledger in the end, by its id."""
    return {record.id: record for record in read_records(path)}


def _parse(line: bytes) -> Record | None:
    if not line.endswith(b"\n"):
        return None
    try:
        return Record(**json.loads(line))
    except (ValueError, TypeError):
        return None
