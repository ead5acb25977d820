"""The stage `samples`: a trained pipeline makes one image for each caption of a corpus. It does not look at them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from clouds.config import ConfigModel, Neutral
from clouds.data.images import write_image
from clouds.engine.artifact import Artifact
from clouds.engine.seeding import item_seed
from clouds.engine.shard import Item, Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.models.diffusion import DiffusionConfig, DiffusionGenerator

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime

Count = Annotated[int, Field(ge=1)]


class SamplesConfig(ConfigModel):
    """How many captions, and how the pipeline samples."""

    # the list of shards says how many; more samples leave those that are made as they are
    count: Neutral[Count] = 200
    """Images to make: those of the corpus's first captions."""
    steps: Count = 20
    """Denoising steps."""
    guidance: Annotated[float, Field(ge=0)] = 4.0
    """Classifier-free guidance scale; 1 or less turns it off."""
    batch_size: Neutral[Count] = 8
    """Images per call of the pipeline."""


@dataclass(frozen=True)
class Samples:
    """A generated image for each of the first captions of a corpus, under the id of the picture it was written for."""

    artifact: Artifact
    config: SamplesConfig
    captions: Stage
    pipeline: Stage
    seed: int

    kind: ClassVar[str] = "samples"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.captions, self.pipeline)

    def identity(self) -> Mapping[str, Any]:
        return {"seed": self.seed}

    def fetch(self) -> None:
        """Nothing: the pipeline is made by another stage."""

    def shards(self) -> Iterable[Shard]:
        left = self.config.count
        for shard in self.captions.artifact.mirrored(self.pipeline.artifact.stamp()):
            size = min(shard.size, left)
            left -= size
            if size:
                yield replace(shard, size=size, inputs=digest([shard.inputs, str(size)]))

    def prepare(self, runtime: "Runtime") -> Worker:
        generator = DiffusionGenerator(sampler(self.pipeline, self.config), runtime.device)
        made_by = self.pipeline.artifact.stamp()

        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                rows = [self._row(item) for item in batch]
                images = generator.generate([row["caption"] for row in rows], [row["seed"] for row in rows])
                for image_HWC, row in zip(images, rows, strict=True):
                    if not isinstance(image_HWC, Exception):
                        write_image(work.folder / row["file_name"], image_HWC)
                return [image if isinstance(image, Exception) else row for image, row in zip(images, rows, strict=True)]

            rows = list(self.captions.artifact.stamped_rows(shard.id))[: shard.size]
            items = [Item(row["id"], f"{stamp}{made_by}", row) for row, stamp in rows]
            work.map(items, process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        """Nothing: only the stages after it read them."""

    def _row(self, item: Item) -> Row:
        seed = item_seed(self.seed, "sample", item.id)
        return {"file_name": f"{item.id}.png", "id": item.id, "caption": item.payload["caption"], "seed": seed}


def sampler(pipeline: Stage, config: SamplesConfig) -> DiffusionConfig:
    """The config that loads the pipeline of a stage and samples as told."""
    folder = pipeline.artifact.shard_folder("model")
    return DiffusionConfig(weights=str(folder), steps=config.steps, guidance=config.guidance)
