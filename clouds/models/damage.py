"""Whether weights on this disk are whole, without loading them. It knows no model and reads no tensor.

A safetensors file's header tells how long the file is; where a `checksums.json` lists the file, its bytes count, too.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from clouds.models.checksums import CHECKSUMS, file_sha256, listed_files

_SUFFIX = ".safetensors"
_LENGTH_BYTES = 8
# of a longer header the format itself says that it is none
_LONGEST_HEADER = 100_000_000


def weights_damage(path: Path) -> list[str]:
    """What is wrong with the safetensors files at or below a path, each named; nothing where all are whole.

    Only headers are read, and whole files where a `checksums.json` beside them, or beside `path`, lists them.
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob(f"*{_SUFFIX}") if file.is_file())
    told = ((file, _of_header(file) or _of_checksum(file, path)) for file in files if file.suffix == _SUFFIX)
    return [f"{file} {wrong}" for file, wrong in told if wrong]


def _of_header(file: Path) -> str:
    """How the length of a file differs from what its header says; empty where it does not."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
            begin = _LENGTH_BYTES + length
            if size < _LENGTH_BYTES or length > _LONGEST_HEADER:
                return "is no safetensors file"
            if begin > size:
                return f"is cut short: it has {size} bytes, its header alone {begin}"
            entries = json.loads(stream.read(length))
        ends = [int(one["data_offsets"][1]) for name, one in entries.items() if name != "__metadata__"]
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "is no safetensors file: its header is damaged"
    wanted = begin + max(ends, default=0)
    if size == wanted:
        return ""
    return f"{'is cut short' if size < wanted else 'is too long'}: it has {size} bytes, its header says {wanted}"


def _of_checksum(file: Path, path: Path) -> str:
    """How a file differs from the nearest list that names it; empty where it does not, or no list does."""
    for folder in _folders(file, path):
        try:
            listed = listed_files(folder).get(file.relative_to(folder).as_posix())
        except ValueError as error:
            return f"cannot be compared with the list beside it: {error}"
        if listed is not None:
            same = file.stat().st_size == listed["size"] and file_sha256(file) == listed["sha256"]
            return "" if same else f"is not what {folder / CHECKSUMS} lists (its size or SHA-256 differs)"
    return ""


def _folders(file: Path, path: Path) -> Iterator[Path]:
    """The folders with a list, from the file's up to the one that `path` lies in."""
    for folder in file.parents:
        if os.path.isfile(folder / CHECKSUMS):
            yield folder
        if folder == path.parent:
            return
