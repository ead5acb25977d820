"""The stage `pretrain`: one model of the miniature learns. It does not know which, nor from what."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from clouds.engine.artifact import Artifact
from clouds.engine.atomic import read_json
from clouds.engine.seeding import item_seed
from clouds.engine.shard import Item, Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.status import PROGRESS
from clouds.engine.work import ShardWork
from clouds.pretraining.settings import PretrainingConfig

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime
    from clouds.training.loop import Learner

    class SavingLearner(Learner, Protocol):
        """A learner that can write what it learned."""

        def save(self, folder: Path) -> None:
            """Write the model into the folder, in its library's own format."""


MODEL = "model"
"""The shard it makes: the folder of a trained model."""


@dataclass(frozen=True)
class Pretrain:
    """A model trained from scratch.

    `build` gives the learner for a seed, and imports what it needs only then; `built_from` is what it depends on
    besides the config: the model's sizes, its words.
    """

    artifact: Artifact
    config: PretrainingConfig
    built_from: Mapping[str, Any]
    build: "Callable[[int], SavingLearner]"
    needs: tuple[Stage, ...]
    seed: int
    precision: str
    max_failures: int

    kind: ClassVar[str] = "pretrain"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "step"
    collective: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return self.artifact.name

    def identity(self) -> Mapping[str, Any]:
        return {"seed": self.seed, "precision": self.precision, **self.built_from}

    def fetch(self) -> None:
        """Nothing: it starts from nothing."""

    def shards(self) -> Iterable[Shard]:
        yield Shard(MODEL, self.config.steps, digest(stage.artifact.stamp() for stage in self.needs))

    def prepare(self, runtime: "Runtime") -> Worker:
        from clouds.training.loop import TrainingPlace, run_training

        seed = item_seed(self.seed, self.name)
        learner = self.build(seed)

        def work_on(shard: Shard, work: ShardWork) -> None:
            begun = time.perf_counter() - _seconds_before(work.folder)
            place = TrainingPlace(
                folder=work.folder,
                runtime=runtime,
                seed=seed,
                progress=work.progress,
                max_failures=self.max_failures,
                trackers=self.artifact.folder.parent / "trackers" / self.name,
            )
            run_training(learner, self.config, place)
            if work.writes:
                learner.save(work.folder)
            where = {"hardware": runtime.hardware, "processes": runtime.world_size}
            row = {"file_name": "log.jsonl", "id": shard.id, "steps": shard.size, **where}
            work.record(Item(shard.id, shard.inputs), row, time.perf_counter() - begun)

        return work_on

    def finish(self) -> None:
        """Nothing: the model's folder describes itself."""


def _seconds_before(folder: Path) -> float:
    """How long the training has gone on already when it was interrupted, by its last note."""
    note = read_json(folder / PROGRESS)
    return float(note["seconds"]) if isinstance(note, dict) else 0.0
