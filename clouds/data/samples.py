"""What every data set offers. It does not know where images come from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Dataset(Protocol):
    """Images with labels, one per id; images may differ in size. Nothing is decoded before it is asked for."""

    @property
    def name(self) -> str:
        """The name of the set in its run."""

    @property
    def ids(self) -> Sequence[str]:
        """One id per item, unique and usable as a file name; its position is the item's index."""

    @property
    def labelled(self) -> bool:
        """Whether there are labels at all."""

    @property
    def unmatched(self) -> Sequence[str]:
        """Classes of the set's own that no class of the run stands for, and nobody said to ignore."""

    def image(self, index: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB. Raises `InputError` when this item's file is unusable."""

    def labels(self, index: int) -> NDArray[np.uint8]:
        """uint8 [H, W], the image's size: class ids of the run's label map, 255 ignore.

        Raises `InputError` when this item's labels are unusable or there are none.
        """

    def stamp(self, index: int) -> str:
        """What changes when the item's files do, told without reading them; "" when its content cannot change."""

    def identity(self) -> Mapping[str, Any]:
        """What can change the items besides their ids and files, ready for JSON."""


def data_stamp(datasets: Mapping[str, Dataset]) -> Iterator[str]:
    """What changes when any file of the data sets does, piece by piece; no file is read."""
    for name, dataset in datasets.items():
        yield name
        for index, item in enumerate(dataset.ids):
            yield f"{item} {dataset.stamp(index)}"
