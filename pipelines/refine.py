"""The stage `refine`: a segment-anything sharpens the pseudo-labels. It does not train anything."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from clouds.config import ConfigModel, Neutral
from clouds.data.images import read_image, read_labels, write_labels
from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic
from clouds.engine.file_cache import FileCache
from clouds.engine.seeding import item_seed
from clouds.engine.shard import Item, Shard
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.models.refinement_config import RefinementConfig
from clouds.models.sam_config import SamConfig
from clouds.models.weights import HashCache, weight_identity
from clouds.ops.refinement import PseudoLabel, RefinementResult
from clouds.report.cards import labels_card

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime
    from clouds.models.sam_promptable import EncodedImage


class RefineConfig(ConfigModel):
    """Which SAM refines, and by which rule."""

    sam: SamConfig
    """The mask model."""
    rule: RefinementConfig = RefinementConfig()
    """How prompts are made and masks are used."""
    batch_size: Neutral[Annotated[int, Field(ge=1)]] = 1
    """Images encoded at once, whose components then share calls of the decoder."""


# no repr: it would tell all stages before it, once for every way to them
@dataclass(frozen=True, repr=False)
class Refine:
    """Refined labels for each pseudo-label of an artifact."""

    artifact: Artifact
    config: RefineConfig
    images: Stage
    labels: Stage
    label_map: LabelMap
    seed: int
    hashes: HashCache
    precision: str
    again: bool = False
    """Whether other stages of the run refine labels of the same images, so that it pays to keep these encoded."""

    kind: ClassVar[str] = "refine"
    version: ClassVar[int] = 2
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.images, self.labels)

    def identity(self) -> Mapping[str, Any]:
        return {"seed": self.seed, "weights": self._weights(), "precision": self.precision}

    def fetch(self) -> None:
        from clouds.models.sam_source import sam_path

        sam_path(self.config.sam.weights, self.config.sam.revision)

    def shards(self) -> Iterable[Shard]:
        return self.labels.artifact.mirrored()

    def prepare(self, runtime: "Runtime") -> Worker:
        from clouds.models.sam_cache import encoded_by_key

        refiner = self.config.sam.build(runtime.device, self.config.rule.settings())
        store = self._store(runtime)
        sam = {"sam": {"name": refiner.model.name, **self._weights()}}

        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                paths = [self._image(item) for item in batch]

                def encode() -> "Sequence[EncodedImage]":
                    with runtime.accelerator.autocast():
                        keys = [_key(path) for path in paths]
                        return encoded_by_key(keys, lambda: list(map(read_image, paths)), refiner.encode, store)

                pseudo = [self._pseudo_label(item, shard) for item in batch]
                results = refiner.refine_all(encode, pseudo, self.label_map.ignore)
                pairs = zip(batch, results, strict=True)
                return [{**self._written(item, shard, result, work.folder), **sam} for item, result in pairs]

            work.map(self._items(shard), process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        count, sam = Counter[str](), "a SAM"
        for shard in self.artifact.shard_ids():
            for row in self.artifact.rows(shard):
                sam = row["sam"]["name"]
                count.update(images=1, untouched=row["prompted"] == 0)
                count.update({name: row[name] for name in ("accepted", "rejected")})
        what = (
            f"the pseudo-labels of {self.labels.name}, refined with {sam} ({Path(self.config.sam.weights).name}); "
            f"{count['accepted']} masks accepted, {count['rejected']} rejected; in {count['untouched']} of "
            f"{count['images']} images no component was large enough to ask about"
        )
        write_atomic(self.artifact.folder / "README.md", labels_card(self.artifact, self.label_map, what))

    def _weights(self) -> dict[str, str | bool]:
        sam = self.config.sam
        return weight_identity(sam.weights, sam.revision, cache=self.hashes, key="refine.sam.weights")

    def _store(self, runtime: "Runtime") -> FileCache | None:
        """Where encoded images are kept for the run's other rounds: told apart by all that they depend on."""
        sam = self.config.sam
        if not (sam.cache and self.again):
            return None
        origin = {
            "version": self.version,
            "weights": self._weights(),
            "precision": self.precision,
            "features": sam.features,
        }
        folder = self.artifact.folder.parent / "cache" / "sam"
        store = FileCache(folder, origin, sam.cache_gb * 1e9, 1 / runtime.world_size)
        if runtime.is_main:
            store.drop_others()
        return store

    def _items(self, shard: Shard) -> list[Item]:
        return [Item(row["id"], stamp, row) for row, stamp in self.labels.artifact.stamped_rows(shard.id)]

    def _image(self, item: Item) -> Path:
        return self.artifact.folder.parent / item.payload["source_image"]

    def _pseudo_label(self, item: Item, shard: Shard) -> PseudoLabel:
        labels = self.labels.artifact.shard_folder(shard.id)
        return PseudoLabel(
            read_labels(labels / item.payload["file_name"]).astype(np.uint8),
            read_labels(labels / item.payload["confidence_file_name"]).astype(np.float32) / np.float32(255),
            np.random.default_rng(self._seed(item)),
        )

    def _written(self, item: Item, shard: Shard, result: RefinementResult, folder: Path) -> Row:
        """Write the refined labels; the item's metadata."""
        write_labels(folder / f"{item.id}.png", result.labels_HW)
        return {
            "file_name": f"{item.id}.png",
            "id": item.id,
            "source_image": item.payload["source_image"],
            "labels": f"{self.labels.name}/{shard.id}/{item.payload['file_name']}",
            "seed": self._seed(item),
            **result.counts(),
        }

    def _seed(self, item: Item) -> int:
        return item_seed(self.seed, "refine", item.id)


def _key(path: Path) -> str:
    """The name of an encoded image: the content of its file, wherever it lies."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
