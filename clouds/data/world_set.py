"""Scenes of the procedural street world as a data set. It does not know how a scene is drawn."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clouds.config import ConfigModel
from clouds.data.labels import LabelLookup, LabelMap
from clouds.data.world import CLASSES, DOMAINS, RENDERER_VERSION, Scene, domain_choices, render_scene
from clouds.errors import UsageError

Count = Annotated[int, Field(ge=1)]

_BYTES_PER_PIXEL = 8
_KEPT_BYTES = 64 * 2**20


class WorldConfig(ConfigModel):
    """A number of scenes of one domain of the procedural street world."""

    type: Literal["world"] = "world"
    """The kind of data set."""
    domain: str
    """The look of the scenes: `source`, or a domain that training has not seen, such as `fog` or `night`."""
    count: Count
    """How many scenes."""
    first: Annotated[int, Field(ge=0)] = 0
    """The number of the first scene; sets of one domain and seed are disjoint when their ranges are."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Another seed is another set of scenes."""
    height: Count = 64
    """Height of the images in pixels."""
    width: Count = 128
    """Width of the images in pixels."""
    map: dict[str, str | None] = Field(default={})
    """Which class of the run stands for a class of the world, where the names do not tell; null or `ignore`: none."""


class WorldDataset:
    """Rendered scenes with exact labels; each is drawn when asked for, always the same."""

    labelled = True

    @property
    def unmatched(self) -> Sequence[str]:
        """Classes of the world that no class of the run stands for, and nobody said to ignore."""
        return self.lookup.unmatched

    def __init__(self, name: str, config: WorldConfig, lookup: LabelLookup) -> None:
        self.name = name
        self.lookup = lookup
        self.ids = [f"{config.domain}-{number:06d}" for number in range(config.first, config.first + config.count)]
        self._config = config
        self._scenes: OrderedDict[int, Scene] = OrderedDict()
        self._most_scenes = max(1, _KEPT_BYTES // (_BYTES_PER_PIXEL * config.height * config.width))

    def image(self, index: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB."""
        return self._scene(index).image_HWC

    def labels(self, index: int) -> NDArray[np.uint8]:
        """uint8 [H, W]: ids of the run, 255 where the run has no such class."""
        return self.lookup.translate(self._scene(index).labels_HW)

    def caption(self, index: int) -> str:
        """What the scene shows, in words."""
        return self._scene(index).caption

    def stamp(self, index: int) -> str:
        """Nothing: a scene never changes."""
        return ""

    def identity(self) -> Mapping[str, Any]:
        """What the scenes are drawn from, besides their numbers, and how their class ids become the run's."""
        drawn_from = self._config.model_dump(mode="json", exclude={"count", "first", "map"})
        return {**drawn_from, "renderer": RENDERER_VERSION, "ids": self.lookup.stamp()}

    def _scene(self, index: int) -> Scene:
        # a training asks for each scene many times; drawing it anew takes a quarter of a small step
        scene = self._scenes.pop(index, None)
        if scene is None:
            config = self._config
            number = range(config.first, config.first + config.count)[index]
            scene = render_scene(config.domain, number, seed=config.seed, height=config.height, width=config.width)
            while len(self._scenes) >= self._most_scenes:
                self._scenes.popitem(last=False)
        self._scenes[index] = scene
        return scene


def open_world(name: str, config: WorldConfig, label_map: LabelMap) -> WorldDataset:
    """The scenes a config describes. Raises `UsageError` for an unknown domain or class names that do not match."""
    where = f"data set {name!r}"
    if config.domain not in DOMAINS:
        raise UsageError(f"{where}: the world has no domain {config.domain!r}", domain_choices(config.domain))
    return WorldDataset(name, config, label_map.match(dict(enumerate(CLASSES)), config.map, where=where))
