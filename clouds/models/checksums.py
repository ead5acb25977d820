"""The files of a folder with their sizes and hashes, and whether they still are what they were. It knows no model."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CHECKSUMS = "checksums.json"
"""The file in a folder that lists the others."""

_CHUNK_BYTES = 1 << 20


def file_sha256(file: Path) -> str:
    """The hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_checksums(folder: Path, names: list[str]) -> None:
    """List these files of a folder, given by their paths from it, with size in bytes and SHA-256."""
    listed = {name: {"size": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)} for name in names}
    (folder / CHECKSUMS).write_text(json.dumps({"files": listed}, indent=1) + "\n", encoding="utf-8")


def listed_files(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Size and hash of each file that the folder's list names. Raises `ValueError` for a list that cannot be read."""
    try:
        files = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))["files"]
        return {str(name): {"size": int(one["size"]), "sha256": str(one["sha256"])} for name, one in files.items()}
    except OSError as error:
        raise ValueError(f"{CHECKSUMS}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{CHECKSUMS} is damaged") from error


def find_damage(folder: Path, sha256: Callable[[Path], str] = file_sha256) -> str:
    """Which file is missing or not what the folder's list says, and how it differs; empty when all are intact.

    All sizes are compared before the first hash is computed.
    """
    try:
        listed = listed_files(folder)
    except ValueError as error:
        return str(error)
    for name, one in listed.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        size = (folder / name).stat().st_size
        if size != one["size"]:
            return f"{name} has {size} bytes, not {one['size']}"
    altered = (name for name, one in listed.items() if sha256(folder / name) != one["sha256"])
    return next((f"{name} is not what was written (its SHA-256 differs)" for name in altered), "")
