"""The stage `evaluate`: how well a segmenter, or whoever predicted, does on labelled data sets. It changes no model."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BeforeValidator, Field

from clouds.config import ConfigModel, Neutral, without_nulls
from clouds.data.labels import LabelMap
from clouds.data.predictions import Predictions
from clouds.data.samples import Dataset
from clouds.data.submission import RUN_IDS, Form, PredictionFiles
from clouds.data.table import SetName
from clouds.engine.archive import write_zip
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic, write_json
from clouds.engine.shard import Item, Listed, Shard, list_name, made_from
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.errors import InputError
from clouds.models.protocol import ProtocolConfig
from clouds.report.comparison import PREDICTION
from clouds.report.tables import class_table
from clouds.scoring.counts import Ids_HW, ScoringConfig, count
from clouds.scoring.scores import score

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime

SAVED = "saved_file_name"
"""The key under which a row names the file of a prediction that was asked for."""


class ScoredConfig(ConfigModel):
    """What is scored, whoever predicted it."""

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


class EvaluateConfig(ScoredConfig, ProtocolConfig):
    """On which data sets, and by which protocol, a segmenter is scored; and which predictions beside it."""

    # each is an evaluation of its own
    predictions: Neutral[Annotated[dict[SetName, Predictions], BeforeValidator(without_nulls)]] = Field(default={})
    """Predictions that lie on disk, such as another tool's, by the name each is to have in tables: a folder, or a
    mapping with `folder`, `form` and `suffix`; null takes one out."""
    batch_size: Neutral[Annotated[int, Field(ge=1)]] = 8
    """Images per forward pass; views or windows, where the protocol has several."""


Predict = Callable[[Dataset, Sequence[int]], Iterator[tuple[int, Ids_HW]]]
"""The predictions of these items of a data set, in any order: position in the sequence, ids of the run."""


class Predictor(Protocol):
    """Whose predictions are scored: those of a segmenter, or those in files."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> ScoredConfig: ...
    @property
    def needs(self) -> Sequence[Stage]: ...
    @property
    def batch_size(self) -> int:
        """Items that are predicted and recorded together."""

    def identity(self) -> Mapping[str, Any]:
        """What tells it from others, beyond its config and the stages it needs."""

    def stamp(self) -> str:
        """What changes when all of its predictions may."""

    def item_stamp(self, dataset: str, index: int) -> str:
        """What changes when its prediction of one item does; empty where that is as `stamp` says."""

    def prepare(self, runtime: "Runtime") -> Predict:
        """Load what predicting needs, on this process's device."""

    def check(self, dataset: str, index: int, prediction_HW: Ids_HW, labels_HW: Ids_HW) -> None:
        """Raise `CloudsError` for a prediction that cannot be compared with these labels."""

    def protocol(self, dataset: str) -> Mapping[str, Any]:
        """How its predictions of a data set came about, which is told with every score."""


# no repr: it would tell all stages before it, once for every way to them
@dataclass(frozen=True, repr=False)
class Evaluate:
    """The confusion counts of every image of every data set, and the scores they add up to."""

    artifact: Artifact
    predictor: Predictor
    datasets: Mapping[str, Dataset]
    label_map: LabelMap
    shard_items: int
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
    def config(self) -> ScoredConfig:
        return self.predictor.config

    @property
    def needs(self) -> Sequence[Stage]:
        return self.predictor.needs

    def identity(self) -> Mapping[str, Any]:
        return {
            "classes": self.label_map.describe(),
            **self.predictor.identity(),
            "shard_items": self.shard_items,
        }

    def fetch(self) -> None:
        """Nothing: weights are made by another stage, and files are there."""

    def shards(self) -> Iterable[Shard]:
        for name in self.datasets:
            yield from self._listed(name).shards()

    def prepare(self, runtime: "Runtime") -> Worker:
        predict = self.predictor.prepare(runtime)

        def work_on(shard: Shard, work: ShardWork) -> None:
            name = list_name(shard.id)
            dataset = self.datasets[name]

            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                rows: dict[int, Row | Exception] = {}
                for position, prediction_HW in predict(dataset, [item.payload for item in batch]):
                    rows[position] = self._row(batch[position], dataset, prediction_HW, work.folder)
                return [rows[position] for position in range(len(batch))]

            work.map(self._listed(name).items(shard), process, self.predictor.batch_size)

        return work_on

    def finish(self) -> None:
        scoring = self.config.scoring
        results = {name: score(self.artifact, self._shards(name), self.label_map, scoring) for name in self.datasets}
        for name, result in results.items():
            result["protocol"] = self._protocol(name)
        write_json(self.artifact.folder / "scores.json", {"model": self.predictor.name, "results": results})
        write_atomic(self.artifact.folder / "scores.md", class_table(results, self.label_map.names))
        if self.files is not None and self.files.uploaded:
            for name in self.datasets:
                write_zip(self.artifact.folder / f"{name}.{self.files.form}.zip", self._saved(name))

    def _listed(self, name: str) -> Listed:
        """The items of a data set: each has the stamp of its files, and that of its prediction where there is one."""
        dataset = self.datasets[name]

        def stamp(index: int) -> str:
            return dataset.stamp(index) + self.predictor.item_stamp(dataset.name, index)

        of = made_from(self.predictor.stamp(), dataset.identity())
        return Listed(name=name, ids=dataset.ids, stamp=stamp, shard_items=self.shard_items, of=of)

    def _row(self, item: Item, dataset: Dataset, prediction_HW: Ids_HW, folder: Path) -> Row | Exception:
        row: Row = {"id": item.id, "dataset": dataset.name}
        try:
            if dataset.labelled:
                labels_HW = dataset.labels(item.payload)
                self.predictor.check(dataset.name, item.payload, prediction_HW, labels_HW)
                row |= count(prediction_HW, labels_HW, self.label_map, self.config.scoring)
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
        return [shard for shard in self.artifact.shard_ids() if list_name(shard) == name]

    def _protocol(self, name: str) -> dict[str, Any]:
        summaries = [summary for shard in self._shards(name) if (summary := self.artifact.summary(shard)) is not None]
        return {
            "images": sum(summary.done for summary in summaries),
            "failed": sum(summary.failed for summary in summaries),
            **self.predictor.protocol(name),
        }
