"""ClassMix in draws: some classes of a labelled image are pasted onto another, before the student's colours.

Which image is pasted, how it is cut and which of its classes are taken is a pure function of the seed and of the draw
it is pasted onto. Whether the labels below were made before or are yet to come from a teacher is not known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from clouds.data.transforms import AugmentConfig, photometric
from clouds.engine.seeding import item_seed
from clouds.errors import CloudsError
from clouds.ops.class_mix import pasted_pixels
from clouds.training.draws import Drawn, Draws, Source
from clouds.training.rare_classes import RareClasses


class Pasting:
    """Labelled images, drawn as a training draws them but with a seed of their own, to be pasted onto others.

    `tables` holds the classes that images are drawn by, by the position of a labelled source. Raises `CloudsError` as
    `Draws` does.
    """

    def __init__(
        self, labelled: Sequence[Source], seed: int, ignore: int, tables: Mapping[int, RareClasses] | None = None
    ) -> None:
        self._seed, self._ignore = seed, ignore
        self._draws = Draws([still(one) for one in labelled], item_seed(seed, "mix"), ignore, tables)

    def onto(self, below: Drawn, source: Source, turn: int) -> tuple[Drawn, NDArray[np.bool_]]:
        """A draw of a source with a mix, with what is pasted onto it and where that is, bool (H, W).

        `turn` tells how many were pasted onto before: what is pasted is counted by itself, since the numbers of the
        draws below alone would favour a source by the luck of the seed. Raises `CloudsError` where sizes differ.
        """
        assert source.mix is not None
        other = self._draws.draw(turn)
        _check_sizes((below, source), (other, self._draws.sources[other.source]))
        rng = np.random.default_rng(item_seed(self._seed, "class mix", below.number))
        pasted_HW = pasted_pixels(other.labels_HW, rng, source.mix.share, self._ignore)
        mixed = replace(
            below,
            image_HWC=np.where(pasted_HW[..., None], other.image_HWC, below.image_HWC),
            labels_HW=np.where(pasted_HW, other.labels_HW, below.labels_HW),
            skipped=(*below.skipped, *other.skipped),
        )
        return mixed, pasted_HW


class MixedDraws(TorchDataset[Drawn | CloudsError]):
    """Draws of labelled sources, some of which have a mix: onto their images classes of the others' are pasted.

    As `clouds.training.draws.Draws`, which draws without a mix are equal to. `tables` must be of sources without one.
    Raises `CloudsError` as `Draws` does, and where no source without a mix has a weight above 0.
    """

    def __init__(
        self, sources: Sequence[Source], seed: int, ignore: int, tables: Mapping[int, RareClasses] | None = None
    ) -> None:
        self.sources, self.seed, self.ignore = list(sources), seed, ignore
        self._draws = Draws([one if one.mix is None else still(one) for one in sources], seed, ignore, tables)
        self._mixed = [position for position, one in enumerate(sources) if one.mix is not None]
        whole = [position for position, one in enumerate(sources) if one.mix is None]
        of_whole = {whole.index(position): table for position, table in (tables or {}).items()}
        self._pasting = Pasting([sources[position] for position in whole], seed, ignore, of_whole)

    def __getitem__(self, number: int) -> Drawn | CloudsError:
        """The draw, or why there is none."""
        try:
            return self.draw(number)
        except CloudsError as error:
            return error

    def draw(self, number: int) -> Drawn:
        """The draw of this number. Raises `CloudsError` when too many images in a row cannot be used."""
        drawn = self._draws.draw(number)
        source = self.sources[drawn.source]
        if source.mix is None:
            return drawn
        turn = int(self._draws.drawn_before(number)[self._mixed].sum())
        mixed, _ = self._pasting.onto(drawn, source, turn)
        return replace(mixed, image_HWC=for_student(mixed.image_HWC, source.augment, self.seed, number))


def still(source: Source) -> Source:
    """The source with its cuts and without its colours."""
    return replace(source, augment=source.augment.model_copy(update={"jitter": None, "blur": None}))


def for_student(image_HWC: NDArray[np.uint8], augment: AugmentConfig, seed: int, number: int) -> NDArray[np.uint8]:
    """The image of a draw, all that it shows together, in the colours that the student sees it in."""
    return photometric(image_HWC, np.random.default_rng(item_seed(seed, "student", number)), augment)


def _check_sizes(*parts: tuple[Drawn, Source]) -> None:
    """Raises `CloudsError` for two draws, given with their sources, of different sizes."""
    shown = [
        f"{drawn.labels_HW.shape[1]}x{drawn.labels_HW.shape[0]} ({source.dataset.name!r})" for drawn, source in parts
    ]
    if parts[0][0].labels_HW.shape != parts[1][0].labels_HW.shape:
        raise CloudsError(
            f"a mix joins images of one size, not {' and '.join(shown)}",
            "set `augment.crop`, and `generated_augment.crop` where it is given, to the same [height, width]",
        )
