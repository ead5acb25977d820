"""The stage `judge`: measures on generated images and their labels what filters decide by. It decides nothing.

One measure is one stage, so that a threshold changed in `filter` runs no model, and a new filter only its own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from clouds.config import ConfigModel
from clouds.data.images import read_image, read_labels, write_gray
from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic
from clouds.engine.shard import Item, Shard
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Process, Row, ShardWork
from clouds.models.judge_config import LOSS_FILE, VOTES_FILE, AgreementConfig, ClipConfig, LossConfig
from clouds.models.segmenter_config import backbone_identity
from clouds.models.weights import HashCache

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime
    from clouds.models.segmenter import MaskSegmenter

Measuring = Callable[[Shard, Path], Process]
"""What measures the items of a shard and writes into its folder."""


class Measure(Protocol):
    """What is measured of each item of the stage `items`, and by which stages' models besides."""

    @property
    def config(self) -> ConfigModel: ...
    @property
    def items(self) -> Stage: ...
    @property
    def models(self) -> Sequence[Stage]: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def card(self) -> str:
        """What the artifact holds, in words."""

    def identity(self) -> Mapping[str, Any]: ...
    def fetch(self) -> None: ...
    def load(self, runtime: "Runtime") -> Measuring: ...


# no repr: it would tell all stages before it, once for every way to them
@dataclass(frozen=True, repr=False)
class Judge:
    """One measure of each image of an artifact; shard by shard, as they are there."""

    artifact: Artifact
    measure: Measure

    kind: ClassVar[str] = "judge"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def config(self) -> ConfigModel:
        return self.measure.config

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.measure.items, *self.measure.models)

    def identity(self) -> Mapping[str, Any]:
        return self.measure.identity()

    def fetch(self) -> None:
        self.measure.fetch()

    def shards(self) -> Iterable[Shard]:
        return self.measure.items.artifact.mirrored(self._token())

    def prepare(self, runtime: "Runtime") -> Worker:
        measuring, token = self.measure.load(runtime), self._token()

        def work_on(shard: Shard, work: ShardWork) -> None:
            rows = self.measure.items.artifact.stamped_rows(shard.id)
            items = [Item(row["id"], token + stamp, row) for row, stamp in rows]
            work.map(items, measuring(shard, work.folder), self.measure.batch_size)

        return work_on

    def finish(self) -> None:
        write_atomic(self.artifact.folder / "README.md", f"# {self.name}\n\n{self.measure.card}\n")

    def _token(self) -> str:
        return "".join(stage.artifact.stamp() for stage in self.measure.models)


@dataclass(frozen=True, repr=False)
class LabelLoss:
    """The cross-entropy of each pixel's label by the segmenter that labelled, and its sum over each class."""

    items: Stage
    teacher: Stage
    config: LossConfig
    label_map: LabelMap
    precision: str

    card: ClassVar[str] = (
        "The segmenter's cross-entropy of each pixel's label: 16-bit PNG, 4096 steps to a natural unit, 65535 for all\n"
        "above, 0 where there is no label. In `metadata.jsonl`, `classes` lists of each class in an image its id, its\n"
        "pixels and the sum of their losses in steps."
    )

    @property
    def models(self) -> Sequence[Stage]:
        return (self.teacher,)

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def identity(self) -> Mapping[str, Any]:
        return {"classes": self.label_map.describe(), "precision": self.precision}

    def fetch(self) -> None:
        """Nothing: its weights are made by another stage."""

    def load(self, runtime: "Runtime") -> Measuring:
        from clouds.models.inference import predict_scores
        from clouds.ops.label_evidence import count_classes, label_loss

        segmenter, autocast = _segmenter(self.teacher, self.label_map, runtime), runtime.accelerator.autocast
        labels_of, ignore = self.items.artifact, self.label_map.ignore

        def measuring(shard: Shard, folder: Path) -> Process:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                images = [read_image(_image(self.items, shard, item)) for item in batch]
                maps = [read_labels(labels_of.shard_folder(shard.id) / item.payload["file_name"]) for item in batch]
                rows: dict[int, Row | Exception] = {}
                for position, scores_KHW in predict_scores(segmenter, images, autocast, self.config):
                    labels_HW = maps[position].astype(np.uint8)
                    loss_HW = label_loss(scores_KHW, labels_HW, ignore)
                    item = batch[position]
                    row: Row = {"id": item.id, LOSS_FILE: f"{item.id}.png"}
                    write_gray(folder / row[LOSS_FILE], loss_HW)
                    rows[position] = {**row, "classes": count_classes(labels_HW, loss_HW, ignore)}
                return [rows[position] for position in range(len(batch))]

            return process

        return measuring


