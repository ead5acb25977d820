"""The stage `evaluate`: how well a segmenter does on labelled data sets. It changes no model."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from clouds.config import Neutral
from clouds.data.labels import LabelMap
from clouds.data.samples import Dataset
from clouds.data.submission import RUN_IDS, Form, PredictionFiles
from clouds.engine.archive import write_zip
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic, write_json
from clouds.engine.shard import Item, Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.errors import InputError
from clouds.models.given import GivenSegmenter
from clouds.models.protocol import ProtocolConfig
from clouds.report.comparison import PREDICTION
from clouds.report.tables import class_table
from clouds.scoring.counts import ScoringConfig, count
from clouds.scoring.scores import score

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime

SAVED = "saved_file_name"
"""The key under which a row names the file of a prediction that was asked for."""


class EvaluateConfig(ProtocolConfig):
    """On which data sets, and by which protocol, a segmenter is scored."""

    # the list of shards says which; a data set more leaves the scores of the others as they are
    data: Neutral[tuple[str, ...]]
    """Labelled data sets by name; unlabelled ones, too, where their predictions are saved."""
    keep_predictions: Annotated[int, Field(ge=0)] = 3
    """Predictions of each data set that the report shows beside the truth: those of its first images."""
    save_predictions: Literal[False] | Form = False
    """Write every prediction: labels (the run's ids), or what the servers of cityscapes or acdc take, with an archive
    for each data set."""
    scoring: ScoringConfig = ScoringConfig()
    """What is counted."""
    batch_size: Neutral[Annotated[int, Field(ge=1)]] = 8
    """Images per forward pass; views or windows, where the protocol has several."""


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


# no repr: it would tell all stages before it, once for every way to them
@dataclass(frozen=True, repr=False)
class Evaluate:
    """The confusion counts of every image of every data set, and the scores they add up to."""

    artifact: Artifact
    config: EvaluateConfig
    model: ScoredModel
    datasets: Mapping[str, Dataset]
    label_map: LabelMap
    shard_items: int
    precision: str
    files: PredictionFiles | None = None
    """How every prediction is saved; None: none is but for the report."""

    kind: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 2
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> Sequence[Stage]:
        return self.model.needs

    def identity(self) -> Mapping[str, Any]:
        return {
            "classes": self.label_map.describe(),
            "model": self.model.identity(),
            "precision": self.precision,
            "shard_items": self.shard_items,
        }

    def fetch(self) -> None:
        """Nothing: its weights are made by another stage."""

    def shards(self) -> Iterable[Shard]:
        for name, dataset in self.datasets.items():
            made_from = self._made_from(dataset)
            for number, start in enumerate(range(0, len(dataset.ids), self.shard_items)):
                items = range(start, min(start + self.shard_items, len(dataset.ids)))
                stamps = (f"{dataset.ids[index]} {dataset.stamp(index)}" for index in items)
                yield Shard(f"{name}-{number:05d}", len(items), digest([made_from, *stamps]))

    def prepare(self, runtime: "Runtime") -> Worker:
        from clouds.models.inference import predict_scores
        from clouds.models.segmenter_files import load_segmenter

        segmenter, _ = load_segmenter(self.model.folder, runtime.device, expect_classes=self.label_map.names)

        def work_on(shard: Shard, work: ShardWork) -> None:
            name, _, number = shard.id.rpartition("-")
            dataset = self.datasets[name]

            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                images = [dataset.image(item.payload) for item in batch]
                rows: dict[int, Row | Exception] = {}
                autocast = runtime.accelerator.autocast
                for position, scores_KHW in predict_scores(segmenter, images, autocast, self.config):
                    prediction_HW = scores_KHW.argmax(0).cpu().numpy()
                    rows[position] = self._row(batch[position], dataset, prediction_HW, work.folder)
                return [rows[position] for position in range(len(batch))]

            start = int(number) * self.shard_items
            work.map(self._items(dataset, range(start, start + shard.size)), process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        scoring = self.config.scoring
        results = {name: score(self.artifact, self._shards(name), self.label_map, scoring) for name in self.datasets}
        for name, result in results.items():
            result["protocol"] = self._protocol(name)
        write_json(self.artifact.folder / "scores.json", {"model": self.model.name, "results": results})
        write_atomic(self.artifact.folder / "scores.md", class_table(results, self.label_map.names))
        if self.files is not None and self.files.uploaded:
            for name in self.datasets:
                write_zip(self.artifact.folder / f"{name}.{self.files.form}.zip", self._saved(name))

    def _items(self, dataset: Dataset, indices: range) -> list[Item]:
        made_from = self._made_from(dataset)
        return [Item(dataset.ids[index], f"{made_from} {dataset.stamp(index)}", index) for index in indices]

    def _made_from(self, dataset: Dataset) -> str:
        """What stamps every score of a data set: the model, and how the data set is read."""
        return digest([self.model.stamp(), json.dumps(dataset.identity(), sort_keys=True)])

    def _row(self, item: Item, dataset: Dataset, prediction_HW: np.ndarray, folder: Path) -> Row | Exception:
        row: Row = {"id": item.id, "dataset": dataset.name}
        try:
            if dataset.labelled:
                row |= count(prediction_HW, dataset.labels(item.payload), self.label_map, self.config.scoring)
        except InputError as error:
            return InputError(f"data set {dataset.name!r}, {item.id}: {error.message}", error.mend)
        if self.files is not None:
            row[SAVED] = self.files.write(folder, item.id, prediction_HW)
        if item.payload < self.config.keep_predictions:
            row[PREDICTION] = RUN_IDS.write(folder, item.id, prediction_HW)
        return row

    def _saved(self, name: str) -> Iterable[tuple[str, Path]]:
        """The files saved of a data set, by their names for the server."""
        for shard in self._shards(name):
            for row in self.artifact.rows(shard):
                yield Path(row[SAVED]).name, self.artifact.shard_folder(shard) / row[SAVED]

    def _shards(self, name: str) -> list[str]:
        return [shard for shard in self.artifact.shard_ids() if shard.rpartition("-")[0] == name]

    def _protocol(self, name: str) -> dict[str, Any]:
        summaries = [summary for shard in self._shards(name) if (summary := self.artifact.summary(shard)) is not None]
        return {
            "images": sum(summary.done for summary in summaries),
            "failed": sum(summary.failed for summary in summaries),
            **self.config.describe(),
        }
