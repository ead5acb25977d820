"""Finds image and label files by name, and pairs them by id. It reads lists of names, never an image.

An id is the path below the folder, without suffix, `/` written `__`; of a pattern such as `*/images/*.png`, the parts
that its wildcards match. What is wrong with the folders as a whole is a `CloudsError`.
"""

import glob
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from clouds.data.images import IMAGE_SUFFIXES
from clouds.errors import CloudsError, nearest

# how many entries of a list an error shows
_SHOWN = 5


def find_files(what: str, root: Path, place: str, name_suffix: str, file_suffixes: Collection[str]) -> dict[str, str]:
    """Id -> file, of the files of these kinds at a place: a folder, searched to any depth, or a pattern.

    `what` names the place in errors. Raises `CloudsError` for a missing folder, none found, two files of one id.
    """
    check_folder(what, base_of(root, place))
    found = look_for(what, root, place, name_suffix, file_suffixes)
    if not found:
        ending = f" whose names end in {name_suffix!r}" if name_suffix else ""
        base = base_of(root, place)
        raise CloudsError(
            f"{what} = {place!r}: no files of kind {', '.join(sorted(file_suffixes))}{ending} in {base}",
            f"point it at the folder that holds them; found there: {listing(base)}",
        )
    return found


def look_for(what: str, root: Path, place: str, name_suffix: str, file_suffixes: Collection[str]) -> dict[str, str]:
    """As `find_files`, where nothing found is no error."""
    base, pattern = _split(root, place)
    found: dict[str, str] = {}
    for relative in _matching(base, pattern):
        stem, file_suffix = os.path.splitext(os.path.basename(relative))
        if file_suffix.lower() not in file_suffixes or stem.startswith(".") or not stem.endswith(name_suffix):
            continue
        id_ = _id([*relative.split(os.sep)[:-1], stem.removesuffix(name_suffix)], pattern)
        path = os.path.join(base, relative)
        if found.setdefault(id_, path) != path:
            raise CloudsError(f"{what}: {found[id_]} and {path} both give the id {id_!r}", "rename one of them")
    return found


def base_of(root: Path, place: str) -> Path:
    """The folder in which a place begins: all of it, or what stands before a pattern's first wildcard."""
    return _split(root, place)[0]


def check_folder(what: str, base: Path) -> None:
    """Raise `CloudsError` that says what is there instead, unless the folder exists."""
    if base.is_dir():
        return
    above = next((parent for parent in base.parents if parent.is_dir()), Path(base.anchor))
    raise CloudsError(
        f"{what}: {base} is {'a file, not a folder' if base.exists() else 'missing'}",
        f"correct the path; {above} holds: {listing(above)}",
    )


def check_pairs(
    name: str, ids: Sequence[str], images: Mapping[str, str], labels: Mapping[str, str], mend: str = ""
) -> None:
    """Raise `CloudsError` that counts and shows the images without a label file; `mend` replaces the advice."""
    lacking = [id_ for id_ in ids if id_ not in labels]
    if lacking:
        shown = ", ".join(images[id_] for id_ in lacking[:_SHOWN])
        raise CloudsError(
            f"data set {name!r}: {len(lacking)} of {len(ids)} images have no label file, such as {shown}",
            mend
            or f"add the label (such as {lacking[0].replace('__', '/')}*.png), take the image out, or set "
            f"`image_suffix` and `label_suffix`; label files found: {', '.join(sorted(labels.values())[:2])}",
        )


def listed(what: str, names_file: Path, images: Mapping[str, str], name_suffix: str) -> list[str]:
    """The ids that a file of names lists, sorted.

    A line names an image by its file name or by any end of its path, with or without its suffix; of two columns, as in
    many published lists, the first counts. Blank lines and those that begin with `#` are passed over. Raises
    `CloudsError` for a file that cannot be read, a name of no image and a name of several.
    """
    try:
        lines = [line.strip() for line in names_file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise CloudsError(f"{what}: {names_file}: {error}", "give a text file with one name a line") from error
    ids_by_end = _ids_by_end(images, name_suffix)
    found, unknown = set(), []
    for line in (line for line in lines if line and not line.startswith("#")):
        # a name may hold blanks: the whole line is tried first
        matches = ids_by_end.get(_bare(line, name_suffix)) or ids_by_end.get(_bare(line.split()[0], name_suffix))
        if matches is None:
            unknown.append(line)
        elif len(matches) > 1:
            raise CloudsError(f"{what}: {line!r} in {names_file} names {len(matches)} images", "give more of its path")
        else:
            found.add(matches[0])
    if not found and not unknown:
        raise CloudsError(f"{what}: {names_file} lists no names", "give at least one")
    if unknown:
        known = [_bare(os.path.basename(path), name_suffix) for path in images.values()]
        raise CloudsError(
            f"{what}: {names_file} lists {len(unknown)} names of no image, such as {unknown[0]!r}",
            nearest(_bare(os.path.basename(unknown[0]), name_suffix), known, shown=_SHOWN),
        )
    return sorted(found)


def listing(folder: Path) -> str:
    """What a folder holds, in words."""
    try:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(folder))
    except OSError as error:
        return f"({error.strerror})"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "nothing"


def _split(root: Path, place: str) -> tuple[Path, tuple[str, ...]]:
    """A place as the folder it begins in and the parts of its pattern."""
    parts = PurePath(place).parts
    fixed = next((count for count, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return root.joinpath(*parts[:fixed]), parts[fixed:]


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


def _ids_by_end(images: Mapping[str, str], name_suffix: str) -> dict[str, list[str]]:
    """Every end of an image's path, bare of suffixes -> the ids of the images whose path ends so."""
    ids: dict[str, list[str]] = defaultdict(list)
    for id_, path in images.items():
        parts = _bare(path, name_suffix).split("/")
        for start in range(len(parts)):
            ids["/".join(parts[start:])].append(id_)
    return ids


def _bare(name: str, name_suffix: str) -> str:
    """A path with `/` between its parts, without the file suffix, where there is one, and without the name's own."""
    path = PurePath(name.replace("\\", "/").removeprefix("./").strip("/"))
    # a point may be part of the name, as in `frame.0001`
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    return path.with_name(stem.removesuffix(name_suffix) or stem).as_posix()
