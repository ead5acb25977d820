"""The data set table: the sets of a run by name, each of any known kind. It knows no stage and no model."""

import logging
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from clouds.config import ConfigModel, ConfigPath, without_nulls
from clouds.data.folder import FolderConfig, open_folder
from clouds.data.labels import LabelMap, LabelMapConfig
from clouds.data.published.reading import PRESETS, PublishedConfig, open_published
from clouds.data.samples import Dataset
from clouds.data.world_set import WorldConfig, open_world
from clouds.errors import UsageError, nearest


def _kind(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    return "published" if kind in PRESETS else str(kind) if kind in ("folder", "world") else None


# a function instead of the field's name: only so does the error say what the choices mean
_BY_TYPE = Discriminator(
    _kind,
    custom_error_type="dataset_type",
    custom_error_message="`type` must be 'folder' (images and labels of your own), 'world' (procedural streets), or a "
    f"published data set: {', '.join(PRESETS)}",
)

_log = logging.getLogger(__name__)

DatasetConfig = Annotated[
    Annotated[FolderConfig, Tag("folder")]
    | Annotated[WorldConfig, Tag("world")]
    | Annotated[PublishedConfig, Tag("published")],
    _BY_TYPE,
]
"""A data set of any kind, told by its `type`."""


SetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class DataTable(ConfigModel):
    """The classes of a run and its data sets by name."""

    classes: LabelMapConfig
    """The run's classes: cityscapes19, street11, camvid11, or a list of names or of {name, color, synonyms}."""
    root: ConfigPath | None = None
    """Where the folders of those sets start that name no `root` of their own."""
    sets: Annotated[dict[SetName, DatasetConfig], BeforeValidator(without_nulls)]
    """The data sets by name: letters, digits, `-`, `_` and `.`; null takes out one that a `base` names."""

    def label_map(self) -> LabelMap:
        """The run's classes, with a colour for each."""
        return LabelMap.of(self.classes)

    def open(self, name: str) -> Dataset:
        """The data set of this name. Raises `UsageError` for an unknown name, and what opening it raises."""
        if name not in self.sets:
            raise UsageError(f"no data set is named {name!r}", nearest(name, self.sets))
        config = self.sets[name]
        if isinstance(config, (FolderConfig, PublishedConfig)) and config.root is None:
            config = config.model_copy(update={"root": self.root})
        return open_dataset(name, config, self.label_map())

    def open_all(self, names: Iterable[str], *, unlabelled: bool = False) -> dict[str, Dataset]:
        """The data sets of these names, in this order; says which of their classes the run does not know.

        Raises `UsageError` for one without labels, unless `unlabelled` allows for it, and as `open` does.
        """
        opened = {name: self.open(name) for name in names}
        for name, dataset in opened.items():
            if not dataset.labelled and not unlabelled:
                raise UsageError(
                    f"data set {name!r} has no labels (see 'data.sets.{name}')",
                    "name its labels, or a labelled split; an evaluation with `save_predictions` needs none",
                )
            if dataset.unmatched:
                unknown = ", ".join(map(repr, dataset.unmatched))
                _log.warning("data set %r: pixels of %s are ignored, no class of the run has that name", name, unknown)
        return opened

    def check_names(self, used: Mapping[str, Iterable[str]]) -> None:
        """Raise `ValueError` when a config key (`used` maps keys to names) names a data set that is not here."""
        for key, names in used.items():
            for name in names:
                if name not in self.sets:
                    raise ValueError(f"{key} names the data set {name!r}; data.sets has: {', '.join(self.sets)}")


def open_dataset(name: str, config: DatasetConfig, label_map: LabelMap) -> Dataset:
    """The data set a config describes, with the classes of `label_map`; nothing is decoded or rendered yet."""
    if isinstance(config, WorldConfig):
        return open_world(name, config, label_map)
    if isinstance(config, PublishedConfig):
        return open_published(name, config, label_map)
    return open_folder(name, config, label_map)
