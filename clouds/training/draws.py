"""Which image a training sees when, and how it is augmented: a pure function of the seed and the draw's number.

Draw number d is slot d % batch of step d // batch. Nothing is remembered between draws, so a resumed training, or one
on more processes, sees exactly what it would have seen.

The images of a data set come in rounds, each once; or, where it has a table of its classes, as that table draws them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from clouds.data.samples import Dataset
from clouds.data.transforms import AugmentConfig, geometric, photometric
from clouds.engine.seeding import item_seed
from clouds.errors import CloudsError, InputError
from clouds.training.rare_classes import RareClasses
from clouds.training.settings import MixConfig, RareClassConfig

T = TypeVar("T")

_ATTEMPTS = 20
_CHUNK = 1024
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Source:
    """A data set with how often it is drawn from, relative to the others, and how its images are augmented.

    `rare_classes`: how its images are drawn by their classes; None: in rounds. `times`: how often each image comes in
    a round, 0 for never; None: each once. `dice`: a factor on the dice loss of its images. `mix`: how classes of other
    sources are pasted onto them; None: not at all. `guessed`: whether its labels are guessed.
    """

    dataset: Dataset
    weight: float
    augment: AugmentConfig
    rare_classes: RareClassConfig | None = None
    times: Sequence[int] | None = None
    dice: float = 1.0
    mix: MixConfig | None = None
    guessed: bool = False


@dataclass(frozen=True)
class ForTeacher:
    """What a teacher needs of an image without labels.

    `image_HWC`: its clean view, uint8; None where the student sees the same one. `open_HW`: bool, the pixels that the
    teacher labels. `mirrored`: whether the view is the whole image mirrored, or as it is; None for a part of it.
    """

    image_HWC: NDArray[np.uint8] | None
    open_HW: NDArray[np.bool_]
    mirrored: bool | None


@dataclass(frozen=True)
class Drawn:
    """One augmented image: uint8 (H, W, 3), uint8 (H, W); `number` is its draw, `skipped` the items passed over.

    `source` is the position of its source. With `unlabelled` the labels are those of what was pasted onto the image.
    Arrays, not tensors: those would travel from a reading process through shared memory, which containers ration.
    """

    number: int
    image_HWC: NDArray[np.uint8]
    labels_HW: NDArray[np.uint8]
    skipped: tuple[str, ...]
    source: int = 0
    unlabelled: ForTeacher | None = None


@dataclass(frozen=True)
class Batch:
    """Images of one forward pass: uint8 (B, 3, H, W), uint8 (B, H, W), with their draws and what these came from."""

    numbers: tuple[int, ...]
    images_BCHW: Tensor
    labels_BHW: Tensor
    sources: tuple[int, ...]


@dataclass(frozen=True)
class _Choice:
    """An image by its index, the class it is chosen for, and the pixels of it that a crop should have."""

    index: int
    class_id: int = -1
    pixels: int = 0


class Draws(TorchDataset[Drawn | CloudsError]):
    """Draws by number. An item whose files cannot be read is passed over for the next one of its data set.

    `tables` holds, by the position of a source, the classes its images are drawn by.
    Raises `CloudsError` for a data set without images, a weight below 0, or none above.
    """

    def __init__(
        self, sources: Sequence[Source], seed: int, ignore: int, tables: Mapping[int, RareClasses] | None = None
    ) -> None:
        self.sources = list(sources)
        self.seed = seed
        self.ignore = ignore
        self.tables = dict(tables or {})
        for source in self.sources:
            _check(source)
        total = np.cumsum([source.weight for source in self.sources])
        if not self.sources or not total[-1] > 0:
            raise CloudsError("training has no data", "name at least one data set with a weight above 0")
        self._bounds = total / total[-1]
        # where the turns of each image end in a round in order
        self._ends = [None if source.times is None else np.cumsum(source.times) for source in self.sources]
        # how often each source was drawn before each chunk of draws
        self._counts = [np.zeros(len(self.sources), dtype=np.int64)]

    def __getitem__(self, number: int) -> Drawn | CloudsError:
        """The draw, or why there is none: raised in a reading process, the error would turn into a traceback."""
        try:
            return self.draw(number)
        except CloudsError as error:
            return error

    def draw(self, number: int) -> Drawn:
        """The draw of this number. Raises `CloudsError` when too many images in a row cannot be used."""
        rng = np.random.default_rng(item_seed(self.seed, "draw", number))
        chosen, turn = self._turn(number)
        source = self.sources[chosen]
        skipped: list[str] = []
        for wanted in self._choices(number, chosen, turn):
            try:
                image_HWC, labels_HW = source.dataset.image(wanted.index), source.dataset.labels(wanted.index)
            except InputError as error:
                skipped.append(f"{source.dataset.name}/{source.dataset.ids[wanted.index]}: {error.message}")
                continue
            image_HWC, labels_HW = self._cropped(image_HWC, labels_HW, source.augment, rng, wanted)
            return Drawn(number, photometric(image_HWC, rng, source.augment), labels_HW, tuple(skipped), chosen)
        raise CloudsError(
            f"data set {source.dataset.name!r}: {len(skipped)} images in a row cannot be used; the last: {skipped[-1]}",
            "mend the files and run the same command",
        )

    def _choices(self, number: int, source: int, turn: int) -> Iterator[_Choice]:
        """The images to try for a draw, one after another."""
        if source in self.tables:
            # at first alone: few images may hold a class, and none of them be readable
            yield from self._of_a_class(self.tables[source], number)
        for attempt in range(_ATTEMPTS):
            yield _Choice(self._in_turn(source, turn + attempt))

    def _in_turn(self, source: int, turn: int) -> int:
        """The image whose turn it is: in rounds, in each as often as the source says."""
        ends = self._ends[source]
        if ends is None:
            return in_rounds(turn, len(self.sources[source].dataset.ids), self.seed, source)
        return int(np.searchsorted(ends, in_rounds(turn, int(ends[-1]), self.seed, source), side="right"))

    def _of_a_class(self, table: RareClasses, number: int) -> Iterator[_Choice]:
        rng = np.random.default_rng(item_seed(self.seed, "rare class", number))
        position = table.draw_class(rng)
        for _ in range(_ATTEMPTS):
            index = table.draw_image(position, rng)
            yield _Choice(index, int(table.classes[position]), table.min_crop_pixels)

    def _cropped(
        self,
        image_HWC: NDArray[np.uint8],
        labels_HW: NDArray[np.uint8],
        config: AugmentConfig,
        rng: np.random.Generator,
        wanted: _Choice,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """A crop with enough of the class that the image was chosen for, or the last one tried."""
        for _ in range(config.crop_tries):
            cropped = geometric(image_HWC, labels_HW, config, rng, self.ignore)
            if wanted.pixels == 0 or np.count_nonzero(cropped[1] == wanted.class_id) >= wanted.pixels:
                break
        return cropped

    def drawn_before(self, number: int) -> NDArray[np.int64]:
        """How often each source is drawn from before this draw."""
        chunk, place = divmod(number, _CHUNK)
        while len(self._counts) <= chunk:
            self._counts.append(self._counts[-1] + self._count(self._sources_in(len(self._counts) - 1)))
        return self._counts[chunk] + self._count(self._sources_in(chunk)[:place])

    def _turn(self, number: int) -> tuple[int, int]:
        """The source of a draw, and how often it was drawn from before."""
        chunk, place = divmod(number, _CHUNK)
        source = int(self._sources_in(chunk)[place])
        return source, int(self.drawn_before(number)[source])

    def _count(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(chosen, minlength=len(self.sources))

    def _sources_in(self, chunk: int) -> NDArray[np.int64]:
        """The source of each draw of a chunk: multiples of the golden ratio, which share any stretch out by weight."""
        numbers = np.arange(chunk * _CHUNK, (chunk + 1) * _CHUNK)
        shift = item_seed(self.seed, "mixture") / 2**63
        return np.searchsorted(self._bounds, (shift + numbers * _GOLDEN) % 1.0, side="right")


def in_rounds(turn: int, size: int, seed: int, *name: int) -> int:
    """Which of `size` items comes at a turn: each once per round, in an order of the round's own.

    `name` tells apart what is drawn from with one seed.
    """
    return int(_order(item_seed(seed, "order", *name, turn // size), size)[turn % size])


@lru_cache(maxsize=8)
def _order(seed: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(size)


def load_steps(
    draws: TorchDataset[T | CloudsError], steps: range, batch_size: int, rank: int, world_size: int, workers: int
) -> Iterator[list[T]]:
    """This process's share of the draws of each step, read ahead by `workers` processes.

    Raises the `CloudsError` that came in place of a draw.
    """
    shares = (list(range(step * batch_size + rank, (step + 1) * batch_size, world_size)) for step in steps)
    loader = DataLoader(draws, batch_sampler=shares, num_workers=workers, collate_fn=list)
    for share in loader:
        yield [_or_raise(drawn) for drawn in share]


def split(drawn: Sequence[Drawn], images_at_once: int | None) -> list[Batch]:
    """The draws of a step as batches for one forward pass each; images must agree in size."""
    return [batch_of(part) for part in chunks(drawn, images_at_once)]


def chunks(drawn: Sequence[Drawn], images_at_once: int | None) -> list[Sequence[Drawn]]:
    """The draws of a step in the shares of one forward pass each."""
    size = images_at_once or len(drawn)
    return [drawn[start : start + size] for start in range(0, len(drawn), size)]


def _check(source: Source) -> None:
    name = source.dataset.name
    if not 0 <= source.weight < math.inf:
        raise CloudsError(f"data set {name!r} has the weight {source.weight} in training", "give a number from 0 up")
    if not len(source.dataset.ids):
        raise CloudsError(f"data set {name!r} has no images to train on")
    if source.times is not None and len(source.times) != len(source.dataset.ids):
        raise ValueError(f"data set {name!r} has {len(source.dataset.ids)} images, and {len(source.times)} are weighed")
    if source.times is not None and not sum(source.times) > 0:
        raise CloudsError(
            f"data set {name!r} has no images to train on: each of its {len(source.times)} is to be drawn 0 times",
            "no labels are left of them: see the counts of the stages that labelled and filtered them",
        )


def too_large_a_crop(source: Source) -> str | None:
    """What to say where no image of the first one's size can fill any side of the crop, at any scale."""
    crop, dataset = source.augment.crop, source.dataset
    if crop is None:
        return None
    try:
        height, width = dataset.image(0).shape[:2]
    except InputError:
        return None
    largest = source.augment.scale[1]
    if round(height * largest) >= crop[0] or round(width * largest) >= crop[1]:
        return None
    return (
        f"data set {dataset.name!r}: `augment.crop` is {crop[1]}x{crop[0]}, larger than its images ({width}x{height}) "
        f"at their largest scale ({largest:g}): every crop is a whole image and padding, which is not learned from"
    )


def _or_raise(drawn: T | CloudsError) -> T:
    if isinstance(drawn, CloudsError):
        raise drawn
    return drawn


def batch_of(drawn: Sequence[Drawn]) -> Batch:
    """Draws whose images agree in size, as one batch; raises `CloudsError` where they do not."""
    sizes = {one.labels_HW.shape for one in drawn}
    if len(sizes) > 1:
        shown = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
        raise CloudsError(f"images of one batch differ in size: {shown}", "set `augment.crop` to [height, width]")
    return Batch(
        tuple(one.number for one in drawn),
        torch.from_numpy(np.stack([one.image_HWC.transpose(2, 0, 1) for one in drawn])),
        torch.from_numpy(np.stack([one.labels_HW for one in drawn])),
        tuple(one.source for one in drawn),
    )
