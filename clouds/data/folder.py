"""A folder of images, with a folder of labels beside it, as a data set. It reads names only, never a file's content.

What is wrong with the folders as a whole is a `CloudsError` when the data set is opened; what is wrong with one file
is an `InputError` when that item is read.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from clouds.config import ConfigModel, ConfigPath
from clouds.data.images import IMAGE_SUFFIXES, LABEL_SUFFIXES
from clouds.data.label_maps import CLASS_LISTS
from clouds.data.labels import IGNORE, LabelLookup, LabelMap
from clouds.data.paired import PairedFiles
from clouds.errors import CloudsError, UsageError, nearest

# how many entries of a list an error shows
_SHOWN = 5


def _numbered(value: Any) -> Any:
    if isinstance(value, str):
        if value not in CLASS_LISTS:
            raise ValueError(f"no class list is named {value!r}; {nearest(value, CLASS_LISTS)}")
        value = CLASS_LISTS[value]
    return dict(enumerate(value)) if isinstance(value, (list, tuple)) else value


ClassNames = Annotated[dict[int, str], BeforeValidator(_numbered)]
"""Stored id -> class name; in YAML also a list in the order of ids, or the name of a known list."""

Count = Annotated[int, Field(ge=1)]


class FolderConfig(ConfigModel):
    """A folder of images, with or without labels."""

    type: Literal["folder"] = "folder"
    """The kind of data set."""
    root: ConfigPath | None = None
    """The folder that `images` and `labels` start from; none: the table's `root`."""
    images: str = "images"
    """The sub-folder of the images, searched to any depth; or a pattern such as `*/images/*.png`."""
    labels: str | None = "labels"
    """The sub-folder or pattern of the label files, paired with the images by name; none: there are no labels."""
    image_suffix: str = ""
    """The end of image names that label names do not share, such as `_leftImg8bit`; files without it do not count."""
    label_suffix: str = ""
    """The end of label names that image names do not share, such as `_gtFine_labelIds`."""
    classes: ClassNames | None = None
    """The classes by the ids in the label files: a list, a mapping, or a known list; none: the run's own."""
    map: dict[str, str | None] = Field(default={})
    """Which class of the run stands for a class of this set, where the names do not tell; null or `ignore`: none."""
    ignore: tuple[int, ...] = (IGNORE,)
    """Further ids in the label files that stand for no class."""
    limit: Count | None = None
    """Take only so many items, the first by id."""
    resize: tuple[Count, Count] | None = None
    """Bring every image and its labels to this (height, width)."""


def open_folder(name: str, config: FolderConfig, label_map: LabelMap) -> PairedFiles:
    """The pairs of a folder data set, sorted by id: the path below the folder, without suffix, `/` written `__`.

    Raises `CloudsError` for missing folders, no images, images without labels, two files of one id; `UsageError` for
    class names that cannot be matched.
    """
    if config.root is None:
        raise UsageError(f"data set {name!r} has no `root`", "set its `root`, or `data.root` for all sets")
    lookup = _lookup(f"data set {name!r}", config, label_map)
    images = _find(f"data set {name!r}: `images`", config.root, config.images, config.image_suffix, IMAGE_SUFFIXES)
    ids = sorted(images)
    labels = None
    if config.labels is not None:
        labels = _find(f"data set {name!r}: `labels`", config.root, config.labels, config.label_suffix, LABEL_SUFFIXES)
        _check_pairs(name, ids, images, labels)
    ids = ids[: config.limit]
    return PairedFiles(
        name=name,
        ids=ids,
        images_at=[images[id_] for id_ in ids],
        labels_at=None if labels is None else [labels[id_] for id_ in ids],
        lookup=lookup,
        resize=config.resize,
    )


def _lookup(where: str, config: FolderConfig, label_map: LabelMap) -> LabelLookup:
    if config.classes is None and config.map:
        raise UsageError(f"{where}: `map` is given without `classes`", "list the classes of its label files")
    names = label_map.id2label if config.classes is None else config.classes
    return label_map.match(names, config.map, config.ignore, where)


