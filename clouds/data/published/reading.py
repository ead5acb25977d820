"""A published data set as a folder holds it: finds which arrangement is there and opens it. It decodes no image.

What is not there is a `CloudsError` that says what was expected, what was found and where to get the data set.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clouds.config import ConfigModel, ConfigPath
from clouds.data.finding import check_pairs, listed
from clouds.data.labels import LabelMap
from clouds.data.paired import PairedFiles
from clouds.data.published.acdc import ACDC
from clouds.data.published.bdd100k import BDD100K
from clouds.data.published.camvid import CAMVID
from clouds.data.published.cityscapes import CITYSCAPES
from clouds.data.published.correspondence import lookup_of
from clouds.data.published.dark_zurich import DARK_ZURICH
from clouds.data.published.gta5 import GTA5
from clouds.data.published.idd import IDD
from clouds.data.published.mapillary import MAPILLARY_V1, MAPILLARY_V2
from clouds.data.published.preset import Preset
from clouds.data.published.synthia import SYNTHIA
from clouds.data.published.unpacked import Unpacked
from clouds.errors import UsageError, nearest

PublishedType = Literal[
    "acdc",
    "bdd100k",
    "camvid",
    "cityscapes",
    "dark_zurich",
    "gta5",
    "idd",
    "mapillary_v1.2",
    "mapillary_v2.0",
    "synthia",
]

PRESETS: dict[PublishedType, Preset] = {
    "acdc": ACDC,
    "bdd100k": BDD100K,
    "camvid": CAMVID,
    "cityscapes": CITYSCAPES,
    "dark_zurich": DARK_ZURICH,
    "gta5": GTA5,
    "idd": IDD,
    "mapillary_v1.2": MAPILLARY_V1,
    "mapillary_v2.0": MAPILLARY_V2,
    "synthia": SYNTHIA,
}
"""The published data sets by the `type` that names them."""

Count = Annotated[int, Field(ge=1)]


class PublishedConfig(ConfigModel):
    """A published data set, as its archives unpack."""

    type: PublishedType
    """The data set."""
    root: ConfigPath | None = None
    """The folder its archives were unpacked into; none: the table's `root`."""
    split: str | None = None
    """train, val or test; none: the data set's usual one."""
    condition: str | None = None
    """For `acdc` fog, night, rain, snow or all; for `dark_zurich` night, twilight, day or all; none: its usual one."""
    labels: bool = True
    """Whether the labels are read; false: images only, and label files need not be there."""
    map: dict[str, str | None] = Field(default={})
    """Which class of the run stands for a class of this set, over what is published; null or `ignore`: none."""
    ignore: tuple[int, ...] = ()
    """Further ids in the label files that stand for no class."""
    unknown: Literal["error", "ignore"] = "error"
    """What ids in the label files are that nobody named: the item fails, or these pixels are ignored."""
    list: ConfigPath | None = None
    """Take only the images of the split that this file names, one a line: by file name, or by the end of the path."""
    limit: Count | None = None
    """Take only so many items, the first by id."""
    resize: tuple[Count, Count] | None = None
    """Bring every image and its labels to this (height, width)."""

    @model_validator(mode="after")
    def _parts_exist(self) -> "PublishedConfig":
        preset = PRESETS[self.type]
        if self.split is not None and self.split not in preset.splits:
            raise ValueError(f"{preset.title} has no split {self.split!r}; {nearest(self.split, preset.splits)}")
        conditions = (*preset.conditions, "all") if preset.conditions else ()
        if self.condition is not None and self.condition not in conditions:
            known = nearest(self.condition, conditions) if conditions else "it was not recorded by conditions"
            raise ValueError(f"{preset.title} has no condition {self.condition!r}; {known}")
        return self

    @property
    def labelled(self) -> bool:
        """Whether labels are read."""
        preset = PRESETS[self.type]
        return self.labels and (self.split or preset.split) not in preset.unlabelled


def open_published(name: str, config: PublishedConfig, label_map: LabelMap) -> PairedFiles:
    """The pairs of a published data set, sorted by id: the path below the split's folder, `/` written `__`.

    Raises `CloudsError` for folders or files that are not there, `UsageError` for class names that cannot be matched.
    """
    where, preset = f"data set {name!r}", PRESETS[config.type]
    if config.root is None:
        raise UsageError(f"{where} has no `root`", "set its `root`, or `data.root` for all sets")
    folder = Unpacked(
        where=where,
        root=config.root,
        preset=preset,
        split=config.split or preset.split,
        condition=config.condition or preset.condition,
        labelled=config.labelled,
    )
    form = folder.form()
    images = folder.images(form)
    ids = sorted(images)
    if config.list is not None:
        ids = listed(f"{where}: `list`", config.list, images, form.suffix)
    coding, labels = form.codings[0], None
    if config.labelled:
        coding, labels = folder.labels(form, ids)
        check_pairs(name, ids, images, labels, f"get {preset.source}; or name the images to take in a `list`")
    if coding.described is not None:
        coding = coding.described(config.root, coding)
    lookup = lookup_of(coding, label_map, config.map, config.ignore, where)
    ids = ids[: config.limit]
    return PairedFiles(
        name=name,
        ids=ids,
        images_at=[images[id_] for id_ in ids],
        labels_at=None if labels is None else [labels[id_] for id_ in ids],
        lookup=lookup.ignoring_unknown() if config.unknown == "ignore" else lookup,
        resize=config.resize,
        read=coding.read,
    )
