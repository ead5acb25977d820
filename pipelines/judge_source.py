"""The stage `judge` on labelled images: how well a segmenter bears out the true labels of each class.

FreeMask (arXiv 2310.15160) takes from it what loss is usual for a class, which that of a generated label must not
exceed by far. It decides nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from clouds.data.labels import LabelMap
from clouds.data.samples import Dataset
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic
from clouds.engine.shard import Item, Shard, digest, named_shards
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.models.judge_config import LossConfig

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime

_CARD = (
    "How well the segmenter that labelled the generated images bears out the true labels of others. In\n"
    "`metadata.jsonl`, `classes` lists of each class in an image its id, its pixels and the sum of their\n"
    "cross-entropies, 4096 steps to a natural unit."
)


# no repr: it would tell all stages before it, once for every way to them
@dataclass(frozen=True, repr=False)
class JudgeSource:
    """The sums of the cross-entropy of each class' labels, of each image of labelled data sets."""

    artifact: Artifact
    config: LossConfig
    teacher: Stage
    datasets: Mapping[str, Dataset]
    label_map: LabelMap
    shard_items: int
    precision: str

    kind: ClassVar[str] = "judge"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.teacher,)

    def identity(self) -> Mapping[str, Any]:
        return {
            "classes": self.label_map.describe(),
            "precision": self.precision,
            "shard_items": self.shard_items,
            "data": {name: dataset.identity() for name, dataset in self.datasets.items()},
        }

    def fetch(self) -> None:
        """Nothing: its weights are made by another stage."""

    def shards(self) -> Iterable[Shard]:
        for name, dataset in self.datasets.items():
            stamps = [f"{item} {dataset.stamp(index)}" for index, item in enumerate(dataset.ids)]
            yield from named_shards(name, stamps, self.shard_items, self._made_from(dataset))

    def prepare(self, runtime: "Runtime") -> Worker:
        from clouds.models.inference import predict_scores
        from clouds.models.segmenter_files import load_segmenter
        from clouds.ops.label_evidence import count_classes, label_loss

        folder, ignore = self.teacher.artifact.shard_folder("model"), self.label_map.ignore
        segmenter, _ = load_segmenter(folder, runtime.device, expect_classes=self.label_map.names)
        autocast = runtime.accelerator.autocast

        def work_on(shard: Shard, work: ShardWork) -> None:
            name, _, number = shard.id.rpartition("-")
            dataset, start = self.datasets[name], int(number) * self.shard_items

            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                images = [dataset.image(item.payload) for item in batch]
                maps = [dataset.labels(item.payload) for item in batch]
                classes: dict[int, list[list[int]]] = {}
                for position, scores_KHW in predict_scores(segmenter, images, autocast, self.config):
                    loss_HW = label_loss(scores_KHW, maps[position], ignore)
                    classes[position] = count_classes(maps[position], loss_HW, ignore)
                return [{"id": item.id, "dataset": name, "classes": classes[at]} for at, item in enumerate(batch)]

            work.map(self._items(dataset, range(start, start + shard.size)), process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        write_atomic(self.artifact.folder / "README.md", f"# {self.name}\n\n{_CARD}\n")

    def _items(self, dataset: Dataset, indices: range) -> list[Item]:
        made_from = self._made_from(dataset)
        return [Item(dataset.ids[index], f"{made_from} {dataset.stamp(index)}", index) for index in indices]

    def _made_from(self, dataset: Dataset) -> str:
        return digest([self.teacher.artifact.stamp(), json.dumps(dataset.identity(), sort_keys=True)])
