"""The stage `train`: the segmenter learns from labelled source images. It sees no generated and no target image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from clouds.data.labels import LabelMap
from clouds.data.samples import Dataset, data_stamp
from clouds.engine.artifact import Artifact
from clouds.engine.seeding import item_seed
from clouds.engine.shard import Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.models.segmenter_config import SegmenterConfig, backbone_identity
from clouds.models.weights import HashCache
from clouds.training.inputs import validation_identity, validation_stamp
from clouds.training.settings import TrainingConfig, Weights

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime


class TrainConfig(TrainingConfig):
    """How the segmenter learns from the source."""

    segmenter: SegmenterConfig
    """Backbone and head."""
    data: Weights
    """Data sets to learn from, by name, each with how often it is drawn from relative to the others."""


@dataclass(frozen=True)
class Train:
    """A segmenter trained on labelled data sets; its one shard is the model's folder."""

    artifact: Artifact
    config: TrainConfig
    datasets: Mapping[str, Dataset]
    label_map: LabelMap
    seed: int
    hashes: HashCache
    max_failures: int
    precision: str
    validated: Mapping[str, Dataset] = field(default_factory=dict)
    needs: tuple[Stage, ...] = ()

    kind: ClassVar[str] = "train"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "step"
    collective: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return self.artifact.name

    def identity(self) -> Mapping[str, Any]:
        return {
            "seed": self.seed,
            "classes": self.label_map.describe(),
            "precision": self.precision,
            "weights": backbone_identity(self.config.segmenter.backbone, self.hashes),
            "data": {name: dataset.identity() for name, dataset in self.datasets.items()},
            **validation_identity(self.config.validation, self.validated),
        }

    def fetch(self) -> None:
        from clouds.models.backbone_weights import recipe

        backbone = self.config.segmenter.backbone
        if backbone.hub_id or backbone.pretrained:
            recipe(backbone)

    def shards(self) -> Iterable[Shard]:
        chosen_by = validation_stamp(self.config.validation, self.validated)
        yield Shard("model", self.config.steps, digest([*data_stamp(self.datasets), *chosen_by]))

    def prepare(self, runtime: "Runtime") -> Worker:
        from clouds.models.segmenter import build_segmenter
        from clouds.training.draws import Source
        from clouds.training.worker import TrainingWorker

        segmenter, config = self.config.segmenter, self.config
        return TrainingWorker(
            stage=self.name,
            run_folder=self.artifact.folder.parent,
            model=build_segmenter(segmenter, self.label_map, seed=item_seed(self.seed, "weights")),
            sources=[
                Source(dataset, config.data[name], config.augment, config.rare_classes)
                for name, dataset in self.datasets.items()
            ],
            validated=self.validated,
            config=config,
            backbone_lr_multiplier=segmenter.backbone.lr_multiplier,
            class_names=self.label_map.names,
            class_colors=self.label_map.colors,
            ignore=self.label_map.ignore,
            run_seed=self.seed,
            max_failures=self.max_failures,
            runtime=runtime,
        )

    def finish(self) -> None:
        """Nothing: the model's folder describes itself."""
