"""What an export asks of a format. It knows no particular one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clouds.data.labels import LabelMap
from clouds.export.files import PartFiles
from clouds.export.images import Sample
from clouds.export.notes import Notes
from clouds.export.parts import Part

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Job:
    """What every part of an export is told.

    `splits` are those that have images, `things` the ids of the classes whose connected pieces are objects.
    """

    name: str
    out: Path
    label_map: LabelMap
    splits: tuple[str, ...]
    things: frozenset[int]
    link: bool = False


@dataclass(frozen=True)
class Pair:
    """One labelled image: `labels_HW` uint8, the image's size, the ids of the run's classes and its ignore id."""

    sample: Sample
    labels_HW: Labels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.labels_HW.shape
        return height, width

    def shown(self, ignore: int) -> list[int]:
        """The ids of the classes it shows, in order."""
        return [int(id_) for id_ in np.unique(self.labels_HW) if id_ != ignore]

    @property
    def image_name(self) -> str:
        """`SHARD/ID` with the suffix of the image's file."""
        return self.sample.path + self.sample.place.image.suffix.lower()


@dataclass(frozen=True)
class Tally:
    """Counts of a whole export.

    `items` are the images by split, `pixels` the pixels of a class by its id, `ignored` those of none, `shown` by split
    the images that show a class.
    """

    items: Mapping[str, int]
    pixels: Mapping[int, int]
    ignored: int
    shown: Mapping[str, Mapping[int, int]]

    def share(self, class_id: int) -> float:
        """Which share of the labelled pixels is of a class."""
        return self.pixels.get(class_id, 0) / max(1, sum(self.pixels.values()))

    def images_of(self, split: str, class_id: int) -> int:
        """How many images of a split show a class."""
        return self.shown.get(split, {}).get(class_id, 0)


class Finish(Protocol):
    """The means to write what describes the whole export; every file appears whole."""

    @property
    def job(self) -> Job: ...
    @property
    def notes(self) -> Notes: ...
    @property
    def tally(self) -> Tally: ...

    def text(self, name: str, pieces: Iterable[str]) -> None:
        """A text file, written piece by piece."""

    def json(self, name: str, value: Any) -> None:
        """A small JSON file."""


class Format(Protocol):
    """A layout of labelled images on disk that some other tool reads.

    `packages` are the Python packages its writer needs beyond the required ones, by their import names; `sharded` tells
    that a part is one file, so that its bytes are bounded.
    """

    @property
    def name(self) -> str: ...
    @property
    def packages(self) -> Sequence[str]: ...
    @property
    def sharded(self) -> bool: ...

    def check(self, job: Job) -> None:
        """Raise `UsageError` where these images, classes or splits cannot be told in this format."""

    def lost(self, job: Job) -> list[str]:
        """What a reader of the export cannot get back, a sentence each."""

    def about(self, job: Job) -> str:
        """What lies where, and which ids the labels have, in Markdown for the data set card."""

    def read_back(self, job: Job) -> str:
        """Python that reads the export, for the data set card."""

    def front_matter(self, job: Job) -> dict[str, Any]:
        """What the card's YAML header says beyond what every card does."""

    def write(self, job: Job, part: Part, pairs: Iterator[Pair], files: PartFiles) -> None:
        """Write one part, taking each pair once, in order; any process may be asked."""

    def finish(self, finish: Finish) -> None:
        """Write the files that describe the whole."""


def note_item(files: PartFiles, pair: Pair, file_name: str, **more: Any) -> None:
    """What is known of an image, for `metadata.jsonl`: its file first, as data set readers want it."""
    files.note("metadata", {"file_name": file_name, **more, "id": pair.sample.id, **pair.sample.facts})


def finish_metadata(finish: Finish) -> None:
    """One `metadata.jsonl` for all splits."""
    lines = (line + "\n" for split in finish.job.splits for line in finish.notes.lines("metadata", split))
    finish.text("metadata.jsonl", lines)


def id2label(label_map: LabelMap) -> dict[str, str]:
    """Class names by id, as JSON files of Hugging Face data sets hold them."""
    return {str(id_): name for id_, name in label_map.id2label.items()}


def shifted_ids(job: Job) -> Labels:
    """Run's id -> id + 1, and 0 for ignore: uint8 [256], for readers that take 0 for what has no label."""
    table = np.zeros(256, np.uint8)
    count = job.label_map.num_classes
    table[:count] = np.arange(1, count + 1)
    return table


def escaped(text: str, forbidden: str) -> str:
    """The text with each forbidden character as `%` and its code, so that no two texts become one."""
    return "".join(f"%{ord(one):02X}" if one in forbidden + "%" else one for one in text)
