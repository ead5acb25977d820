"""Rows of an index, noted part by part and read back in order: an index is never in memory. It knows no row's meaning.

Parts are written by several processes and in no fixed order; each part's rows lie in a file of their own until the
export is put together.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any


def notes_file(work: Path, index: str, part: str) -> Path:
    """Where the rows that one part adds to an index lie."""
    return work / "notes" / index / f"{part}.jsonl"


def write_note(file: IO[str], row: Mapping[str, Any]) -> None:
    """One row, as a line of JSON."""
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


class Notes:
    """The rows of all parts of an export; `parts` are their names, in order."""

    def __init__(self, work: Path, parts: Iterable[str]) -> None:
        self._work = work
        self._parts = list(parts)

    def lines(self, index: str, split: str) -> Iterator[str]:
        """The rows of an index that the parts of a split added, each as one line of JSON, in order."""
        for part in self._parts:
            path = notes_file(self._work, index, part)
            if part.rpartition("-")[0] == split and path.exists():
                with path.open(encoding="utf-8") as file:
                    yield from (line.rstrip("\n") for line in file)