@dataclass(frozen=True, repr=False)
class ViewAgreement:
    """How many views of each image the segmenter labels alike, pixel by pixel."""

    items: Stage
    teacher: Stage
    config: AgreementConfig
    label_map: LabelMap
    precision: str

    card: ClassVar[str] = (
        "How many views of an image the segmenter gives one label, pixel by pixel: 8-bit PNG, 0 to `views` in\n"
        "`metadata.jsonl`, where `agreement` is the mean share."
    )

    @property
    def models(self) -> Sequence[Stage]:
        return (self.teacher,)

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def identity(self) -> Mapping[str, Any]:
        return {"classes": self.label_map.describe(), "precision": self.precision}

    def fetch(self) -> None:
        """Nothing: its weights are made by another stage."""

    def load(self, runtime: "Runtime") -> Measuring:
        from clouds.models.views import labels_of_views, views_of
        from clouds.ops.label_evidence import votes

        segmenter, autocast = _segmenter(self.teacher, self.label_map, runtime), runtime.accelerator.autocast
        views, ignore = views_of(self.config.views), self.label_map.ignore

        def measuring(shard: Shard, folder: Path) -> Process:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                images = [read_image(_image(self.items, shard, item)) for item in batch]
                rows: list[Row | Exception] = []
                found = labels_of_views(segmenter, images, autocast, self.config, views, ignore)
                for item, labels_VHW in zip(batch, found, strict=True):
                    votes_HW = votes(labels_VHW, ignore)
                    row: Row = {"id": item.id, VOTES_FILE: f"{item.id}.png"}
                    write_gray(folder / row[VOTES_FILE], votes_HW)
                    share = round(float(votes_HW.mean()) / len(views), 6)
                    rows.append({**row, "views": len(views), "agreement": share})
                return rows

            return process

        return measuring


@dataclass(frozen=True, repr=False)
class PromptScore:
    """How well a CLIP finds each image to show its text."""

    items: Stage
    config: ClipConfig
    hashes: HashCache
    key: str
    """Where the config names the CLIP."""
    text: str = "prompt"
    """The key of an image's row that holds its text."""

    models: ClassVar[Sequence[Stage]] = ()
    card: ClassVar[str] = (
        "In `metadata.jsonl`, `clip_score` is the cosine of a CLIP's vectors of an image and its text."
    )

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def identity(self) -> Mapping[str, Any]:
        return {"weights": backbone_identity(self.config.source(), self.hashes, self.key), "text": self.text}

    def fetch(self) -> None:
        from clouds.models.prompt_scores import fetch_clip

        fetch_clip(self.config.source(), self.key)

    def load(self, runtime: "Runtime") -> Measuring:
        from clouds.models.prompt_scores import load_scorer

        scorer = load_scorer(self.config.source(), runtime.device, self.key)

        def measuring(shard: Shard, folder: Path) -> Process:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                images = [read_image(_image(self.items, shard, item)) for item in batch]
                scores = scorer.scores(images, [item.payload[self.text] for item in batch])
                pairs = zip(batch, scores, strict=True)
                return [{"id": item.id, "clip_score": round(score, 6)} for item, score in pairs]

            return process

        return measuring


def _segmenter(teacher: Stage, label_map: LabelMap, runtime: "Runtime") -> "MaskSegmenter":
    from clouds.models.segmenter_files import load_segmenter

    model = teacher.artifact.shard_folder("model")
    segmenter, _ = load_segmenter(model, runtime.device, expect_classes=label_map.names)
    return segmenter


def _image(items: Stage, shard: Shard, item: Item) -> Path:
    """The image file of an item: labels name theirs, an image is its own."""
    if "source_image" in item.payload:
        return Path(items.artifact.folder.parent / item.payload["source_image"])
    return Path(items.artifact.shard_folder(shard.id) / item.payload["file_name"])
