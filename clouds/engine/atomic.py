"""Files and folders that are complete under their final name, or not there. It does not know what they hold."""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

from clouds.engine.process import place, process_start

_SCRATCH = re.compile(r"\.(?P<of>.+)\.(?P<place>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\w+)-[0-9a-f]{8}\.tmp")
# a writer on another machine is dead when its file has not grown for so long
_DEAD_AFTER_SECONDS = 3600.0


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a restart, sees the old content or the new one and nothing between.

    Of several that write it at once the last one to end wins, whole. What a killed one left beside it is removed by
    the next process that writes in the folder.
    """
    write_pieces(path, [content])


def write_pieces(path: Path, pieces: Iterable[bytes | str]) -> None:
    """`write_atomic` of content that comes piece by piece, so that memory need not hold it."""
    with replacing(path) as file:
        for piece in pieces:
            file.write(piece.encode("utf-8") if isinstance(piece, str) else piece)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write `write_atomic`'s content to: it gets the path's name when the block ends, unless that raises."""
    _sweep(path.parent, os.getpid())
    # a name of this one writing: two writers of one file, threads or processes, never share a scratch file
    scratch = path.with_name(f".{path.name}.{_place()}-{os.getpid()}-{process_start(os.getpid())}-{token_hex(4)}.tmp")
    try:
        with scratch.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def is_scratch(name: str, of: str) -> bool:
    """Whether a file's name is one under which a file of the name `of` is, or was, being written."""
    found = _SCRATCH.fullmatch(name)
    # without a writer: as versions before named it
    return name == f".{of}.tmp" or (found is not None and found["of"] == of)


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of a value as indented JSON, keys in their order: the same value, the same bytes."""
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file, or None where the file is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to disk, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below a folder to disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))


def publish_folder(scratch: Path, final: Path) -> None:
    """Give a finished scratch folder its final name: flushed first, so that the name implies the content."""
    sync_tree(scratch)
    final.parent.mkdir(parents=True, exist_ok=True)
    os.rename(scratch, final)
    sync_folder(final.parent)


def subfolders(folder: Path) -> Iterator[str]:
    """Names of the folders directly inside a folder, hidden ones left out, in order; none where it is missing."""
    try:
        with os.scandir(folder) as entries:
            yield from sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except FileNotFoundError:
        return


@cache
def _sweep(folder: Path, process: int) -> None:
    """Remove what killed writers left in a folder: once by each process, since folders may hold many files."""
    try:
        with os.scandir(folder) as entries:
            left = [(entry, found) for entry in entries if (found := _SCRATCH.fullmatch(entry.name)) is not None]
    except OSError:
        # whoever writes there is told
        return
    for entry, found in left:
        # another process may be sweeping, too
        with contextlib.suppress(OSError):
            if _is_dead(found) or time.time() - entry.stat().st_mtime > _DEAD_AFTER_SECONDS:
                os.unlink(entry.path)


def _is_dead(writer: re.Match[str]) -> bool:
    """Whether the process that a scratch file is named for is gone; of one elsewhere, that cannot be told."""
    return writer["place"] == _place() and str(process_start(int(writer["pid"]))) != writer["start"]


@cache
def _place() -> str:
    return hashlib.sha256(repr(place()).encode()).hexdigest()[:8]
