"""The stage `package`: trained models in one folder, in their libraries' formats, with a card. It trains nothing."""

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from clouds.config import ConfigModel, Neutral
from clouds.engine.artifact import LEDGER, METADATA, STAMP, SUMMARY, Artifact
from clouds.engine.atomic import read_json, write_json
from clouds.engine.shard import Item, Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import ShardWork
from clouds.errors import CloudsError
from clouds.models.checksums import CHECKSUMS, write_checksums
from clouds.models.miniature import CLIP, DIFFUSION
from clouds.report.miniature_card import MiniatureFacts, miniature_card

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime

MINIATURE = "miniature"
"""The shard it makes: the folder that ships."""

_QUALITY, _SAMPLES, _CARD = "quality.json", "samples.png", "README.md"
_NOT_THE_MODELS = {LEDGER, METADATA, STAMP, SUMMARY, "log.jsonl", "checkpoints"}
"""What the engine and a training leave in a model's folder."""


class PackageConfig(ConfigModel):
    """What may be packed."""

    # it cannot change what is packed, only refuse it
    largest_mb: Neutral[Annotated[float, Field(gt=0)]] = 40.0
    """Most megabytes (of a million bytes) of all files together."""


@dataclass(frozen=True)
class Trained:
    """The stages whose models are packed, and the corpus they learned from."""

    corpus: Stage
    autoencoder: Stage
    denoiser: Stage
    clip: Stage
    sam_encoder: Stage
    sam: Stage

    @property
    def trainings(self) -> tuple[Stage, ...]:
        return (self.autoencoder, self.denoiser, self.clip, self.sam_encoder, self.sam)

    @property
    def places(self) -> dict[str, Stage]:
        """The folder in the package for the files of each model; the `Sam` is one file at the top."""
        return {DIFFUSION: self.denoiser, CLIP: self.clip, "": self.sam}


@dataclass(frozen=True)
class Package:
    """The miniature as it ships: models, samples, quality, card and checksums.

    `appraisals` go by the name of what they appraise.
    """

    artifact: Artifact
    config: PackageConfig
    trained: Trained
    heldout: Stage
    appraisals: Mapping[str, Stage]

    kind: ClassVar[str] = "package"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "folder"
    collective: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> tuple[Stage, ...]:
        return (self.trained.corpus, self.heldout, *self.trained.trainings, *self.appraisals.values())

    def identity(self) -> Mapping[str, Any]:
        return {}

    def fetch(self) -> None:
        """Nothing: all it packs is made by other stages."""

    def shards(self) -> Iterable[Shard]:
        yield Shard(MINIATURE, 1, digest(stage.artifact.stamp() for stage in self.needs))

    def prepare(self, runtime: "Runtime") -> Worker:
        def work_on(shard: Shard, work: ShardWork) -> None:
            begun = time.perf_counter()
            if work.writes:
                self._pack(work.folder, runtime.hardware)
            row = {"file_name": CHECKSUMS, "id": shard.id}
            work.record(Item(shard.id, shard.inputs), row, time.perf_counter() - begun)
            work.progress.advance()

        return work_on

    def finish(self) -> None:
        """Nothing: the folder has its card."""

    def _pack(self, folder: Path, hardware: str) -> None:
        # 1. the models
        for place, stage in self.trained.places.items():
            for file in _model_files(stage.artifact.shard_folder("model")):
                target = folder / place / file.relative_to(stage.artifact.shard_folder("model"))
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy(file, target)
        # 2. what they can do
        quality = {name: _quality(stage.artifact) for name, stage in self.appraisals.items()}
        write_json(folder / _QUALITY, quality)
        for stage in self.appraisals.values():
            grid = stage.artifact.shard_folder("quality") / _SAMPLES
            if grid.exists():
                shutil.copyfile(grid, folder / _SAMPLES)
        # 3. the card, which tells the sizes, and at last the checksums
        sizes = {name: (folder / name).stat().st_size for name in _packed(folder)}
        self._check_size(sizes)
        (folder / _CARD).write_text(miniature_card(self._facts(sizes, quality, hardware)), encoding="utf-8")
        write_checksums(folder, list(_packed(folder)))

    def _facts(self, sizes: Mapping[str, int], quality: Mapping[str, Any], hardware: str) -> MiniatureFacts:
        return MiniatureFacts(
            sizes=sizes,
            corpus=self.trained.corpus.artifact,
            heldout=self.heldout.artifact,
            trainings=[stage.artifact for stage in self.trained.trainings],
            quality=quality,
            packed_on=hardware,
        )

    def _check_size(self, sizes: Mapping[str, int]) -> None:
        total = sum(sizes.values()) / 1e6
        if total > self.config.largest_mb:
            largest = max(sizes, key=lambda name: sizes[name])
            raise CloudsError(
                f"the packed models have {total:.1f} MB, more than {self.config.largest_mb:g} ('package.largest_mb'); "
                f"the largest file is {largest}, {sizes[largest] / 1e6:.1f} MB",
                "train smaller ones, or raise the limit",
            )


def _quality(artifact: Artifact) -> dict[str, Any]:
    found: dict[str, Any] = read_json(artifact.shard_folder("quality") / _QUALITY)
    return found


def _model_files(folder: Path) -> Iterator[Path]:
    """The files of a trained model, without those of the engine and of its training."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.relative_to(folder).parts[0] not in _NOT_THE_MODELS:
            yield file


def _copy(file: Path, target: Path) -> None:
    """A model's file, without its permissions (some libraries write files that nobody else may read).

    A config goes without the place it was loaded from, which says nothing but how the maker's disk is arranged.
    """
    if file.name == "config.json":
        content = json.loads(file.read_text(encoding="utf-8"))
        content.pop("_name_or_path", None)
        target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    else:
        shutil.copyfile(file, target)


def _packed(folder: Path) -> Iterator[str]:
    """The files that are packed so far, by their paths from the folder, in order; the checksums are none of them."""
    leave_out = _NOT_THE_MODELS | {CHECKSUMS}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.relative_to(folder).parts[0] not in leave_out:
            yield file.relative_to(folder).as_posix()