def _find(what: str, root: Path, place: str, name_suffix: str, file_suffixes: frozenset[str]) -> dict[str, str]:
    """Id -> file, of the files of these kinds at a place. `what` names the place in errors."""
    parts = PurePath(place).parts
    fixed = next((count for count, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    base, pattern = root.joinpath(*parts[:fixed]), parts[fixed:]
    _check_folder(what, base)
    found: dict[str, str] = {}
    for relative in _matching(base, pattern):
        stem, file_suffix = os.path.splitext(os.path.basename(relative))
        if file_suffix.lower() not in file_suffixes or stem.startswith(".") or not stem.endswith(name_suffix):
            continue
        id_ = _id([*relative.split(os.sep)[:-1], stem.removesuffix(name_suffix)], pattern)
        path = os.path.join(base, relative)
        if found.setdefault(id_, path) != path:
            raise CloudsError(f"{what}: {found[id_]} and {path} both give the id {id_!r}", "rename one of them")
    if not found:
        ending = f" whose names end in {name_suffix!r}" if name_suffix else ""
        raise CloudsError(
            f"{what} = {place!r}: no files of kind {', '.join(sorted(file_suffixes))}{ending} in {base}",
            f"point it at the folder that holds them; found there: {_listing(base)}",
        )
    return found


def _matching(base: Path, pattern: Sequence[str]) -> Iterator[str]:
    """The paths, relative to the base, of files that match the pattern; of all files where there is none."""
    if pattern:
        yield from glob.iglob(os.path.join(*pattern), root_dir=base, recursive=True)
        return
    for folder, subfolders, files in os.walk(base, followlinks=True):
        subfolders[:] = [sub for sub in subfolders if not _leads_back(folder, sub)]
        below = os.path.relpath(folder, base)
        yield from files if below == os.curdir else (os.path.join(below, file) for file in files)


def _leads_back(folder: str, sub: str) -> bool:
    """Whether a subfolder is a link to a folder that holds it, which a walk would follow for ever."""
    path = os.path.join(folder, sub)
    return os.path.islink(path) and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(path))


def _id(parts: Sequence[str], pattern: Sequence[str]) -> str:
    """The id of a file by the parts of its path, less those that the pattern spells out."""
    if not pattern:
        return "__".join(parts)
    # a `**` stands for any number of parts: align what is before the first from the front, after the last from the back
    deep = [position for position, piece in enumerate(pattern) if piece == "**"]
    head, tail = (deep[0], len(pattern) - 1 - deep[-1]) if deep else (len(pattern), 0)
    pieces = [*pattern[:head], *["**"] * (len(parts) - head - tail), *pattern[len(pattern) - tail :]]
    return "__".join(part for part, piece in zip(parts, pieces, strict=True) if glob.has_magic(piece))


def _check_folder(what: str, base: Path) -> None:
    if base.is_dir():
        return
    nearest = next((parent for parent in base.parents if parent.is_dir()), Path(base.anchor))
    raise CloudsError(
        f"{what}: {base} is {'a file, not a folder' if base.exists() else 'missing'}",
        f"correct the path; {nearest} holds: {_listing(nearest)}",
    )


def _check_pairs(name: str, ids: Sequence[str], images: dict[str, str], labels: dict[str, str]) -> None:
    lacking = [id_ for id_ in ids if id_ not in labels]
    if lacking:
        shown = ", ".join(images[id_] for id_ in lacking[:_SHOWN])
        raise CloudsError(
            f"data set {name!r}: {len(lacking)} of {len(ids)} images have no label file, such as {shown}",
            f"add the label (such as {lacking[0].replace('__', '/')}*.png), take the image out, or set `image_suffix` "
            f"and `label_suffix`; label files found: {', '.join(sorted(labels.values())[:2])}",
        )


def _listing(folder: Path) -> str:
    try:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(folder))
    except OSError as error:
        return f"({error.strerror})"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "nothing"
