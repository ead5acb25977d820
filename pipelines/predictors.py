"""Whose predictions an evaluation scores: a segmenter of the run, one that is given, or files. It scores nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from clouds.data.labels import LabelMap
from clouds.data.predictions import FoundPredictions, PredictionsConfig
from clouds.data.samples import Dataset
from clouds.engine.shard import digest
from clouds.engine.stage import Stage
from clouds.models.given import GivenSegmenter
from clouds.scoring.counts import Ids_HW
from pipelines.evaluate import EvaluateConfig, Predict, ScoredConfig

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime


class ScoredModel(Protocol):
    """A segmenter to be scored, made by a stage of this run or given."""

    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def needs(self) -> Sequence[Stage]: ...

    def identity(self) -> Mapping[str, str]:
        """What tells it from others, beyond the stages it needs."""

    def stamp(self) -> str:
        """What changes when its weights do."""


@dataclass(frozen=True)
class MadeModel:
    """The segmenter a stage of this run makes."""

    stage: Stage

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def folder(self) -> Path:
        return self.stage.artifact.shard_folder("model")

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.stage,)

    def identity(self) -> Mapping[str, str]:
        return {}

    def stamp(self) -> str:
        return self.stage.artifact.stamp()


@dataclass(frozen=True)
class GivenModel:
    """A segmenter that is there already."""

    given: GivenSegmenter
    needs: Sequence[Stage] = ()

    @property
    def name(self) -> str:
        return self.given.name

    @property
    def folder(self) -> Path:
        return self.given.folder

    def identity(self) -> Mapping[str, str]:
        return self.given.identity()

    def stamp(self) -> str:
        return digest(self.identity().values())


@dataclass(frozen=True, repr=False)
class SegmenterPredictor:
    """A segmenter predicts, by the protocol of the config."""

    model: ScoredModel
    config: EvaluateConfig
    label_map: LabelMap
    precision: str

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def needs(self) -> Sequence[Stage]:
        return self.model.needs

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def identity(self) -> Mapping[str, Any]:
        return {"model": self.model.identity(), "precision": self.precision}

    def stamp(self) -> str:
        return self.model.stamp()

    def item_stamp(self, dataset: str, index: int) -> str:
        return ""

    def prepare(self, runtime: "Runtime") -> Predict:
        from clouds.models.inference import predict_scores
        from clouds.models.segmenter_files import load_segmenter

        segmenter, _ = load_segmenter(self.model.folder, runtime.device, expect_classes=self.label_map.names)

        def predict(dataset: Dataset, indices: Sequence[int]) -> Iterator[tuple[int, Ids_HW]]:
            images = [dataset.image(index) for index in indices]
            for position, scores_KHW in predict_scores(segmenter, images, runtime.accelerator.autocast, self.config):
                yield position, scores_KHW.argmax(0).cpu().numpy()

        return predict

    def check(self, dataset: str, index: int, prediction_HW: Ids_HW, labels_HW: Ids_HW) -> None:
        """Nothing: it predicts at the size of the image."""

    def protocol(self, dataset: str) -> Mapping[str, Any]:
        return self.config.describe()


class FilesConfig(ScoredConfig):
    """Which predictions on disk are scored on which data sets."""

    files: PredictionsConfig
    """Where they lie, and what they hold."""

    @classmethod
    def of(cls, config: EvaluateConfig, files: PredictionsConfig) -> "FilesConfig":
        """As segmenters are scored by this config, whose protocol is none of the files'."""
        return cls(**{name: getattr(config, name) for name in ScoredConfig.model_fields}, files=files)


FindPredictions = Callable[[str], FoundPredictions]
"""The predictions of a data set by its name; raises `CloudsError` where they are not all there."""


@dataclass(frozen=True, repr=False)
class FilePredictor:
    """Predictions are read from files, one for each item of each data set."""

    name: str
    config: FilesConfig
    find: FindPredictions

    needs: ClassVar[Sequence[Stage]] = ()
    # nothing goes together but the records; a prediction is read when it is scored
    batch_size: ClassVar[int] = 8

    def identity(self) -> Mapping[str, Any]:
        return {}

    def stamp(self) -> str:
        return ""

    def item_stamp(self, dataset: str, index: int) -> str:
        return f" {self.find(dataset).stamp(index)}"

    def prepare(self, runtime: "Runtime") -> Predict:
        def predict(dataset: Dataset, indices: Sequence[int]) -> Iterator[tuple[int, Ids_HW]]:
            files = self.find(dataset.name)
            return ((position, files.read(index)) for position, index in enumerate(indices))

        return predict

    def check(self, dataset: str, index: int, prediction_HW: Ids_HW, labels_HW: Ids_HW) -> None:
        self.find(dataset).check_size(index, prediction_HW.shape, labels_HW.shape)

    def protocol(self, dataset: str) -> Mapping[str, Any]:
        return {"predictions": self.name, "form": self.find(dataset).form, "compared_at": "label resolution"}
