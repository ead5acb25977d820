"""Files that cost time to make and can be made again, kept in a run's folder. It does not know what they hold.

    FOLDER/<origin>/origin.json      what the files were made with
    FOLDER/<origin>/<ab>/<key>       one file; `ab` begins its key, so that no folder holds a million

A file of another origin is never found. Losing any of them, or all, costs time alone.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clouds.engine.atomic import subfolders, write_atomic, write_json
from clouds.engine.shard import digest

_log = logging.getLogger(__name__)
_ORIGIN = "origin.json"


class FileCache:
    """The files of one origin; `limit` bytes, of which this process may fill its `share` of what was free."""

    def __init__(self, folder: Path, origin: Mapping[str, Any], limit: float, share: float = 1.0) -> None:
        self._folder = folder / digest([json.dumps(origin, sort_keys=True)])
        self._origin = origin
        self._free = (limit - _size(folder)) * share
        self._full = False

    def drop_others(self) -> None:
        """Delete what was made with something else, and say so once. By one process, before any begins its work."""
        for name in subfolders(self._folder.parent):
            if name != self._folder.name:
                _log.warning("%s was made with other weights or settings: made again", self._folder.parent / name)
                freed = _size(self._folder.parent / name)
                shutil.rmtree(self._folder.parent / name)
                self._free += freed

    def get(self, keys: Sequence[str]) -> list[bytes] | None:
        """The content of all these files; None where one of them is not there."""
        try:
            return [self._path(key).read_bytes() for key in keys]
        except OSError:
            return None

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Keep these files, all or none: none once the limit is reached, which is said once."""
        size = sum(map(len, contents.values()))
        if size > self._free:
            if not self._full:
                _log.warning("%s is full: what does not fit is made anew each time", self._folder.parent)
            self._full = True
            return
        self._free -= size
        if not (self._folder / _ORIGIN).exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(self._folder / _ORIGIN, dict(self._origin))
        for key, content in contents.items():
            self._path(key).parent.mkdir(exist_ok=True)
            write_atomic(self._path(key), content)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
