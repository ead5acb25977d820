"""The stages `adapt` and `selftrain`: the segmenter goes on learning, from the source and from what was painted.

`adapt` has the source painted anew, whose labels are true; `selftrain` besides what the segmenter and SAM labelled, or
images without labels, which a teacher labels as the training goes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from clouds.data.labels import LabelMap
from clouds.data.paired import PairedFiles
from clouds.data.samples import Dataset, data_stamp
from clouds.data.transforms import AugmentConfig
from clouds.engine.artifact import Artifact
from clouds.engine.shard import Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.errors import UsageError, nearest
from clouds.training.inputs import validation_identity, validation_stamp
from clouds.training.online_settings import OnlineConfig
from clouds.training.settings import DistanceConfig, Factor, MixConfig, TrainingConfig, Weights
from clouds.training.sharpening import Sharpening

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime
    from clouds.models.segmenter import MaskSegmenter
    from clouds.training.feature_distance import FeatureDistance
    from clouds.training.online import Online


class AdaptConfig(TrainingConfig):
    """How the segmenter learns from the source and the repainted set together."""

    data: Weights
    """Labelled data sets by name, each with how often it is drawn from relative to the others."""
    repainted_weight: Annotated[float, Field(ge=0)] = 1.0
    """How often the repainted images, if there are any, are drawn from, on the same scale."""
    backbone_lr_multiplier: Annotated[float, Field(ge=0)] = 1.0
    """The learning rate of the backbone, as a share of the head's, where it is not frozen; by default as in `train`."""


class SelftrainConfig(AdaptConfig):
    """How the segmenter learns from all of these and the generated set together."""

    generated_weight: Annotated[float, Field(gt=0)] = 1.0
    """How often the generated set is drawn from, on the same scale."""
    generated_augment: AugmentConfig | None = None
    """What is done to a generated image, or another without labels; null: the same as to a source image."""
    generated_dice: Factor = 1.0
    """Factor on the dice loss of images whose labels are guessed; 0 turns it off for them."""
    mix: MixConfig | None = None
    """Paste classes of labelled images onto those whose labels are guessed; null: they stay as they are."""
    feature_distance: DistanceConfig | None = None
    """Keep the backbone's features of things, in images with true labels, near to those it begins with; null: free."""
    online: OnlineConfig | None = None
    """A teacher labels images as the student learns from them; null: their labels were made before, in rounds."""

    moved: ClassVar[Mapping[str, str]] = {"online.mix": "mix"}

    @model_validator(mode="before")
    @classmethod
    def _mix_was_online(cls, tree: Any) -> Any:
        """The config of an older run has the mix in `online`, null where there was none."""
        online = tree.get("online") if isinstance(tree, dict) else None
        if not isinstance(online, dict) or "mix" not in online:
            return tree
        mix = online["mix"]
        moved = {**tree, "online": {key: value for key, value in online.items() if key != "mix"}}
        if mix is None:
            return moved
        if tree.get("mix", mix) != mix:
            raise ValueError("`online.mix` is the former place of `mix`, and they differ: set `online.mix` to null")
        return {**moved, "mix": mix}

    @model_validator(mode="after")
    def _contrast_has_the_batch(self) -> "SelftrainConfig":
        if self.online is not None and self.online.contrast is not None and self.images_at_once is not None:
            raise ValueError("`online.contrast` compares all pixels of a step: set `images_at_once` to null")
        return self


