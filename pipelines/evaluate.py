"""The stage `evaluate`: how well a segmenter does on labelled data sets. It changes no model."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from clouds.config import Neutral
from clouds.data.images import write_labels
from clouds.data.labels import LabelMap
from clouds.data.samples import Dataset
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic, write_json
from clouds.engine.shard import Item, Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.errors import InputError
from clouds.models.protocol import ProtocolConfig
from clouds.ops.confusion import cells_of, confusion_matrix, matrix_from_cells
from clouds.report.comparison import PREDICTION
from clouds.report.tables import class_table, scores_json

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime


class EvaluateConfig(ProtocolConfig):
    """On which data sets, and by which protocol, a segmenter is scored."""

    # the list of shards says which; a data set more leaves the scores of the others as they are
    data: Neutral[tuple[str, ...]]
    """Labelled data sets by name."""
    keep_predictions: Annotated[int, Field(ge=0)] = 3
    """Predictions to keep of each data set, those of its first images: the report shows them beside the truth."""
    batch_size: Neutral[Annotated[int, Field(ge=1)]] = 8
    """Images per forward pass; views or windows, where the protocol has several."""


# no repr: it would tell all stages before it, once for every way to them
@dataclass(frozen=True, repr=False)
class Evaluate:
    """The confusion counts of every image of every data set, and the scores they add up to."""

    artifact: Artifact
    config: EvaluateConfig
    model: Stage
    datasets: Mapping[str, Dataset]
    label_map: LabelMap
    shard_items: int
    precision: str

    kind: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.model,)

    def identity(self) -> Mapping[str, Any]:
        return {
            "classes": self.label_map.describe(),
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

        folder = self.model.artifact.shard_folder("model")
        segmenter, _ = load_segmenter(folder, runtime.device, expect_classes=self.label_map.names)

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
        results = {name: scores_json(self._matrix(name), self.label_map.names) for name in self.datasets}
        for name, result in results.items():
            result["protocol"] = self._protocol(name)
        write_json(self.artifact.folder / "scores.json", {"model": self.model.name, "results": results})
        write_atomic(self.artifact.folder / "scores.md", class_table(results, self.label_map.names))

    def _items(self, dataset: Dataset, indices: range) -> list[Item]:
        made_from = self._made_from(dataset)
        return [Item(dataset.ids[index], f"{made_from} {dataset.stamp(index)}", index) for index in indices]

    def _made_from(self, dataset: Dataset) -> str:
        """What stamps every score of a data set: the model, and how the data set is read."""
        return digest([self.model.artifact.stamp(), json.dumps(dataset.identity(), sort_keys=True)])

    def _row(self, item: Item, dataset: Dataset, prediction_HW: np.ndarray, folder: Path) -> Row | Exception:
        try:
            labels_HW = dataset.labels(item.payload)
        except InputError as error:
            return error
        matrix = confusion_matrix(prediction_HW, labels_HW, self.label_map.num_classes, self.label_map.ignore)
        row: Row = {"id": item.id, "dataset": dataset.name, "cells": cells_of(matrix)}
        if item.payload < self.config.keep_predictions:
            row[PREDICTION] = f"{item.id}.png"
            write_labels(folder / row[PREDICTION], prediction_HW)
        return row

    def _matrix(self, name: str) -> np.ndarray:
        """The confusion matrix of a data set: the sum of its images' counts."""
        classes = self.label_map.num_classes
        total = np.zeros((classes, classes + 1), dtype=np.int64)
        for shard in self.artifact.shard_ids():
            if shard.rpartition("-")[0] == name:
                for row in self.artifact.rows(shard):
                    total += matrix_from_cells(row["cells"], classes)
        return total

    def _protocol(self, name: str) -> dict[str, Any]:
        shards = [shard for shard in self.artifact.shard_ids() if shard.rpartition("-")[0] == name]
        summaries = [summary for shard in shards if (summary := self.artifact.summary(shard)) is not None]
        return {
            "images": sum(summary.done for summary in summaries),
            "failed": sum(summary.failed for summary in summaries),
            **self.config.describe(),
        }
