"""The stages that only the ablation has: the first images of an artifact, a data set's images, labels by a rule."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from clouds.config import ConfigModel
from clouds.data.images import write_image, write_labels
from clouds.data.samples import Dataset
from clouds.engine.artifact import Artifact
from clouds.engine.shard import Item, Listed, Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.errors import InputError

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime

Labels = NDArray[np.uint8]


class FirstConfig(ConfigModel):
    """How many images to take."""

    count: int


@dataclass(frozen=True, repr=False)
class First:
    """The first images of an artifact, as links to its files: the images it would have if it had been asked for few."""

    artifact: Artifact
    config: FirstConfig
    images: Stage

    kind: ClassVar[str] = "first"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.images,)

    def identity(self) -> Mapping[str, Any]:
        return {}

    def fetch(self) -> None:
        """Nothing: it has no weights."""

    def shards(self) -> Iterable[Shard]:
        left = self.config.count
        for shard in self.images.artifact.shard_ids():
            items = self._items(shard)[:left]
            left -= len(items)
            if items:
                # the items' own stamps: images that are made beyond the first change nothing here
                yield Shard(shard, len(items), digest(f"{item.id} {item.token}" for item in items))

    def prepare(self, runtime: "Runtime") -> Worker:
        def work_on(shard: Shard, work: ShardWork) -> None:
            folder = self.images.artifact.shard_folder(shard.id)

            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                for item in batch:
                    link(folder / item.payload["file_name"], work.folder / item.payload["file_name"])
                return [{key: value for key, value in item.payload.items() if key != "inputs"} for item in batch]

            work.map(self._items(shard.id)[: shard.size], process, batch_size=50)

        return work_on

    def finish(self) -> None:
        """Nothing: the artifact it takes from describes the images."""

    def _items(self, shard: str) -> list[Item]:
        return [Item(row["id"], stamp, row) for row, stamp in self.images.artifact.stamped_rows(shard)]


@dataclass(frozen=True, repr=False)
class Photographs:
    """The images of a data set, as files that are labelled like generated ones; its labels are not read."""

    artifact: Artifact
    dataset: Dataset
    shard_items: int
    needs: tuple[Stage, ...] = ()

    config: ClassVar[ConfigModel] = ConfigModel()
    kind: ClassVar[str] = "photographs"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    def identity(self) -> Mapping[str, Any]:
        return {**self.dataset.identity(), "shard_items": self.shard_items}

    def fetch(self) -> None:
        """Nothing: it has no weights."""

    def shards(self) -> Iterable[Shard]:
        return self._listed().shards()

    def prepare(self, runtime: "Runtime") -> Worker:
        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                return [self._write(item, work.folder) for item in batch]

            work.map(self._listed().items(shard), process, batch_size=50)

        return work_on

    def finish(self) -> None:
        """Nothing: only the benchmark reads them."""

    def _listed(self) -> Listed:
        return Listed(ids=self.dataset.ids, stamp=self.dataset.stamp, shard_items=self.shard_items)

    def _write(self, item: Item, folder: Path) -> Row | Exception:
        try:
            image_HWC = self.dataset.image(item.payload)
        except InputError as error:
            return error
        write_image(folder / f"{item.id}.png", image_HWC)
        return {"file_name": f"{item.id}.png", "id": item.id}


@dataclass(frozen=True, repr=False)
class SceneLabels:
    """Labels of images by a rule that knows what they show, laid out as the stage `label` does."""

    artifact: Artifact
    scenes: Stage
    """The images: rendered scenes, or photographs."""
    labels_of: Callable[[str, Row], Labels]
    """The labels of an image: of its shard and its row."""
    identity_of_rule: Mapping[str, Any]
    reads: tuple[Stage, ...] = ()
    """What the rule reads besides the scenes."""

    config: ClassVar[ConfigModel] = ConfigModel()
    kind: ClassVar[str] = "scene_labels"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.scenes, *self.reads)

    def identity(self) -> Mapping[str, Any]:
        return self.identity_of_rule

    def fetch(self) -> None:
        """Nothing: it has no weights."""

    def shards(self) -> Iterable[Shard]:
        return self.scenes.artifact.mirrored(self._token())

    def prepare(self, runtime: "Runtime") -> Worker:
        token = self._token()

        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                return [self._write(item, shard, work.folder) for item in batch]

            (work.folder / "labels").mkdir(exist_ok=True)
            rows = self.scenes.artifact.stamped_rows(shard.id)
            work.map([Item(row["id"], token + stamp, row) for row, stamp in rows], process, batch_size=50)

        return work_on

    def finish(self) -> None:
        """Nothing: only the benchmark reads them."""

    def _token(self) -> str:
        return "".join(stage.artifact.stamp() for stage in self.reads)

    def _write(self, item: Item, shard: Shard, folder: Path) -> Row:
        name = f"labels/{item.id}.png"
        write_labels(folder / name, self.labels_of(shard.id, item.payload))
        source = f"{self.scenes.name}/{shard.id}/{item.payload['file_name']}"
        return {"file_name": name, "id": item.id, "source_image": source}


def link(source: Path, target: Path) -> None:
    """A second name for a file; a copy where the file system has no links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def majority_of_instances(labels_HW: Labels, instances_HW: NDArray[np.integer[Any]], ignore: int) -> Labels:
    """The labels with each instance given the class most of its pixels have; `ignore` where none has a class."""
    numbers, position = np.unique(instances_HW, return_inverse=True)
    pairs = position.reshape(-1) * 256 + labels_HW.reshape(-1)
    votes = np.bincount(pairs, minlength=256 * len(numbers)).reshape(-1, 256)
    votes[:, ignore] = 0
    winners = np.where(votes.any(axis=1), votes.argmax(axis=1), ignore).astype(np.uint8)
    return winners[position].reshape(labels_HW.shape)


def label_files(artifact: Artifact) -> Iterator[tuple[str, Path]]:
    """The id and the file of each label map of an artifact."""
    for shard in artifact.shard_ids():
        for row in artifact.rows(shard):
            yield row["id"], artifact.shard_folder(shard) / row["file_name"]
