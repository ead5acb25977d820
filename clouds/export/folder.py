"""The folder of an export: whose it is, what was asked for, and how far it has come. It knows no format.

OUT/export.json             what was asked for; once everything is there, `complete` and the `names` beside it
OUT/.export/parts.jsonl     a record per part that is whole; gone when the export is complete
OUT/.export/notes/          what the parts add to the indexes; gone when the export is complete
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clouds import __version__
from clouds.engine.artifact import DESCRIPTION as STAGE
from clouds.engine.atomic import read_json, write_json
from clouds.engine.ledger import DONE, Ledger, Record
from clouds.engine.lock import hold, holder
from clouds.errors import CloudsError, UsageError
from clouds.export.files import WORK
from clouds.replacing import is_scratch

DESCRIPTION = "export.json"
_PARTS = "parts.jsonl"
_OWN = {DESCRIPTION, WORK}
_OTHER = "name another folder with --out"

Row = dict[str, Any]


class ExportFolder:
    """The folder that an export is written to; `request` is everything that can change what is in it."""

    def __init__(self, out: Path, request: Mapping[str, Any]) -> None:
        self.out = out
        self.work = out / WORK
        self._request = dict(request)

    @property
    def complete(self) -> bool:
        """Whether it holds what was asked for, whole."""
        return bool(self._description().get("complete"))

    @property
    def summary(self) -> Row:
        """What is on record of a complete export besides the request."""
        found: Row = self._description().get("summary", {})
        return found

    def check(self, *, force: bool) -> None:
        """Raise `UsageError` where the folder holds anything but this export, begun or complete.

        With `force` another export may be there; what no export made never may, nor may a complete one lack anything.
        """
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"--out {self.out}: is a file", _OTHER)
        stage = next((parent for parent in self.out.parents if (parent / STAGE).exists()), None)
        if stage is not None:
            raise UsageError(f"--out {self.out}: lies in the artifact {stage}, which is not to change", _OTHER)
        content = self._description()
        if not content and self.out.exists() and not all(map(_is_from_before, self.out.iterdir())):
            raise UsageError(f"--out {self.out}: is not empty, and not an export of this tool", _OTHER)
        former = content.get("request")
        if former is not None and former != self._request and not force:
            raise UsageError(
                f"--out {self.out}: holds another export: {_difference(former, self._request)}",
                f"{_OTHER}, or discard what is there with --force",
            )

        self._check_names(content, force=force)

    def _check_names(self, content: Row, *, force: bool) -> None:
        """What lies in the folder is what the export there wrote, where that is on record and matters."""
        if "names" not in content:
            return
        made, found = set(content["names"]), {path.name for path in self.out.iterdir()}
        foreign = sorted(found - made - _OWN)
        if foreign and force:
            raise UsageError(f"--out {self.out}: {foreign[0]} is in it, which no export made", f"move it, or {_OTHER}")
        gone = sorted(made - found)
        if gone and not force:
            raise UsageError(f"--out {self.out}: {gone[0]} of the export is gone", "make it anew with --force")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for the length of the block. Raises `CloudsError` where a live export holds it."""
        try:
            self.work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--out {self.out}: {error.strerror or error}", _OTHER) from error
        at_work = holder(self.work)
        if at_work is not None:
            raise CloudsError(
                f"--out {self.out}: process {at_work['pid']} on {at_work['host']} exports to it, "
                f"since {at_work['since']}",
                f"wait for it, stop it, or {_OTHER}",
            )
        with hold(self.work):
            yield

    def begin(self, *, force: bool) -> Ledger:
        """The records of the parts that are whole; with `force` everything is discarded first."""
        content = self._description()
        if content.get("discarding") or (force and content):
            self._discard()
        if not self._description():
            write_json(self.out / DESCRIPTION, {"clouds": __version__, "request": self._request, "complete": False})
        # files in the making of processes that were killed
        shutil.rmtree(self.work / "scratch", ignore_errors=True)
        return Ledger(self.work / _PARTS)

    def done(self, ledger: Ledger) -> dict[str, Row]:
        """What is on record of each part that is whole, by its name."""
        return {record.id: record.row for record in ledger.records.values() if record.status == DONE}

    def record(self, ledger: Ledger, part: str, row: Row) -> None:
        """Remember that a part is whole: its files are on disk already."""
        ledger.append([Record(part, DONE, row=row)])

    def end(self, summary: Row) -> None:
        """Say that everything is there."""
        names = sorted({path.name for path in self.out.iterdir()} - _OWN)
        content = {
            "clouds": __version__,
            "request": self._request,
            "complete": True,
            "names": names,
            "summary": summary,
        }
        write_json(self.out / DESCRIPTION, content)

    def clear(self) -> None:
        """Remove what a complete export does not need."""
        if self.complete:
            shutil.rmtree(self.work, ignore_errors=True)

    def _description(self) -> Row:
        content = read_json(self.out / DESCRIPTION)
        return content if isinstance(content, dict) and {"clouds", "complete"} <= content.keys() else {}

    def _discard(self) -> None:
        """Delete what is there; a crash on the way leaves a note that nothing here counts."""
        write_json(self.out / DESCRIPTION, {"clouds": __version__, "discarding": True, "complete": False})
        for path in self.out.iterdir():
            if path.name in _OWN:
                continue
            _remove(path)
        # the holder's file stays: this process is the holder
        for name in ("notes", "scratch", _PARTS):
            _remove(self.work / name)
        (self.out / DESCRIPTION).unlink()


def _is_from_before(path: Path) -> bool:
    """Whether a process leaves it that was killed before it could say what the folder is."""
    return path.name == WORK or is_scratch(path.name, DESCRIPTION)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _difference(former: Mapping[str, Any], request: Mapping[str, Any]) -> str:
    """The first value of the request that another export had otherwise."""
    for key in (*request, *former):
        if former.get(key) != request.get(key):
            return f"{key} was {former.get(key)!r}, now {request.get(key)!r}"
    return "its request differs"
