"""Draws that favour images with rare classes, after counting once which image holds what. It knows no model.

DAFormer's rare class sampling (arXiv 2111.14887, section 3.3). Counts lie in chunks in the training's folder: an
interrupted count goes on, several processes share it, and whoever reads them gets the same draws.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from clouds.data.samples import Dataset
from clouds.engine.atomic import read_json, write_atomic
from clouds.engine.runtime import Runtime
from clouds.errors import CloudsError, InputError, UsageError
from clouds.training.settings import RareClassConfig

Pixels: TypeAlias = NDArray[np.uint32]

_CHUNK = 1000

Entry = list[list[int]] | str
"""Of one image: [class, pixels] of each class in it, or why its labels cannot be read."""


@dataclass(frozen=True, eq=False)
class RareClasses:
    """The images of a data set by the classes they hold, and how often each class is drawn."""

    classes: NDArray[np.int64]
    """The ids of the classes that an image holds."""
    share: NDArray[np.float64]
    """Of each of them, how often it is drawn; they add up to 1."""
    images: Sequence[NDArray[np.int64]]
    """Of each of them, the indices of the images that hold it."""
    min_crop_pixels: int
    """What a crop should have of the class it was drawn for."""

    def draw_class(self, rng: np.random.Generator) -> int:
        """A class, by its position in `classes`."""
        return int(rng.choice(len(self.classes), p=self.share))

    def draw_image(self, position: int, rng: np.random.Generator) -> int:
        """The index of an image that holds a class, each as likely as any other."""
        return int(rng.choice(self.images[position]))


def rare_classes(pixels_NK: Pixels, config: RareClassConfig, where: str) -> RareClasses:
    """The table for draws, from the pixels of each class in each image.

    A class that no image holds enough pixels of is never drawn; its pixels count in the shares of the others.
    Raises `UsageError`, naming the data set by `where`, when there is none left.
    """
    held_NK = pixels_NK >= config.min_pixels
    classes = np.flatnonzero(held_NK.any(axis=0))
    if not len(classes):
        raise UsageError(
            f"{where}: no image holds {config.min_pixels} pixels of a class ('rare_classes.min_pixels'); the most are "
            f"{int(pixels_NK.max(initial=0))}",
            "lower it: the published value is meant for images of 1914 x 1052 pixels",
        )
    total_K = pixels_NK.sum(axis=0, dtype=np.int64)
    rarity = (1 - total_K[classes] / total_K.sum()) / config.temperature
    weight = np.exp(rarity - rarity.max())
    images = [np.flatnonzero(held_NK[:, class_id]) for class_id in classes]
    return RareClasses(classes, weight / weight.sum(), images, config.min_crop_pixels)


@dataclass(frozen=True, kw_only=True)
class ClassCounter:
    """Counts the pixels of each class in the labels of data sets; `folder` keeps what is counted."""

    folder: Path
    runtime: Runtime
    num_classes: int
    max_failures: int

    def count(self, dataset: Dataset) -> tuple[Pixels, list[str]]:
        """uint32 (N, K): how many pixels of each class each image has, none where its labels cannot be read; and those.

        Every process counts its share of the chunks that are not there yet. Memory holds the result and a chunk.
        Raises `CloudsError` when more labels than the budget cannot be read.
        """
        size, runtime = len(dataset.ids), self.runtime
        chunks = [range(start, min(start + _CHUNK, size)) for start in range(0, size, _CHUNK)]
        for number, chunk in enumerate(chunks):
            if number % runtime.world_size == runtime.rank and read_json(self._file(dataset, number)) is None:
                self._count_chunk(dataset, number, chunk)
        runtime.wait()
        pixels_NK, unread = np.zeros((size, self.num_classes), np.uint32), []
        for number, chunk in enumerate(chunks):
            for index, entry in zip(chunk, self._entries(dataset, number), strict=True):
                if isinstance(entry, str):
                    unread.append(f"{dataset.name}/{dataset.ids[index]}: {entry}")
                else:
                    for class_id, pixels in entry:
                        pixels_NK[index, class_id] = pixels
        self._check_budget(dataset, len(chunks), unread)
        return pixels_NK, unread

    def _count_chunk(self, dataset: Dataset, number: int, chunk: range) -> None:
        counts = _ImageCounts(dataset, self.num_classes)
        loader = DataLoader(counts, batch_size=None, sampler=list(chunk), num_workers=self.runtime.config.workers)
        file = self._file(dataset, number)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(list(loader)))

    def _entries(self, dataset: Dataset, number: int) -> list[Entry]:
        entries: list[Entry] = json.loads(self._file(dataset, number).read_text(encoding="utf-8"))
        return entries

    def _file(self, dataset: Dataset, number: int) -> Path:
        return self.folder / dataset.name / f"{number:05d}.json"

    def _check_budget(self, dataset: Dataset, chunks: int, unread: Sequence[str]) -> None:
        if len(unread) <= self.max_failures:
            return
        self.runtime.wait()
        for number in range(chunks) if self.runtime.is_main else ():
            if any(isinstance(entry, str) for entry in self._entries(dataset, number)):
                # so that the same command counts them again, once they are mended
                self._file(dataset, number).unlink()
        raise CloudsError(
            f"the labels of {len(unread)} training images cannot be used, more than the budget of "
            f"{self.max_failures} ('max_failures'); the first: {unread[0]}",
            "mend the files and run the same command",
        )


class _ImageCounts(TorchDataset[Entry]):
    """What each image's labels hold; in place of an error, which would stop the reading, its message."""

    def __init__(self, dataset: Dataset, num_classes: int) -> None:
        self.dataset, self.num_classes = dataset, num_classes

    def __getitem__(self, index: int) -> Entry:
        try:
            labels_HW = self.dataset.labels(index)
        except InputError as error:
            return error.message
        counts_K = np.bincount(labels_HW.ravel(), minlength=self.num_classes)[: self.num_classes]
        return [[int(class_id), int(counts_K[class_id])] for class_id in np.flatnonzero(counts_K)]
