"""The stage `corpus`: scenes of the procedural world with captions and object masks, and without class labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from clouds.config import ConfigModel, Neutral
from clouds.data.images import write_gray, write_image
from clouds.data.world import RENDERER_VERSION, render_scene
from clouds.engine.artifact import Artifact
from clouds.engine.shard import Item, Shard, numbered_shards
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime

DOMAIN = "web"
"""The one domain foundation models learn from; the others are for training and testing segmenters."""

Count = Annotated[int, Field(ge=1)]


class CorpusConfig(ConfigModel):
    """Which scenes of the world's `web` domain."""

    # the list of shards says how many; more scenes leave those that are made as they are
    count: Neutral[Count]
    """How many scenes."""
    first: Annotated[int, Field(ge=0)] = 0
    """The number of the first scene."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Another seed is another set of scenes."""
    height: Count = 64
    """Height of the images in pixels."""
    width: Count = 128
    """Width of the images in pixels."""


@dataclass(frozen=True)
class Corpus:
    """Rendered scenes: an image, a caption and a map of object numbers each."""

    artifact: Artifact
    config: CorpusConfig
    shard_items: int
    needs: tuple[Stage, ...] = ()

    kind: ClassVar[str] = "corpus"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "scene"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    def identity(self) -> Mapping[str, Any]:
        return {"domain": DOMAIN, "renderer": RENDERER_VERSION, "shard_items": self.shard_items}

    def fetch(self) -> None:
        """Nothing: scenes are rendered."""

    def shards(self) -> Iterable[Shard]:
        return numbered_shards(self.config.count, self.shard_items)

    def prepare(self, runtime: "Runtime") -> Worker:
        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                return [self._render(item, work) for item in batch]

            start = self.config.first + int(shard.id) * self.shard_items
            items = [Item(f"{DOMAIN}-{index:06d}", payload=index) for index in range(start, start + shard.size)]
            work.map(items, process, batch_size=50)

        return work_on

    def finish(self) -> None:
        """Nothing: the metadata of each shard describes its scenes."""

    def _render(self, item: Item, work: ShardWork) -> Row:
        config = self.config
        scene = render_scene(DOMAIN, item.payload, seed=config.seed, height=config.height, width=config.width)
        image, instances = f"{item.id}.png", f"{item.id}.objects.png"
        write_image(work.folder / image, scene.image_HWC)
        write_gray(work.folder / instances, scene.instances_HW.astype(np.uint16))
        return {"file_name": image, "id": item.id, "caption": scene.caption, "instances_file_name": instances}
