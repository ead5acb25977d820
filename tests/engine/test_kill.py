"""Kill -9 at any instant: the same commands, given again until they are through, leave the same bytes."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clouds.engine.session import SESSIONS

SEQUENCE: list[dict[str, Any]] = [
    {"bad": "0001,0006"},
    {"bad": "0006", "retry": True},
    {"config": {"text": "b"}},
    {},
    {"retry": True},
    {"force": ["make"]},
]
"""Commands given one after the other: failures, retries, a config change and back, and a stage made anew."""


class Zygote:
    """A process that runs the toy stages in forks of itself."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("toy_runner.py")), "zygote"]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def run(self, run_dir: Path, kill_after: float | None = None, **order: Any) -> int:
        """Run one command, killed after some seconds; its exit status."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"run_dir": str(run_dir), **order}) + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    with zygote.process:
        yield zygote
        assert zygote.process.stdin is not None
        zygote.process.stdin.close()


def snapshot(run_dir: Path) -> dict[str, bytes]:
    """Every file's bytes; of a ledger, the last record of each item, less what tells one attempt from another."""
    found = (path for path in sorted(run_dir.rglob("*")) if path.name != SESSIONS)
    return {str(path.relative_to(run_dir)): content(path) for path in found}


def content(path: Path) -> bytes:
    if path.is_dir():
        return b"(folder)"
    if path.name == "ledger.jsonl":
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return json.dumps({record["id"]: {**record, "seconds": 0, "left": 0} for record in records}).encode()
    if path.name == "shard.json":
        return json.dumps({**json.loads(path.read_text(encoding="utf-8")), "seconds": 0}).encode()
    return path.read_bytes()


@pytest.fixture(scope="module")
def straight(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The run folder before the first command of the sequence and after each, never interrupted."""
    folders = [tmp_path_factory.mktemp("straight") / "0"]
    folders[0].mkdir()
    for number, order in enumerate(SEQUENCE, start=1):
        folders.append(folders[0].with_name(str(number)))
        shutil.copytree(folders[-2], folders[-1])
        assert zygote.run(folders[-1], **order) == 0
    return folders


def test_the_sequence_does_what_it_is_for(straight: list[Path]) -> None:
    files = [len(list((folder / "double").glob("*/*.txt"))) for folder in straight]
    assert files == [0, 8, 9, 10, 9, 10, 10]
    assert len({str(snapshot(folder)) for folder in straight}) == len(straight), "each command changes something"


def test_killed_at_random_instants_the_sequence_ends_in_the_same_bytes(
    zygote: Zygote, straight: list[Path], tmp_path: Path
) -> None:
    draw = random.Random(0)
    kills = rounds = 0
    while kills < 30:
        run_dir = tmp_path / str(rounds)
        rounds += 1
        for order, expected in zip(SEQUENCE, straight[1:], strict=True):
            attempts = 1
            # with every attempt a little more time, so that the slowest machine gets through
            while (status := zygote.run(run_dir, draw.uniform(0, 0.02) * attempts**0.5, **order)) != 0:
                assert status == -signal.SIGKILL
                attempts += 1
            kills += attempts - 1
            assert snapshot(run_dir) == snapshot(expected)


@pytest.mark.parametrize("number", range(len(SEQUENCE)))
@pytest.mark.parametrize("step", [19, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_before_any_operation_on_files_a_command_ends_in_the_same_bytes(
    zygote: Zygote, straight: list[Path], tmp_path: Path, number: int, step: int
) -> None:
    expected = snapshot(straight[number + 1])
    for operation in range(1 + number % step, 1000, step):
        run_dir = tmp_path / str(operation)
        shutil.copytree(straight[number], run_dir)
        status = zygote.run(run_dir, kill_at=operation, **SEQUENCE[number])
        if status == 0:
            assert operation > 10
            break
        assert status == -signal.SIGKILL
        assert zygote.run(run_dir, **SEQUENCE[number]) == 0, f"killed at operation {operation}"
        assert snapshot(run_dir) == expected, f"killed at operation {operation}"
        shutil.rmtree(run_dir)
