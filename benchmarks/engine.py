"""Measures the engine alone: a stage that does nothing, so that what is left is planning, recording and publishing.

For each number of items it prints, as a row of a Markdown table: time an item of the first run, time to resume a run
that is finished (in a process of its own: from reading the plan to having nothing to do, and with start and imports),
the most memory each of them held, and the size on disk. The first row is a process that only imports.

    python benchmarks/engine.py --items 1000 100000 1000000
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clouds.config import ConfigModel
from clouds.engine.artifact import Artifact
from clouds.engine.shard import Item, Shard
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime


class NothingConfig(ConfigModel):
    """Sizes of the stage that does nothing."""

    items: int
    shard_items: int
    batch_size: int


class Nothing:
    """One record for each item, and no file."""

    name = "nothing"
    kind = "nothing"
    version = 1
    unit = "item"
    collective = False
    needs: Sequence[Stage] = ()

    def __init__(self, run_dir: Path, config: NothingConfig) -> None:
        self.config = config
        self.artifact = Artifact(run_dir / self.name)

    def identity(self) -> Mapping[str, Any]:
        return {}

    def fetch(self) -> None:
        """Nothing: it has no weights."""

    def shards(self) -> Iterable[Shard]:
        size = self.config.shard_items
        for start in range(0, self.config.items, size):
            yield Shard(f"{start // size:05d}", min(size, self.config.items - start))

    def prepare(self, runtime: "Runtime") -> Worker:
        def work_on(shard: Shard, work: ShardWork) -> None:
            start = int(shard.id) * self.config.shard_items
            items = [Item(f"{number:08d}") for number in range(start, start + shard.size)]
            work.map(items, make_nothing, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        """Nothing."""


def make_nothing(batch: Sequence[Item]) -> list[Row | Exception]:
    """A metadata row for each item, of the size a generated image's has."""
    return [{"file_name": f"{item.id}.jpg", "id": item.id, "seed": 0, "prompt": "a street in rain"} for item in batch]


def run_once(run_dir: Path, config: NothingConfig) -> dict[str, float]:
    """Bring the stage up to date in this process; seconds and the most memory held, in MB. No items: import only."""
    from clouds.engine.runner import Orders, run_stages
    from clouds.engine.runtime import Runtime
    from clouds.engine.settings import RuntimeConfig

    runtime = Runtime(RuntimeConfig(device="cpu"))
    begun = time.perf_counter()
    if config.items:
        run_stages([Nothing(run_dir, config)], run_dir, runtime, Orders())
    seconds = time.perf_counter() - begun
    runtime.close()
    return {"seconds": seconds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def run_in_a_process(run_dir: Path, config: NothingConfig) -> dict[str, float]:
    """`run_once` in a fresh process; also the seconds from its start to its end."""
    begun = time.perf_counter()
    command = [sys.executable, __file__, "--child", str(run_dir), config.model_dump_json()]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return {**json.loads(output), "whole": time.perf_counter() - begun}


def disk_megabytes(folder: Path) -> float:
    """The size of all files below a folder, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*")) / 1e6


def measure(items: int, options: argparse.Namespace) -> str:
    """One row of the table."""
    config = NothingConfig(items=items, shard_items=options.shard_items, batch_size=options.batch_size)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        first = run_in_a_process(Path(folder), config)
        again = run_in_a_process(Path(folder), config)
        disk = disk_megabytes(Path(folder))
    cells = [f"{items:,}", f"{first['seconds']:.1f}", f"{1000 * first['seconds'] / items:.3f}"]
    cells += [f"{first['megabytes']:.0f}", f"{again['seconds']:.2f}", f"{again['whole']:.1f}"]
    return row([*cells, f"{again['megabytes']:.0f}", f"{disk:.1f}"])


def row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table, or, as the child of another, run once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--shard-items", type=int, default=500, help="items a shard; a run's default is 500")
    parser.add_argument("--batch-size", type=int, default=8, help="items a batch, recorded in one write")
    parser.add_argument(
        "--folder", type=Path, help="where the run folders go; a folder for temporary files if not given"
    )
    parser.add_argument("--child", nargs=2, metavar=("RUN_DIR", "CONFIG"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_dir, config = options.child
        print(json.dumps(run_once(Path(run_dir), NothingConfig.model_validate_json(config))))
        return
    titles = ["items", "first run, s", "ms an item", "MB", "resume, s", "with start, s", "MB", "disk, MB"]
    print(row(titles), row(["---:"] * len(titles)), sep="\n")
    bare = run_in_a_process(Path(), NothingConfig(items=0, shard_items=1, batch_size=1))
    print(
        row(["imports only", "-", "-", "-", "-", f"{bare['whole']:.1f}", f"{bare['megabytes']:.0f}", "-"]), flush=True
    )
    for items in options.items:
        print(measure(items, options), flush=True)


if __name__ == "__main__":
    main()
