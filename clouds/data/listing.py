"""Image files that a user names: files, folders, patterns. It reads names only, never a file's content."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from clouds.data.images import IMAGE_SUFFIXES
from clouds.errors import UsageError

_VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})


def list_images(places: Sequence[Path], leave_out: Path) -> dict[str, Path]:
    """Id -> image file, sorted by id; a file named twice counts once.

    A place is an image file, a folder that is searched to any depth, or a pattern such as `*/left/*.png`; what lies in
    the folder `leave_out` is not found by searching. An id is a file's path below the folder it was found in, without
    suffix, `/` written `__`; where two are equal, all are paths below the folder they share.
    Raises `UsageError` for a place without images, for a video, and for files that cannot be told apart by name.
    """
    found: dict[Path, str] = {}
    for place in places:
        for file, id_ in _images_at(place, leave_out):
            found.setdefault(file, id_)
    if max(Counter(found.values()).values()) > 1:
        shared = Path(os.path.commonpath([file.parent for file in found]))
        found = {file: _id(file, shared) for file in found}
    by_id: dict[str, Path] = {}
    for file, id_ in found.items():
        if by_id.setdefault(id_, file) != file:
            raise UsageError(f"{by_id[id_]} and {file} would both be called {id_!r}", "rename one of them")
    return dict(sorted(by_id.items()))


def _images_at(place: Path, leave_out: Path) -> Iterator[tuple[Path, str]]:
    if place.is_dir():
        files = list(_walk(place, leave_out))
        if not files:
            raise UsageError(f"images {place}: no files of kind {', '.join(sorted(IMAGE_SUFFIXES))} in this folder")
        yield from ((file, _id(file, place)) for file in files)
    elif place.exists():
        _check_kind(place)
        yield place, place.stem
    elif glob.has_magic(str(place)):
        paths = (Path(name) for name in glob.iglob(str(place), recursive=True))
        images = [path for path in paths if _is_image(path) and path.is_file() and leave_out not in path.parents]
        if not images:
            raise UsageError(f"images {place}: no image file fits this pattern")
        yield from ((path, path.stem) for path in images)
    else:
        raise UsageError(f"images {place}: no such file or folder", "give image files, folders of them, or patterns")


def _walk(folder: Path, leave_out: Path) -> Iterator[Path]:
    """The image files in a folder, to any depth; linked folders are followed, loops and hidden ones are not."""
    seen: set[str] = set()
    for parent, subfolders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen or Path(parent) == leave_out:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        yield from (path for name in names if _is_image(path := Path(parent, name)))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _check_kind(file: Path) -> None:
    suffix = file.suffix.lower()
    if suffix in _VIDEO_SUFFIXES:
        raise UsageError(
            f"images {file}: a video file; frames are read as images",
            f"take it apart first: mkdir frames && ffmpeg -i {file.name} frames/%06d.png; then give the folder frames",
        )
    if suffix not in IMAGE_SUFFIXES:
        raise UsageError(f"images {file}: not of a known kind ({', '.join(sorted(IMAGE_SUFFIXES))})")


def _id(file: Path, folder: Path) -> str:
    return "__".join(file.relative_to(folder).with_suffix("").parts)