# no repr: it would tell all stages before it, once for every way to them
@dataclass(frozen=True, repr=False)
class Selftrain:
    """The segmenter of an earlier stage, trained on; its one shard is the new model's folder."""

    artifact: Artifact
    config: AdaptConfig
    start: Stage
    images: Stage | None
    labels: Stage | None
    repainted: Stage | None
    datasets: Mapping[str, Dataset]
    label_map: LabelMap
    seed: int
    max_failures: int
    precision: str

    validated: Mapping[str, Dataset] = field(default_factory=dict)
    unlabelled: Mapping[str, Dataset] = field(default_factory=dict)
    """Photographs that an online teacher labels."""
    sharpening: Sharpening | None = None
    """Who refines its labels."""
    kind: str = "selftrain"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "step"
    collective: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._distant_classes()

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> Sequence[Stage]:
        return tuple(stage for stage in (self.start, self.images, self.labels, self.repainted) if stage is not None)

    def identity(self) -> Mapping[str, Any]:
        online: dict[str, Any] = {}
        if self.unlabelled:
            online["unlabelled"] = {name: dataset.identity() for name, dataset in self.unlabelled.items()}
        if self.sharpening is not None:
            online["refine"] = self.sharpening.identity()
        return {
            "seed": self.seed,
            "classes": self.label_map.describe(),
            "precision": self.precision,
            "data": {name: dataset.identity() for name, dataset in self.datasets.items()},
            **online,
            **validation_identity(self.config.validation, self.validated),
        }

    def fetch(self) -> None:
        """Those of the SAM, if there is one: the segmenter's are made by another stage."""
        if self.sharpening is not None:
            self.sharpening.fetch()

    def shards(self) -> Iterable[Shard]:
        upstream = [stage.artifact.stamp() for stage in self.needs]
        chosen_by = validation_stamp(self.config.validation, self.validated)
        learned = {**self.datasets, **{f"unlabelled {name}": dataset for name, dataset in self.unlabelled.items()}}
        yield Shard("model", self.config.steps, digest([*data_stamp(learned), *upstream, *chosen_by]))

    def prepare(self, runtime: "Runtime") -> Worker:
        from clouds.models.segmenter_files import load_segmenter
        from clouds.training.draws import Source
        from clouds.training.worker import TrainingWorker

        config = self.config
        model, _ = load_segmenter(self.start.artifact.shard_folder("model"), expect_classes=self.label_map.names)
        sources = [
            Source(dataset, config.data[name], config.augment, config.rare_classes)
            for name, dataset in self.datasets.items()
        ]
        if self.repainted is not None:
            painted = self._painted("repainted", self.repainted, "labels_file_name")
            sources.append(Source(painted, config.repainted_weight, config.augment))
        if self.labels is not None and isinstance(config, SelftrainConfig):
            augment = config.generated_augment or config.augment
            source = Source(self._generated(self.labels), config.generated_weight, augment)
            sources.append(
                replace(
                    source, times=self._times(self.labels), dice=config.generated_dice, mix=config.mix, guessed=True
                )
            )
        return TrainingWorker(
            stage=self.name,
            run_folder=self.artifact.folder.parent,
            model=model,
            sources=sources,
            validated=self.validated,
            config=config,
            backbone_lr_multiplier=config.backbone_lr_multiplier,
            class_names=self.label_map.names,
            class_colors=self.label_map.colors,
            ignore=self.label_map.ignore,
            run_seed=self.seed,
            max_failures=self.max_failures,
            runtime=runtime,
            online=self._online(),
            distance=self._distance(model.to(runtime.device)),
        )

    def finish(self) -> None:
        """Nothing: the model's folder describes itself."""

    def _distance(self, model: "MaskSegmenter") -> "FeatureDistance | None":
        """From the backbone as it is now: where a training goes on, that is as it began."""
        from clouds.training.feature_distance import FeatureDistance

        config = _distance_of(self.config)
        return None if config is None else FeatureDistance(model, config, self._distant_classes())

    def _distant_classes(self) -> list[int]:
        """The ids of the classes that the distance counts for. Raises `UsageError` for a name that no class has."""
        config = _distance_of(self.config)
        found = {name: self.label_map.find(name) for name in (() if config is None else config.classes)}
        for name, class_id in found.items():
            if class_id is None:
                mend = nearest(name, self.label_map.names)
                raise UsageError(f"{self.kind}.feature_distance.classes names {name!r}, which is no class", mend)
        return [class_id for class_id in found.values() if class_id is not None]

    def _online(self) -> "Online | None":
        """The images without labels, each set as often drawn from as the config says."""
        from clouds.training.draws import Source
        from clouds.training.online import Online

        config = self.config
        if not isinstance(config, SelftrainConfig) or config.online is None:
            return None
        sets = [(dataset, config.online.unlabelled[name]) for name, dataset in self.unlabelled.items()]
        if self.images is not None:
            sets.append((self._painted("generated", self.images, None), config.generated_weight))
        augment = config.generated_augment or config.augment
        sources = [
            Source(dataset, weight, augment, dice=config.generated_dice, mix=config.mix, guessed=True)
            for dataset, weight in sets
        ]
        return Online(config=config.online, sources=sources, sharpening=self.sharpening)

    def _painted(self, name: str, stage: Stage, labels: str | None) -> Dataset:
        """What a stage painted, in the order of the artifact; `labels`: the key of a row's label file, if any."""
        artifact = stage.artifact
        rows = [(artifact.shard_folder(shard), row) for shard in artifact.shard_ids() for row in artifact.rows(shard)]
        return PairedFiles(
            name=name,
            ids=[row["id"] for _, row in rows],
            images_at=[str(folder / row["file_name"]) for folder, row in rows],
            labels_at=None if labels is None else [str(folder / row[labels]) for folder, row in rows],
            lookup=self.label_map.own_lookup(),
        )

    def _times(self, stage: Stage) -> list[int] | None:
        """How often each generated image comes in a round of draws; None where no filter says it."""
        artifact = stage.artifact
        rows = (row for shard in artifact.shard_ids() for row in artifact.rows(shard))
        return [row["times"] for row in rows] if stage.kind == "filter" else None

    def _generated(self, stage: Stage) -> Dataset:
        """The generated images with the labels to learn from, in the order of the artifacts."""
        run_folder, labels = self.artifact.folder.parent, stage.artifact
        rows = [(shard, row) for shard in labels.shard_ids() for row in labels.rows(shard)]
        return PairedFiles(
            name="generated",
            ids=[row["id"] for _, row in rows],
            images_at=[str(run_folder / row["source_image"]) for _, row in rows],
            labels_at=[str(labels.shard_folder(shard) / row["file_name"]) for shard, row in rows],
            lookup=self.label_map.own_lookup(),
        )


def _distance_of(config: AdaptConfig) -> DistanceConfig | None:
    return config.feature_distance if isinstance(config, SelftrainConfig) else None
