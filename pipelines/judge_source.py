"""The stage `judge` on labelled images: how well a segmenter bears out the true labels of each class.

FreeMask (arXiv 2310.15160) takes from it what loss is usual for a class, which that of a generated label must not
exceed by far. It decides nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clouds.data.labels import LabelMap
from clouds.data.samples import Dataset
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic
from clouds.engine.shard import Item, Listed, Shard, list_name, made_from
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.errors import InputError
from clouds.models.judge_config import LossConfig

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime

Bytes: TypeAlias = NDArray[np.uint8]

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
        for name in self.datasets:
            yield from self._listed(name).shards()

    def prepare(self, runtime: "Runtime") -> Worker:
        from clouds.models.inference import predict_scores
        from clouds.models.segmenter_files import load_segmenter
        from clouds.ops.label_evidence import count_classes, label_loss

        folder, ignore = self.teacher.artifact.shard_folder("model"), self.label_map.ignore
        segmenter, _ = load_segmenter(folder, runtime.device, expect_classes=self.label_map.names)
        autocast = runtime.accelerator.autocast

        def work_on(shard: Shard, work: ShardWork) -> None:
            name = list_name(shard.id)

            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                rows: dict[str, Row | Exception] = {}
                whole: list[tuple[str, Bytes, Bytes]] = []
                for item in batch:
                    read = _read(self.datasets[name], item)
                    if isinstance(read, InputError):
                        # it leaves the others of its batch alone
                        rows[item.id] = read
                    else:
                        whole.append((item.id, *read))
                images = [image_HWC for _, image_HWC, _ in whole]
                for position, scores_KHW in predict_scores(segmenter, images, autocast, self.config):
                    id_, _, labels_HW = whole[position]
                    loss_HW = label_loss(scores_KHW, labels_HW, ignore)
                    rows[id_] = {"id": id_, "dataset": name, "classes": count_classes(labels_HW, loss_HW, ignore)}
                return [rows[item.id] for item in batch]

            work.map(self._listed(name).items(shard), process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        write_atomic(self.artifact.folder / "README.md", f"# {self.name}\n\n{_CARD}\n")

    def _listed(self, name: str) -> Listed:
        dataset = self.datasets[name]
        of = made_from(self.teacher.artifact.stamp(), dataset.identity())
        return Listed(name=name, ids=dataset.ids, stamp=dataset.stamp, shard_items=self.shard_items, of=of)


def _read(dataset: Dataset, item: Item) -> tuple[Bytes, Bytes] | InputError:
    """The image and the labels of an item, or why they cannot be used."""
    try:
        image_HWC, labels_HW = dataset.image(item.payload), dataset.labels(item.payload)
    except InputError as error:
        return InputError(f"data set {dataset.name!r}, {item.id}: {error.message}", error.mend)
    sizes = [f"{one.shape[1]}x{one.shape[0]}" for one in (labels_HW, image_HWC)]
    if sizes[0] != sizes[1]:
        return InputError(
            f"data set {dataset.name!r}, {item.id}: the labels are {sizes[0]}, the image is {sizes[1]}",
            "mend the labels, or take the image out of the data set",
        )
    return image_HWC, labels_HW
