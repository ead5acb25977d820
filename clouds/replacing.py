"""Replaces files: they are complete under their final name, or not there, whoever writes. It knows no format.

What a killed writer left beside a file is removed by the next process that writes in the folder.
"""

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from clouds.process import place, process_start

_SCRATCH = re.compile(r"\.(?P<of>.+)\.(?P<place>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\w+)-[0-9a-f]{8}\.tmp")
# a writer on another machine is dead when its file has not grown for so long
_DEAD_AFTER_SECONDS = 3600.0


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write a path's content to, which gets the path's name when the block ends, unless that raises.

    Of several that write one path at once the last one to end wins, whole.
    """
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


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to disk, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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
            if _is_dead(found, entry):
                os.unlink(entry.path)


def _is_dead(writer: re.Match[str], file: os.DirEntry[str]) -> bool:
    """Whether the process that a scratch file is named for is gone; of one elsewhere, only the file can tell."""
    if writer["place"] == _place():
        # one that lives may have stood still for hours: stopped, or on a machine that slept
        return str(process_start(int(writer["pid"]))) != writer["start"]
    return time.time() - file.stat().st_mtime > _DEAD_AFTER_SECONDS


@cache
def _place() -> str:
    return hashlib.sha256(repr(place()).encode()).hexdigest()[:8]
