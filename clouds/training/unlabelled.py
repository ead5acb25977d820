"""Draws for self-training within a training: labelled images as ever, and unlabelled ones for a teacher to label.

An unlabelled image is cut once, and seen twice: the teacher's view is clean, the student's has other colours and, in a
mix, classes of a labelled image pasted on. Which image, which cut, which colours and which classes are a pure function
of the seed and the draw's number; what the teacher says of it is not known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from clouds.data.samples import Dataset
from clouds.errors import CloudsError
from clouds.training.draws import Drawn, Draws, ForTeacher, Source
from clouds.training.mixing import Pasting, for_student, still
from clouds.training.rare_classes import RareClasses

# what every pixel of an image without labels is until the teacher has seen it: anything but ignore, which is padding
_OPEN = 0


class OnlineDraws(TorchDataset[Drawn | CloudsError]):
    """Draws of labelled and of unlabelled sources, by number; see `clouds.training.draws.Draws`.

    `tables` holds the classes that images are drawn by, by the position of a labelled source; what is pasted onto an
    unlabelled source with a mix is drawn in the same way, with a seed of its own. Raises `CloudsError` as `Draws` does,
    and where no unlabelled source has a weight above 0.
    """

    def __init__(
        self,
        labelled: Sequence[Source],
        unlabelled: Sequence[Source],
        seed: int,
        ignore: int,
        tables: Mapping[int, RareClasses] | None = None,
    ) -> None:
        if not any(source.weight > 0 for source in unlabelled):
            raise CloudsError(
                "online self-training has nothing unlabelled to learn from",
                "give generated images or a set in `online.unlabelled` a weight above 0",
            )
        self.sources = [*labelled, *unlabelled]
        self.seed, self.ignore = seed, ignore
        self._labelled = len(labelled)
        self._bare = [_Bare(source.dataset) for source in unlabelled]
        bare = [replace(still(one), dataset=dataset) for one, dataset in zip(unlabelled, self._bare, strict=True)]
        self._draws = Draws([*labelled, *bare], seed, ignore, tables)
        self._mixed = [position for position, one in enumerate(self.sources) if one.mix is not None]
        self._pasting = Pasting(labelled, seed, ignore, tables) if self._mixed else None

    def __getitem__(self, number: int) -> Drawn | CloudsError:
        """The draw, or why there is none."""
        try:
            return self.draw(number)
        except CloudsError as error:
            return error

    def draw(self, number: int) -> Drawn:
        """The draw of this number. Raises `CloudsError` when too many images in a row cannot be used."""
        drawn = self._draws.draw(number)
        if self.is_labelled(drawn.source):
            return drawn
        source = self.sources[drawn.source]
        mirrored = self._bare[drawn.source - self._labelled].mirrored(drawn.image_HWC)
        open_HW = drawn.labels_HW != self.ignore
        shown = replace(drawn, labels_HW=np.full_like(drawn.labels_HW, self.ignore))
        if self._pasting is not None and source.mix is not None:
            turn = int(self._draws.drawn_before(number)[self._mixed].sum())
            shown, pasted_HW = self._pasting.onto(shown, source, turn)
            open_HW &= ~pasted_HW
        clean_HWC = None
        if not self._one_view(source):
            clean_HWC = drawn.image_HWC
            shown = replace(shown, image_HWC=for_student(shown.image_HWC, source.augment, self.seed, number))
        return replace(shown, unlabelled=ForTeacher(clean_HWC, open_HW, mirrored))

    def is_labelled(self, source: int) -> bool:
        """Whether the source at this position has labels of its own."""
        return source < self._labelled

    @staticmethod
    def _one_view(source: Source) -> bool:
        """Whether the student sees what the teacher sees."""
        return source.mix is None and source.augment.jitter is None and source.augment.blur is None


class _Bare:
    """A data set whose labels, if it has any, are never read; it remembers the image that it read last."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._last: tuple[int, NDArray[np.uint8]] | None = None

    @property
    def name(self) -> str:
        return self._dataset.name

    @property
    def ids(self) -> Sequence[str]:
        return self._dataset.ids

    @property
    def labelled(self) -> bool:
        return False

    @property
    def unmatched(self) -> Sequence[str]:
        return ()

    def image(self, index: int) -> NDArray[np.uint8]:
        self._last = index, self._dataset.image(index)
        return self._last[1]

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Open everywhere, in the size of the image, which is not read again if it was the last."""
        known = self._last is not None and self._last[0] == index
        image_HWC = self._last[1] if known and self._last is not None else self.image(index)
        return np.full(image_HWC.shape[:2], _OPEN, np.uint8)

    def mirrored(self, view_HWC: NDArray[np.uint8]) -> bool | None:
        """Whether a view is the whole of the image read last, mirrored or not; None where it is neither."""
        assert self._last is not None
        image_HWC = self._last[1]
        if np.array_equal(view_HWC, image_HWC):
            return False
        return True if np.array_equal(view_HWC, image_HWC[:, ::-1]) else None

    def stamp(self, index: int) -> str:
        return self._dataset.stamp(index)

    def identity(self) -> Mapping[str, Any]:
        return self._dataset.identity()
