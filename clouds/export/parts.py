"""How an export is cut: which split an image is in, and which images are written together. It writes nothing.

A part is the unit of work and of progress: it is written by one process, and counts once it is whole. Its bounds
depend on the artifact and on what was asked for, never on the number of processes or on where an export was stopped.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clouds.errors import CloudsError, InputError, UsageError
from clouds.export.images import LabelledImages, Sample

VALIDATION = "val"
"""The name of the split that `--val-share` makes."""

TREE_ITEMS = 64
"""Images in a part, where each image is files of its own."""

SHARD_ITEMS = 10_000
"""Images in a part at most, where a part is one file."""

# what a sample takes in a shard besides its two files: names, metadata
_OVERHEAD = 4096
_SHOWN = 3


@dataclass(frozen=True)
class Splits:
    """The name of the split, and the share of the images that becomes the split `val` instead."""

    name: str = "train"
    val_share: float = 0.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w+", self.name, re.ASCII):
            raise UsageError(f"--split {self.name!r}: no name for a split", "use letters, digits and '_'")
        if not 0 <= self.val_share < 1:
            raise UsageError(f"--val-share {self.val_share}: no share", "give a number from 0 to below 1, such as 0.1")
        if self.val_share and self.name == VALIDATION:
            raise UsageError(f"--split {VALIDATION} with --val-share: both would be named {VALIDATION}", "drop one")

    @property
    def names(self) -> tuple[str, ...]:
        """The splits there can be, the first one first."""
        return (self.name, VALIDATION) if self.val_share else (self.name,)

    def of(self, item: str) -> str:
        """The split of an item: it depends on the item's id alone."""
        return VALIDATION if _hash(item) < self.val_share * 2**64 else self.name


@dataclass(frozen=True)
class Part:
    """Images of one split that are written together; `number` counts the split's parts from 0."""

    split: str
    number: int
    samples: tuple[Sample, ...]

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05d}"


@dataclass(frozen=True)
class Bounds:
    """How much a part holds at most; `bytes` None: its files' sizes do not count."""

    items: int
    bytes: int | None = None


def parts_of(images: LabelledImages, splits: Splits, bounds: Bounds) -> Iterator[Part]:
    """The parts of every split; one unfinished part of each is in memory."""
    open_: dict[str, list[Sample]] = {name: [] for name in splits.names}
    sizes = dict.fromkeys(splits.names, 0)
    numbers = dict.fromkeys(splits.names, 0)
    for sample in images.samples():
        split = splits.of(sample.id)
        size = 0 if bounds.bytes is None else _size(sample)
        full = bounds.bytes is not None and sizes[split] + size > bounds.bytes
        if open_[split] and (full or len(open_[split]) >= bounds.items):
            yield Part(split, numbers[split], tuple(open_[split]))
            open_[split], sizes[split], numbers[split] = [], 0, numbers[split] + 1
        open_[split].append(sample)
        sizes[split] += size
    for split, samples in open_.items():
        if samples:
            yield Part(split, numbers[split], tuple(samples))


def part_order(name: str) -> tuple[str, int]:
    """What parts are sorted by, from their names."""
    split, _, number = name.rpartition("-")
    return split, int(number)


def survey(images: LabelledImages, splits: Splits) -> dict[str, int]:
    """How many images each split has, once every file is known to be there and every id to be unique.

    Eight bytes an image stay in memory. Raises `InputError` that counts the missing files and names the first.
    """
    counts = dict.fromkeys(splits.names, 0)
    hashes = np.zeros(images.total, np.uint64)
    missing: list[str] = []
    absent = 0
    for number, place in enumerate(images.places()):
        counts[splits.of(place.id)] += 1
        hashes[number] = _hash(place.id)
        for path in (place.image, place.mask):
            if not path.is_file():
                absent += 1
                missing += [str(path)] if absent <= _SHOWN else []
    if absent:
        more = f" and {absent - _SHOWN} more" if absent > _SHOWN else ""
        raise InputError(
            f"{images.artifact.folder}: {absent} of its files are missing: {', '.join(missing)}{more}",
            "put them back, or make the stage they belong to anew with `clouds run RUN --force STAGE`",
        )
    if len(np.unique(hashes)) != len(hashes):
        raise CloudsError(
            f"{images.artifact.folder}: an item id comes twice; exported files are named by it",
            "export an artifact whose ids are unique",
        )
    return {name: count for name, count in counts.items() if count}


def _hash(item: str) -> int:
    return int.from_bytes(hashlib.blake2b(item.encode("utf-8"), digest_size=8).digest(), "big")


def _size(sample: Sample) -> int:
    return sample.place.image.stat().st_size + sample.place.mask.stat().st_size + _OVERHEAD
