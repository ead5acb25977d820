"""The stage `latents`: a corpus as a trained autoencoder encodes it, once for a whole training on latents."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from clouds.config import ConfigModel, Neutral
from clouds.data.images import read_image
from clouds.engine.artifact import Artifact
from clouds.engine.shard import Item, Shard
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime


class LatentsConfig(ConfigModel):
    """How a corpus is encoded."""

    batch_size: Neutral[Annotated[int, Field(ge=1)]] = 20
    """Images encoded at once."""


@dataclass(frozen=True)
class Latents:
    """The latent of each picture of a corpus: float16 `.npy` [C, h, w], not scaled; and its caption."""

    artifact: Artifact
    config: LatentsConfig
    corpus: Stage
    autoencoder: Stage
    precision: str

    kind: ClassVar[str] = "latents"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "scene"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.corpus, self.autoencoder)

    def identity(self) -> Mapping[str, Any]:
        return {"precision": self.precision}

    def fetch(self) -> None:
        """Nothing: the autoencoder is made by another stage."""

    def shards(self) -> Iterable[Shard]:
        return self.corpus.artifact.mirrored(self.autoencoder.artifact.stamp())

    def prepare(self, runtime: "Runtime") -> Worker:
        from clouds.models.autoencoder import encode_latents, load_autoencoder

        autoencoder = load_autoencoder(self.autoencoder.artifact.shard_folder("model"), runtime.device)
        made_by = self.autoencoder.artifact.stamp()

        def work_on(shard: Shard, work: ShardWork) -> None:
            images = self.corpus.artifact.shard_folder(shard.id)

            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                stack_BHWC = np.stack([read_image(images / item.payload["file_name"]) for item in batch])
                with runtime.accelerator.autocast():
                    latents_BCHW = encode_latents(autoencoder, stack_BHWC)
                return [_write(item, latent, work) for item, latent in zip(batch, latents_BCHW, strict=True)]

            rows = self.corpus.artifact.stamped_rows(shard.id)
            items = [Item(row["id"], f"{stamp}{made_by}", row) for row, stamp in rows]
            work.map(items, process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        """Nothing: only the stage after it reads them."""


def _write(item: Item, latent_CHW: Any, work: ShardWork) -> Row:
    file_name = f"{item.id}.npy"
    np.save(work.folder / file_name, latent_CHW, allow_pickle=False)
    return {"file_name": file_name, "id": item.id, "caption": item.payload["caption"]}
