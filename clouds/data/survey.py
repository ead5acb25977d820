"""Looks through the files of a data set: which open, what sizes and class ids they have. It prints nothing.

Only counts are kept, and a few images are open at a time, so that memory does not grow with the data set.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clouds.data.images import read_image
from clouds.data.labels import STORED_IDS, UNKNOWN
from clouds.data.paired import PairedFiles
from clouds.data.samples import Dataset
from clouds.errors import CloudsError, InputError

T = TypeVar("T")
R = TypeVar("R")

_KEPT_FAILURES = 5
_MOST_THREADS = 8


@dataclass
class Look:
    """What was seen of one item; what could not be read is left empty, and named in `errors`."""

    size: tuple[int, int] | None = None
    """(height, width) of the image."""
    stored: Counter[int] = field(default_factory=Counter)
    """Pixels by the id in the label file; empty where there is no file."""
    unknown: Counter[int] = field(default_factory=Counter)
    """Of these, those of ids that no class claims."""
    classes: Counter[int] = field(default_factory=Counter)
    """Pixels by the run's id, 255 ignored."""
    label_file: str = ""
    errors: list[InputError] = field(default_factory=list)


@dataclass(frozen=True)
class UnknownId:
    """An id of no class: how many pixels have it, and the first file that holds it."""

    pixels: int
    first_file: str


@dataclass
class Survey:
    """What was seen of a data set. `problem` says why it could not be opened; then there is nothing else."""

    name: str
    problem: CloudsError | None = None
    count: int = 0
    """How many items it has."""
    looked_at: int = 0
    labelled: bool = False
    unmatched: tuple[str, ...] = ()
    """Its classes that no class of the run stands for, and nobody said to ignore."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Images by (height, width)."""
    stored: Counter[int] = field(default_factory=Counter)
    """Pixels by the id in the label files."""
    classes: Counter[int] = field(default_factory=Counter)
    """Pixels by the run's id, 255 ignored."""
    unknown: dict[int, UnknownId] = field(default_factory=dict)
    """Ids of no class."""
    failed: int = 0
    """Items whose files cannot be used; ids of no class are counted apart."""
    failures: list[InputError] = field(default_factory=list)
    """What is wrong with the first of them."""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None and not self.failed and not self.unknown

    def add(self, look: Look) -> None:
        """Count one item."""
        self.looked_at += 1
        if look.size is not None:
            self.sizes[look.size] += 1
        self.stored += look.stored
        self.classes += look.classes
        for id_, pixels in look.unknown.items():
            before = self.unknown.get(id_, UnknownId(0, look.label_file))
            self.unknown[id_] = UnknownId(before.pixels + pixels, before.first_file)
        self.failed += bool(look.errors)
        self.failures += look.errors[: _KEPT_FAILURES - len(self.failures)]


def survey(dataset: Dataset, indices: Sequence[int], advance: Callable[[], object]) -> Survey:
    """Look at these items of a data set; `advance` is called after each. What is wrong is in the result, not raised."""
    seen = Survey(dataset.name, count=len(dataset.ids), labelled=dataset.labelled, unmatched=tuple(dataset.unmatched))
    for look in _in_threads(lambda index: look_at(dataset, index), indices, _threads_for(dataset)):
        seen.add(look)
        advance()
    return seen


def spread(count: int, items: int | None) -> Sequence[int]:
    """The indices of all of `count` items, or of so many of them, evenly spread from the first."""
    return range(count) if items is None or items >= count else [place * count // items for place in range(items)]


def look_at(dataset: Dataset, index: int) -> Look:
    """One item's files, read in full; the labels are looked at where the image is damaged, too."""
    look = Look()
    try:
        image_HWC = read_image(dataset.images_at[index]) if isinstance(dataset, PairedFiles) else dataset.image(index)
        look.size = (image_HWC.shape[0], image_HWC.shape[1])
    except InputError as error:
        look.errors.append(error)
    if not dataset.labelled:
        return look
    try:
        if isinstance(dataset, PairedFiles) and dataset.labels_at is not None:
            look.label_file = str(dataset.labels_at[index])
            _count_stored(look, dataset, dataset.stored(index))
        else:
            look.classes = _counted(dataset.labels(index))
    except InputError as error:
        # a damaged image also has no size to compare its labels with: that is said once
        if not look.errors:
            look.errors.append(error)
    return look


def _count_stored(look: Look, dataset: PairedFiles, stored_HW: NDArray[np.integer[Any]]) -> None:
    look.stored = _counted(stored_HW)
    ids = np.array(list(look.stored), dtype=np.int64)
    for id_, class_id in zip(ids.tolist(), dataset.lookup.translate(ids).tolist(), strict=True):
        counter = look.unknown if class_id == UNKNOWN else look.classes
        counter[id_ if class_id == UNKNOWN else class_id] += look.stored[id_]


def _counted(ids_HW: NDArray[np.integer[Any]]) -> Counter[int]:
    """Pixels by id."""
    if ids_HW.size and ids_HW.min() >= 0 and ids_HW.max() < STORED_IDS:
        # far faster than sorting
        counts = np.bincount(ids_HW.ravel())
        return Counter({int(id_): int(counts[id_]) for id_ in np.flatnonzero(counts)})
    ids, numbers = np.unique(ids_HW, return_counts=True)
    return Counter(dict(zip(ids.tolist(), numbers.tolist(), strict=True)))


def _threads_for(dataset: Dataset) -> int:
    """Decoding sets Python's lock free, so that threads do; what is rendered keeps it, and a cache besides."""
    return min(_MOST_THREADS, os.cpu_count() or 1) if isinstance(dataset, PairedFiles) else 1


def _in_threads(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """The results in the order of the items; at most two for each thread are under way or waiting."""
    under_way: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                if len(under_way) >= 2 * threads:
                    yield under_way.popleft().result()
                under_way.append(pool.submit(work, item))
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
