"""Small real stages for the engine's tests: they make text files, and items of the first fail on order."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clouds.config import ConfigModel, Neutral
from clouds.engine.artifact import Artifact
from clouds.engine.seeding import item_seed
from clouds.engine.shard import Item, Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import ShardWork
from clouds.errors import InputError


class ToyConfig(ConfigModel):
    count: int = 10
    text: str = "a"
    batch_size: Neutral[int] = 4
    shard_items: int = 5
    seconds: Neutral[float] = 0.0


class Make:
    """Makes `count` text files; items named in the environment's CLOUDS_TEST_BAD fail."""

    kind = "make"
    version = 1
    unit = "file"
    collective = False
    needs: Sequence[Stage] = ()

    def __init__(self, run_dir: Path, config: ToyConfig, name: str = "make") -> None:
        self.name = name
        self.config = config
        self.artifact = Artifact(run_dir / name)
        self.prepared = 0
        self.batches: list[list[str]] = []

    def identity(self) -> Mapping[str, Any]:
        return {}

    def fetch(self) -> None:
        """Nothing: it has no weights."""

    def shards(self) -> Iterable[Shard]:
        step = self.config.shard_items
        for start in range(0, self.config.count, step):
            yield Shard(f"{start // step:05d}", min(step, self.config.count - start))

    def items(self, shard: Shard) -> list[Item]:
        start = int(shard.id) * self.config.shard_items
        return [Item(f"{index:04d}") for index in range(start, start + shard.size)]

    def prepare(self, runtime: Any) -> Worker:
        self.prepared += 1

        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[dict[str, Any] | Exception]:
                self.batches.append([item.id for item in batch])
                return [self._make(item, work.folder) for item in batch]

            work.map(self.items(shard), process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        (self.artifact.folder / "README.md").write_text(f"{self.config.count} files\n", encoding="utf-8")

    def _make(self, item: Item, folder: Path) -> dict[str, Any] | Exception:
        if item.id in os.environ.get("CLOUDS_TEST_BAD", "").split(","):
            return InputError(f"{item.id} is bad", "mend it")
        time.sleep(self.config.seconds)
        seed = item_seed(0, item.id)
        (folder / f"{item.id}.txt").write_text(f"{self.config.text} {seed}\n", encoding="utf-8")
        return {"file_name": f"{item.id}.txt", "id": item.id, "seed": seed}


class Double:
    """Doubles each text of an upstream stage, shard by shard."""

    kind = "double"
    version = 1
    unit = "file"
    collective = False

    def __init__(self, run_dir: Path, source: Stage, config: ToyConfig, name: str = "double") -> None:
        self.name = name
        self.config = config
        self.needs = (source,)
        self.source = source
        self.artifact = Artifact(run_dir / name)
        self.prepared = 0

    def identity(self) -> Mapping[str, Any]:
        return {}

    def fetch(self) -> None:
        """Nothing: it has no weights."""

    def shards(self) -> Iterable[Shard]:
        for shard in self.source.artifact.shard_ids():
            summary = self.source.artifact.summary(shard)
            assert summary is not None
            yield Shard(shard, summary.done, summary.digest)

    def prepare(self, runtime: Any) -> Worker:
        self.prepared += 1

        def work_on(shard: Shard, work: ShardWork) -> None:
            rows = self.source.artifact.stamped_rows(shard.id)
            items = [Item(row["id"], stamp, row["file_name"]) for row, stamp in rows]

            def process(batch: Sequence[Item]) -> list[dict[str, Any] | Exception]:
                results: list[dict[str, Any] | Exception] = []
                for item in batch:
                    text = (self.source.artifact.shard_folder(shard.id) / item.payload).read_text(encoding="utf-8")
                    time.sleep(self.config.seconds)
                    (work.folder / item.payload).write_text(text * 2, encoding="utf-8")
                    results.append({"file_name": item.payload, "id": item.id})
                return results

            work.map(items, process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        names = [row["id"] for shard in self.artifact.shard_ids() for row in self.artifact.rows(shard)]
        (self.artifact.folder / "README.md").write_text(digest(names) + "\n", encoding="utf-8")
