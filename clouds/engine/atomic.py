"""Files and folders that are complete under their final name, or not there. It does not know what they hold."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clouds.replacing import replacing, sync_folder


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


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of a value as indented JSON, keys in their order: the same value, the same bytes."""
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file, or None where the file is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


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
