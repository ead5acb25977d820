"""The stage `refine`: segment-anything sharpens the pseudo-labels. It does not train anything."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from clouds.config import ConfigModel
from clouds.data.images import read_image, read_labels, write_labels
from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic
from clouds.engine.seeding import item_seed
from clouds.engine.shard import Item, Shard
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.models.sam_config import SamConfig
from clouds.models.weights import HashCache, weight_identity
from clouds.ops.refinement import RefinementSettings
from clouds.report.cards import labels_card

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime
    from clouds.models.sam import SamRefiner

Share = Annotated[float, Field(ge=0, le=1)]
_RULE = RefinementSettings()


class RefinementConfig(ConfigModel):
    """How pseudo-labels are turned into prompts and masks into labels; see `RefinementSettings`."""

    min_area: Share = _RULE.min_area
    """A component is prompted if it covers more than this share of the image."""
    connectivity: Literal[4, 8] = _RULE.connectivity
    """Whether pixels that touch only at a corner are connected (8) or not (4)."""
    points: Literal["random", "core", "centre"] = _RULE.points
    """Where a component's points lie: random on it, on its core, or one at its centre."""
    points_per_component: Annotated[int, Field(ge=1)] = _RULE.points_per_component
    """Points per component; `centre` always gives one."""
    box: bool = _RULE.box
    """Whether the component's bounding box is part of the prompt."""
    show_component: bool = _RULE.show_component
    """Whether SAM is shown the component itself as a mask prompt at first."""
    passes: Annotated[int, Field(ge=1)] = _RULE.passes
    """How often SAM is asked; from the second time on it is shown the mask it gave."""
    settled: Share = _RULE.settled
    """Passes end early once a mask has at least this IoU with that of the pass before."""
    choose_by: Literal["quality", "agreement"] = _RULE.choose_by
    """Which of SAM's masks is taken: best by its own estimate, or by IoU with the component."""
    min_agreement: Share = _RULE.min_agreement
    """A mask with less IoU with its component is rejected."""
    contested: Literal["better", "smaller", "ignore"] = _RULE.contested
    """Who gets a pixel that masks of several classes claim."""
    unclaimed: Literal["keep", "keep_confident", "ignore"] = _RULE.unclaimed
    """Pixels without a mask keep the pseudo-label, keep it where confident, or become ignore."""
    min_confidence: Share = _RULE.min_confidence
    """The least confidence at which `keep_confident` keeps a pseudo-label."""
    protect_small: bool = _RULE.protect_small
    """Whether components too small to be prompted are safe from the masks of others."""


class RefineConfig(ConfigModel):
    """Which SAM refines, and by which rule."""

    sam: SamConfig
    """The mask model."""
    rule: RefinementConfig = RefinementConfig()
    """How prompts are made and masks are used."""


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

    kind: ClassVar[str] = "refine"
    version: ClassVar[int] = 1
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
        """Nothing: SAM's weights are a local file."""

    def shards(self) -> Iterable[Shard]:
        return self.labels.artifact.mirrored()

    def prepare(self, runtime: "Runtime") -> Worker:
        settings = RefinementSettings(**self.config.rule.model_dump())
        sam = self._weights()
        refiner = self.config.sam.build(runtime.device, settings)

        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                with runtime.accelerator.autocast():
                    return [{**self._refine(item, shard, refiner, work), "sam": sam} for item in batch]

            work.map(self._items(shard), process, batch_size=1)

        return work_on

    def finish(self) -> None:
        what = (
            f"the pseudo-labels of {self.labels.name}, refined with segment-anything ({self.config.sam.weights.name})"
        )
        write_atomic(self.artifact.folder / "README.md", labels_card(self.artifact, self.label_map, what))

    def _weights(self) -> dict[str, str | bool]:
        return weight_identity(str(self.config.sam.weights), cache=self.hashes, key="refine.sam.weights")

    def _items(self, shard: Shard) -> list[Item]:
        return [Item(row["id"], stamp, row) for row, stamp in self.labels.artifact.stamped_rows(shard.id)]

    def _refine(self, item: Item, shard: Shard, refiner: "SamRefiner", work: ShardWork) -> Row:
        source, run_folder = item.payload, self.artifact.folder.parent
        labels = self.labels.artifact.shard_folder(shard.id)
        seed = item_seed(self.seed, "refine", item.id)
        result = refiner.refine(
            read_image(run_folder / source["source_image"]),
            read_labels(labels / source["file_name"]).astype(np.uint8),
            read_labels(labels / source["confidence_file_name"]).astype(np.float32) / np.float32(255),
            seed=seed,
            ignore=self.label_map.ignore,
        )
        write_labels(work.folder / f"{item.id}.png", result.labels_HW)
        return {
            "file_name": f"{item.id}.png",
            "id": item.id,
            "source_image": source["source_image"],
            "labels": f"{self.labels.name}/{shard.id}/{source['file_name']}",
            "seed": seed,
            **result.counts(),
        }
