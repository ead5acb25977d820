"""A training as a stage's work: the one shard it makes is the trained model's folder. It does not choose the data."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clouds.data.label_maps import Color
from clouds.data.samples import Dataset
from clouds.engine.runtime import Runtime
from clouds.engine.seeding import item_seed
from clouds.engine.shard import Item, Shard
from clouds.engine.work import ShardWork
from clouds.models.segmenter import MaskSegmenter
from clouds.models.segmenter_files import save_segmenter
from clouds.models.segmenter_folder import COLORS
from clouds.training.draws import Draws, Source, too_large_a_crop
from clouds.training.feature_distance import FeatureDistance
from clouds.training.loop import TrainingPlace
from clouds.training.mixing import MixedDraws
from clouds.training.online import Online, train_online
from clouds.training.rare_classes import ClassCounter, RareClasses, rare_classes
from clouds.training.segmentation import train_segmenter
from clouds.training.settings import TrainingConfig

MODEL = "model"
"""The shard a training makes: a folder that `load_segmenter` opens."""


@dataclass(frozen=True, kw_only=True)
class TrainingWorker:
    """Trains a segmenter on sources and writes it, with its checkpoints and its log, to the shard's folder.

    `validated` are the data sets of `config.validation`; trackers write below `run_folder`. With `online` the sources
    are those with labels, and a teacher labels others as the training goes. A `distance` is part of the loss.
    """

    stage: str
    run_folder: Path
    model: MaskSegmenter
    sources: Sequence[Source]
    validated: Mapping[str, Dataset]
    config: TrainingConfig
    backbone_lr_multiplier: float
    class_names: Sequence[str]
    class_colors: Sequence[Color]
    ignore: int
    run_seed: int
    max_failures: int
    runtime: Runtime
    online: Online | None = None
    distance: FeatureDistance | None = None

    def __call__(self, shard: Shard, work: ShardWork) -> None:
        begun = time.perf_counter()
        seed = item_seed(self.run_seed, self.stage)
        place = TrainingPlace(
            folder=work.folder,
            runtime=self.runtime,
            seed=seed,
            progress=work.progress,
            max_failures=self.max_failures,
            trackers=self.run_folder / "trackers" / self.stage,
        )
        for source in self.sources if self.runtime.is_main else ():
            told = too_large_a_crop(source) if source.weight > 0 else None
            if told is not None:
                work.progress.say(f"warning: {told}")
        tables, unread = self._count(work)
        skipped = self._train(place, tables)
        if work.writes:
            extra = {"stage": self.stage, COLORS: [list(color) for color in self.class_colors]}
            save_segmenter(self.model, work.folder, self.class_names, extra)
        row = {"file_name": "model.safetensors", "id": shard.id, "steps": shard.size, "skipped": [*unread, *skipped]}
        work.record(Item(shard.id, shard.inputs), row, time.perf_counter() - begun)

    def _train(self, place: TrainingPlace, tables: dict[int, RareClasses]) -> list[str]:
        if self.online is None:
            draws = MixedDraws if any(source.mix is not None for source in self.sources) else Draws
            return train_segmenter(
                self.model,
                draws(self.sources, place.seed, self.ignore, tables),
                self.config,
                place,
                backbone_lr_multiplier=self.backbone_lr_multiplier,
                validated=self.validated,
                distance=self.distance,
            )
        return train_online(
            self.model,
            self.sources,
            self.online,
            self.config,
            place,
            ignore=self.ignore,
            backbone_lr_multiplier=self.backbone_lr_multiplier,
            tables=tables,
            validated=self.validated,
            run_folder=self.run_folder,
            distance=self.distance,
        )

    def _count(self, work: ShardWork) -> tuple[dict[int, RareClasses], list[str]]:
        """The tables of the sources that are drawn by class, and the items whose labels cannot be read."""
        counter = ClassCounter(
            folder=work.folder / "class_pixels",
            runtime=self.runtime,
            num_classes=len(self.class_names),
            max_failures=self.max_failures,
        )
        tables, unread = {}, []
        for position, source in enumerate(self.sources):
            if source.rare_classes is not None and source.weight > 0:
                work.progress.say(f"{source.dataset.name}: counting the classes of {len(source.dataset.ids):,} images")
                pixels_NK, failed = counter.count(source.dataset)
                tables[position] = rare_classes(pixels_NK, source.rare_classes, f"data set {source.dataset.name!r}")
                unread += failed
        return tables, unread
