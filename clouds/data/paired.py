"""A data set over explicit lists of image and label files. It does not know how the files were found."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clouds.data.codings import reader_stamp, shown_id
from clouds.data.images import LabelReader, image_size, read_image, read_labels
from clouds.data.labels import UNKNOWN, LabelLookup
from clouds.errors import InputError

# how many of a list's entries an error shows
_SHOWN = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class PairedFiles:
    """The data set of `ids`, with the image file and the label file of each; it holds nothing but these lists.

    `labels_at` None: no labels. `lookup` turns stored ids into the run's (`LabelMap.own_lookup()` for files that hold
    the run's ids already), and `read` gives the stored ids of a label file. `resize` (height, width): images bilinear,
    labels nearest; None: as they are.
    """

    name: str
    ids: Sequence[str]
    images_at: Sequence[str | Path]
    labels_at: Sequence[str | Path] | None
    lookup: LabelLookup
    resize: tuple[int, int] | None = None
    read: LabelReader = read_labels

    def __post_init__(self) -> None:
        counts = {len(self.ids), len(self.images_at), len(self.ids if self.labels_at is None else self.labels_at)}
        if len(counts) > 1:
            raise ValueError(f"data set {self.name!r}: ids, images and labels differ in number: {sorted(counts)}")

    @property
    def labelled(self) -> bool:
        """Whether there are labels at all."""
        return self.labels_at is not None

    @property
    def unmatched(self) -> Sequence[str]:
        """Classes of the set's own that no class of the run stands for, and nobody said to ignore."""
        return self.lookup.unmatched

    def image(self, index: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB. Raises `InputError` when the file is unusable."""
        image_HWC = read_image(self.images_at[index])
        return image_HWC if self.resize is None else _resized(image_HWC, self.resize, Image.Resampling.BILINEAR)

    def labels(self, index: int) -> NDArray[np.uint8]:
        """uint8 [H, W]: ids of the run, 255 ignore.

        Raises `InputError` for a file that is unusable, of another size than its image, or holds ids of no class.
        """
        stored_HW = self.stored(index)
        labels_HW = self.lookup.translate(stored_HW)
        unknown_HW = labels_HW == UNKNOWN
        if unknown_HW.any():
            raise self._unknown_ids(self._label_path(index), stored_HW[unknown_HW])
        return labels_HW if self.resize is None else _resized(labels_HW, self.resize, Image.Resampling.NEAREST)

    def stored(self, index: int) -> NDArray[np.integer[Any]]:
        """Integer [H, W]: the ids in the item's label file, as they are.

        Raises `InputError` for a file that is unusable or of another size than its image.
        """
        path = self._label_path(index)
        stored_HW = self.read(path)
        self._check_size(index, path, stored_HW.shape)
        return stored_HW

    def stamp(self, index: int) -> str:
        """The sizes of the item's files: times change with every copy. A file that has gone is stamped "missing"."""
        paths = [self.images_at[index]] if self.labels_at is None else [self.images_at[index], self.labels_at[index]]
        return " ".join(_file_stamp(path) for path in paths)

    def identity(self) -> Mapping[str, Any]:
        """How stored ids are read and become the run's, and the size images are brought to."""
        ids = self.lookup.stamp() if self.labelled else None
        read = {} if self.read is read_labels or not self.labelled else {"read": reader_stamp(self.read)}
        return {"type": "files", "ids": ids, "resize": None if self.resize is None else list(self.resize), **read}

    def _label_path(self, index: int) -> str | Path:
        if self.labels_at is None:
            raise InputError(f"data set {self.name!r} has no labels", "set its `labels` to the folder that holds them")
        return self.labels_at[index]

    def _check_size(self, index: int, path: str | Path, label_size: tuple[int, ...]) -> None:
        size = image_size(self.images_at[index])
        if size != label_size:
            raise InputError(
                f"labels {path} are {label_size[1]}x{label_size[0]} pixels (width x height), "
                f"their image {self.images_at[index]} is {size[1]}x{size[0]}",
                "make both the same size, or take the pair out of the data set",
            )

    def _unknown_ids(self, path: str | Path, stored: NDArray[np.integer[Any]]) -> InputError:
        ids, counts = np.unique(stored, return_counts=True)
        pairs = list(zip(ids.tolist(), counts.tolist(), strict=True))
        shown = ", ".join(f"{shown_id(id_)} ({count} pixels)" for id_, count in pairs[:_SHOWN])
        more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
        return InputError(
            f"labels {path} hold ids that are no class of data set {self.name!r}: {shown}{more}",
            "name them in its `classes`, list them in its `ignore`, or mend the file",
        )


def _resized(array: NDArray[np.uint8], size: tuple[int, int], resample: Image.Resampling) -> NDArray[np.uint8]:
    if array.shape[:2] == tuple(size):
        return array
    return np.array(Image.fromarray(array).resize((size[1], size[0]), resample))


def _file_stamp(path: str | Path) -> str:
    try:
        return str(os.stat(path).st_size)
    except OSError:
        return "missing"
