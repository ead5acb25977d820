"""What is known of a published data set: where its files lie, and what its labels mean. Values only, no file is read.

In a place `{split}` stands for the split's own name in that data set, `{condition}` for the condition or `*`. Places
are below the root: a folder, searched to any depth, or a pattern.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clouds.data.images import LABEL_SUFFIXES, LabelReader, read_labels
from clouds.data.label_maps import CLASS_LISTS
from clouds.data.labels import IGNORE

Correspondence = Mapping[str, str]
"""A data set's class -> the class it is in another list. A class that is not named is none of that list's."""


@dataclass(frozen=True, kw_only=True)
class Coding:
    """One way in which a data set's label files hold classes."""

    labels: str
    """Where the label files are."""
    suffix: str = ""
    """The end of their names that image names do not share."""
    kinds: Collection[str] = LABEL_SUFFIXES
    """Their file suffixes, in lower case."""
    classes: Mapping[int, str]
    """Stored id -> class."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Class -> a shorter name of it."""
    ignore: Collection[int] = (IGNORE,)
    """Stored ids without meaning."""
    read: LabelReader = read_labels
    """What gives the stored ids of a file."""
    becomes: Mapping[str, Correspondence] = field(default_factory=dict)
    """Published correspondences, by the name of a built-in class list; without any, names and synonyms decide."""
    described: "Callable[[Path, Coding], Coding] | None" = None
    """Lays over these values what a file in the root says of them, where there is one."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One arrangement of a data set's folders."""

    images: str
    """Where the images are."""
    suffix: str = ""
    """The end of their names that label names do not share."""
    codings: tuple[Coding, ...]
    """What labels there may be; the first that all images have is read."""

    @property
    def by_split(self) -> bool:
        """Whether the splits have folders of their own."""
        return "{split}" in self.images


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A published data set."""

    title: str
    """Its name as its authors write it."""
    forms: tuple[Form, ...]
    """The arrangements it is found in; the first that is there is read."""
    splits: Mapping[str, str] = field(default_factory=dict)
    """Split -> its name in the data set; none: it is published in one piece."""
    split: str | None = None
    """The split where none is asked for; none: all there is."""
    unlabelled: Collection[str] = ()
    """Splits whose labels are not published."""
    conditions: tuple[str, ...] = ()
    """Parts recorded under different conditions."""
    condition: str | None = None
    """The condition where none is asked for; `all`: every one."""
    source: str
    """Where to get it, and which files."""


def identity_of(names: str) -> Correspondence:
    """The correspondence of a data set whose classes have the names of a built-in list, and others besides."""
    return {name: name for name in CLASS_LISTS[names]}


def by_name(becomes: Mapping[str, str]) -> Correspondence:
    """A correspondence from lists of names, separated by commas, for each class they become."""
    return {name.strip(): target for target, names in becomes.items() for name in names.split(",")}


def train_ids(labels: str, suffix: str) -> Coding:
    """Label files of Cityscapes' train ids, 0..18 and 255."""
    return Coding(labels=labels, suffix=suffix, classes=dict(enumerate(CLASS_LISTS["cityscapes19"])))


def label_ids(labels: str, suffix: str) -> Coding:
    """Label files of Cityscapes' ids, 0..33."""
    return Coding(
        labels=labels,
        suffix=suffix,
        classes=dict(enumerate(CLASS_LISTS["cityscapes34"])),
        becomes={"cityscapes19": identity_of("cityscapes19")},
    )
