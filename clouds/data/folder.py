"""A folder of images, with a folder of labels beside it, as a data set. It reads names only, never a file's content.

What is wrong with the folders as a whole is a `CloudsError` when the data set is opened; what is wrong with one file
is an `InputError` when that item is read.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from clouds.config import ConfigModel, ConfigPath
from clouds.data.finding import check_pairs, find_files, listed
from clouds.data.images import IMAGE_SUFFIXES, LABEL_SUFFIXES
from clouds.data.label_maps import CLASS_LISTS
from clouds.data.labels import IGNORE, LabelLookup, LabelMap
from clouds.data.paired import PairedFiles
from clouds.errors import UsageError, nearest


def _numbered(value: Any) -> Any:
    if isinstance(value, str):
        if value not in CLASS_LISTS:
            raise ValueError(f"no class list is named {value!r}; {nearest(value, CLASS_LISTS)}")
        value = CLASS_LISTS[value]
    return dict(enumerate(value)) if isinstance(value, (list, tuple)) else value


ClassNames = Annotated[dict[int, str], BeforeValidator(_numbered)]
"""Stored id -> class name; in YAML also a list in the order of ids, or the name of a known list."""

Count = Annotated[int, Field(ge=1)]


class FolderConfig(ConfigModel):
    """A folder of images, with or without labels."""

    type: Literal["folder"] = "folder"
    """The kind of data set."""
    root: ConfigPath | None = None
    """The folder that `images` and `labels` start from; none: the table's `root`."""
    images: str = "images"
    """The sub-folder of the images, searched to any depth; or a pattern such as `*/images/*.png`."""
    labels: str | None = "labels"
    """The sub-folder or pattern of the label files, paired with the images by name; none: there are no labels."""
    image_suffix: str = ""
    """The end of image names that label names do not share, such as `_leftImg8bit`; files without it do not count."""
    label_suffix: str = ""
    """The end of label names that image names do not share, such as `_gtFine_labelIds`."""
    classes: ClassNames | None = None
    """The classes by the ids in the label files: a list, a mapping, or a known list; none: the run's own."""
    map: dict[str, str | None] = Field(default={})
    """Which class of the run stands for a class of this set, where the names do not tell; null or `ignore`: none."""
    ignore: tuple[int, ...] = (IGNORE,)
    """Further ids in the label files that stand for no class."""
    list: ConfigPath | None = None
    """Take only the images that this file names, one a line: by file name, or by the end of the path."""
    limit: Count | None = None
    """Take only so many items, the first by id."""
    resize: tuple[Count, Count] | None = None
    """Bring every image and its labels to this (height, width)."""


def open_folder(name: str, config: FolderConfig, label_map: LabelMap) -> PairedFiles:
    """The pairs of a folder data set, sorted by id: the path below the folder, without suffix, `/` written `__`.

    Raises `CloudsError` for missing folders, no images, images without labels, two files of one id, listed names of no
    image; `UsageError` for class names that cannot be matched.
    """
    if config.root is None:
        raise UsageError(f"data set {name!r} has no `root`", "set its `root`, or `data.root` for all sets")
    where = f"data set {name!r}"
    lookup = _lookup(where, config, label_map)
    images = find_files(f"{where}: `images`", config.root, config.images, config.image_suffix, IMAGE_SUFFIXES)
    ids = sorted(images)
    if config.list is not None:
        ids = listed(f"{where}: `list`", config.list, images, config.image_suffix)
    labels = None
    if config.labels is not None:
        labels = find_files(f"{where}: `labels`", config.root, config.labels, config.label_suffix, LABEL_SUFFIXES)
        check_pairs(name, ids, images, labels)
    ids = ids[: config.limit]
    return PairedFiles(
        name=name,
        ids=ids,
        images_at=[images[id_] for id_ in ids],
        labels_at=None if labels is None else [labels[id_] for id_ in ids],
        lookup=lookup,
        resize=config.resize,
    )


def _lookup(where: str, config: FolderConfig, label_map: LabelMap) -> LabelLookup:
    if config.classes is None and config.map:
        raise UsageError(f"{where}: `map` is given without `classes`", "list the classes of its label files")
    names = label_map.id2label if config.classes is None else config.classes
    return label_map.match(names, config.map, config.ignore, where)
