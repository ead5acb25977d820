"""The files that one part of an export is made of: each appears whole, and all are on disk before the part counts.

It does not know what is in them. A file is made under a name of this process's own in the export's work folder and then
renamed, so that a reader, a restart or a second process never meets half of one.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from clouds.data.images import read_image, write_gray, write_image, write_labels
from clouds.export.notes import notes_file, write_note
from clouds.replacing import sync_folder

try:
    import fcntl
except ImportError:  # a platform without it has no reflinks either
    fcntl = None  # type: ignore[assignment]

WORK = ".export"
"""The folder in an export that holds what is needed only until it is finished."""

# ioctl of Linux that lets two files share their blocks until one of them is written to: btrfs, XFS, bcachefs
_FICLONE = 0x40049409


class PartFiles:
    """Writes below the folder of an export. Leaving the block flushes all to disk; an error leaves no index behind."""

    def __init__(self, out: Path, part: str, *, link: bool = False) -> None:
        self._out = out
        self._part = part
        self._link = link
        self._scratch = out / WORK / "scratch" / f"{part}.{os.getpid()}"
        self._written: list[Path] = []
        self._folders: set[Path] = set()
        self._notes: dict[str, IO[str]] = {}

    def __enter__(self) -> "PartFiles":
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        for file in self._notes.values():
            file.close()
        if kind is None:
            for index in self._notes:
                self._rename(self._note_scratch(index), notes_file(self._out / WORK, index, self._part))
            self._flush()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def place(self, source: Path, name: str) -> None:
        """The file's bytes under another name: as shared blocks where the file system can, else a copy.

        With `link` it is the same file under a second name, where the file system can.
        """
        target = self._out / name
        if self._link and target.exists() and os.path.samefile(source, target):
            return
        with self._making(name) as scratch:
            if not (self._link and _linked(source, scratch)):
                _copy(source, scratch)

    def place_png(self, source: Path, name: str) -> None:
        """As `place` for a PNG; of an image in another format, its pixels as PNG."""
        if source.suffix.lower() == ".png":
            self.place(source, name)
            return
        with self._making(name) as scratch:
            write_image(scratch, read_image(source))

    def write_labels(self, name: str, labels_HW: NDArray[np.integer[Any]]) -> None:
        """A single-channel PNG of ids 0..255, without palette."""
        with self._making(name) as scratch:
            write_labels(scratch, labels_HW)

    def write_gray(self, name: str, gray_HW: NDArray[np.uint8]) -> None:
        """A single-channel PNG of values 0..255."""
        with self._making(name) as scratch:
            write_gray(scratch, gray_HW)

    def write_image(self, name: str, image_HWC: NDArray[np.uint8]) -> None:
        """A PNG of uint8 [H, W, 3] RGB."""
        with self._making(name) as scratch:
            write_image(scratch, image_HWC)

    def write_text(self, name: str, text: str) -> None:
        """A text file in UTF-8."""
        with self._making(name) as scratch:
            scratch.write_text(text, encoding="utf-8")

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """A file that appears under its name when the block ends without an error."""
        with self._making(name) as scratch, scratch.open("wb") as file:
            yield file

    def note(self, index: str, row: Mapping[str, Any]) -> None:
        """A row of an index that is put together from all parts in the end: see `Notes`."""
        if index not in self._notes:
            self._notes[index] = self._note_scratch(index).open("w", encoding="utf-8")
        write_note(self._notes[index], row)

    @contextlib.contextmanager
    def _making(self, name: str) -> Iterator[Path]:
        scratch = self._scratch / f"file{Path(name).suffix}"
        scratch.unlink(missing_ok=True)
        yield scratch
        self._rename(scratch, self._out / name)

    def _rename(self, scratch: Path, target: Path) -> None:
        if target.parent not in self._folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(target.parent)
        os.replace(scratch, target)
        self._written.append(target)

    def _note_scratch(self, index: str) -> Path:
        return self._scratch / f"notes-{index}"

    def _flush(self) -> None:
        for path in self._written:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        for folder in self._folders:
            sync_folder(folder)


def _linked(source: Path, target: Path) -> bool:
    """Give a file a second name; whether the file system could."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    if not _reflinked(source, target):
        shutil.copyfile(source, target)


def _reflinked(source: Path, target: Path) -> bool:
    """Make a file that shares another one's blocks; whether the file system could."""
    if fcntl is None:
        return False
    with source.open("rb") as original, target.open("wb") as clone:
        try:
            fcntl.ioctl(clone.fileno(), _FICLONE, original.fileno())
        except OSError:
            return False
    return True
