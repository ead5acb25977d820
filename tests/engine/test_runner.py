import os
from pathlib import Path
from typing import Any

import pytest
from toy_stages import Double, Make, ToyConfig

from clouds.engine.runner import Orders, run_stages
from clouds.engine.runtime import Runtime
from clouds.engine.shard import Item, Shard
from clouds.engine.stage import Worker
from clouds.engine.work import ShardWork
from clouds.errors import CloudsError, InputError


class Run:
    """One invocation: fresh stages on a run folder, as a new process would build them."""

    def __init__(self, folder: Path, runtime: Runtime, **config: Any) -> None:
        self.folder = folder
        self.runtime = runtime
        self.make = Make(folder, ToyConfig(**config))
        self.double = Double(folder, self.make, ToyConfig())

    def __call__(self, *, text: str = "", **orders: Any) -> "Run":
        run_stages([self.make, self.double], self.folder, self.runtime, Orders(**orders), text)
        return self

    @property
    def prepared(self) -> tuple[int, int]:
        return self.make.prepared, self.double.prepared

    def text(self, stage: str = "make", item: int = 0) -> str:
        return (self.folder / stage / f"{item // 5:05d}/{item:04d}.txt").read_text(encoding="utf-8")


def test_a_run_makes_all_and_the_next_one_loads_nothing(
    tmp_path: Path, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Run(tmp_path, runtime)(text="name: toy\n")
    assert first.prepared == (1, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "double", "make"]
    made = ["00000", "00001", "README.md", "sessions.json", "stage.json"]
    assert sorted(path.name for path in (tmp_path / "make").iterdir()) == made
    assert (tmp_path / "config.yaml").read_text(encoding="utf-8") == "name: toy\n"
    assert first.text("double") == first.text() * 2
    capsys.readouterr()
    assert Run(tmp_path, runtime)().prepared == (0, 0)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["config.yaml"]
    assert "make: up to date, 10 of 10" in capsys.readouterr().err


@pytest.mark.parametrize(("change", "redone"), [({"text": "b"}, (1, 1)), ({"batch_size": 1, "seconds": 1e-6}, (0, 0))])
def test_a_changed_value_reruns_its_stage_and_those_after_it_and_a_neutral_one_none(
    tmp_path: Path, runtime: Runtime, change: dict[str, Any], redone: tuple[int, int]
) -> None:
    Run(tmp_path, runtime)()
    assert Run(tmp_path, runtime, **change)().prepared == redone


def test_only_the_later_stage_runs_when_only_it_changed(tmp_path: Path, runtime: Runtime) -> None:
    Run(tmp_path, runtime)()
    changed = Run(tmp_path, runtime)
    changed.double.config = ToyConfig(text="b")
    assert changed().prepared == (0, 1)


def test_going_back_to_a_former_config_restores_its_output_without_work(tmp_path: Path, runtime: Runtime) -> None:
    first = Run(tmp_path, runtime)().text("double")
    second = Run(tmp_path, runtime, text="b")().text("double")
    assert first != second
    for config, text in (({}, first), ({"text": "b"}, second), ({}, first)):
        run = Run(tmp_path, runtime, **config)()
        assert run.prepared == (0, 0)
        assert run.text("double") == text
    assert len(list((tmp_path / ".replaced").iterdir())) == 2


def test_a_former_config_that_was_not_finished_goes_on_where_it_was(tmp_path: Path, runtime: Runtime) -> None:
    stopped = Run(tmp_path, runtime, seconds=0.0)
    make = stopped.make._make
    stopped.make._make = lambda item, folder: interrupt() if item.id == "0008" else make(item, folder)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped()
    Run(tmp_path, runtime, text="b")()
    again = Run(tmp_path, runtime)()
    assert again.make.batches == [["0005", "0006", "0007", "0008"], ["0009"]]


def interrupt() -> Any:
    raise KeyboardInterrupt


def test_an_interruption_costs_the_batch_in_flight(tmp_path: Path, runtime: Runtime) -> None:
    stopped = Run(tmp_path, runtime, batch_size=2, shard_items=5)
    make = stopped.make._make
    stopped.make._make = lambda item, folder: interrupt() if item.id == "0003" else make(item, folder)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped()
    again = Run(tmp_path, runtime, batch_size=2)()
    assert again.make.batches == [["0002", "0003"], ["0004"], ["0005", "0006"], ["0007", "0008"], ["0009"]]
    assert not (tmp_path / "make/.work").exists()


def test_forcing_discards_a_stage_and_makes_it_anew(tmp_path: Path, runtime: Runtime) -> None:
    Run(tmp_path, runtime)()
    (tmp_path / "make/00000/0000.txt").write_text("spoilt", encoding="utf-8")
    forced = Run(tmp_path, runtime)(force=frozenset({"make"}))
    assert forced.prepared == (1, 1), "what follows is made from another edition"
    assert forced.text().startswith("a ")
    assert Run(tmp_path, runtime)().prepared == (0, 0)


def test_a_stage_that_is_forced_does_not_come_back_from_former_output(tmp_path: Path, runtime: Runtime) -> None:
    Run(tmp_path, runtime)()
    Run(tmp_path, runtime, text="b")()
    (tmp_path / "double").rename(tmp_path / "x")
    forced = Run(tmp_path, runtime, text="b")(force=frozenset({"make"}))
    assert forced.prepared == (1, 1)


def test_shards_no_longer_listed_are_set_aside(tmp_path: Path, runtime: Runtime) -> None:
    Run(tmp_path, runtime)()
    fewer = Run(tmp_path, runtime)
    shards = list(fewer.make.shards())
    fewer.make.shards = lambda: iter(shards[:1])  # type: ignore[method-assign]
    (tmp_path / "make/.work/00007").mkdir(parents=True)
    fewer()
    assert fewer.make.artifact.shard_ids() == ["00000"]
    assert fewer.double.artifact.shard_ids() == ["00000"]
    kept = sorted(path.name for path in (tmp_path / ".replaced").iterdir())
    assert kept == ["double-00001", "make-00001", "make-00007"]
    assert not (tmp_path / "make/.work").exists()


def test_a_summary_cut_before_it_was_whole_is_written_again_without_a_model(tmp_path: Path, runtime: Runtime) -> None:
    stopped = Run(tmp_path, runtime)
    stopped.make.finish = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not (tmp_path / "make/README.md").exists()
    again = Run(tmp_path, runtime)()
    assert again.prepared == (0, 1)
    assert (tmp_path / "make/README.md").exists()
    assert (again.make.artifact.description() or {})["complete"] is True


def test_failed_items_are_left_out_retried_and_followed_up(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOUDS_TEST_BAD", "0003,0007")
    first = Run(tmp_path, runtime)()
    assert [row["id"] for row in first.double.artifact.rows("00000")] == ["0000", "0001", "0002", "0004"]
    assert Run(tmp_path, runtime)().prepared == (0, 0), "a failed item waits for a retry"
    assert "2 failed (`clouds retry` takes them up)" in capsys.readouterr().err
    monkeypatch.setenv("CLOUDS_TEST_BAD", "0007")
    retried = Run(tmp_path, runtime)(retry=True)
    assert retried.make.batches == [["0003"], ["0007"]]
    assert [row["id"] for row in retried.double.artifact.rows("00000")] == [f"{n:04d}" for n in range(5)]
    monkeypatch.setenv("CLOUDS_TEST_BAD", "")
    assert Run(tmp_path, runtime)(retry=True).make.batches == [["0007"]]
    straight = Run(tmp_path / "straight", runtime)()
    for name in ("metadata.jsonl", "0003.txt", "0007.txt"):
        for stage in ("make", "double"):
            for path in (tmp_path / stage).rglob(name):
                assert path.read_bytes() == (straight.folder / path.relative_to(tmp_path)).read_bytes()


def test_too_many_failures_stop_the_run_and_keep_what_is_done(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDS_TEST_BAD", "0003,0007")
    with pytest.raises(CloudsError, match="2 items failed, more than the budget of 1"):
        Run(tmp_path, runtime)(max_failures=1)
    monkeypatch.setenv("CLOUDS_TEST_BAD", "")
    again = Run(tmp_path, runtime)(retry=True)
    assert again.make.batches == [["0003"], ["0007"], ["0009"]]


class Watched(Make):
    """Notes which shards are published whenever it begins one."""

    def prepare(self, runtime: Runtime) -> Worker:
        work_on = super().prepare(runtime)
        self.seen: list[list[str]] = []

        def watched(shard: Shard, work: ShardWork) -> None:
            self.seen.append(self.artifact.shard_ids())
            work_on(shard, work)

        return watched


def test_shards_are_published_as_they_are_finished(tmp_path: Path, runtime: Runtime) -> None:
    make = Watched(tmp_path, ToyConfig())
    run_stages([make], tmp_path, runtime, Orders())
    assert make.seen == [[], ["00000"]]


class Train(Make):
    """An indivisible stage: one shard, made by all processes together, that notes its steps in the scratch folder."""

    collective = True
    stop_at = 99

    def prepare(self, runtime: Runtime) -> Worker:
        self.prepared += 1

        def work_on(shard: Shard, work: ShardWork) -> None:
            steps = work.folder / "steps"
            done = int(steps.read_text(encoding="utf-8")) if steps.exists() else 0
            self.batches.append([str(done)])
            for step in range(done, 5):
                if step == self.stop_at:
                    raise KeyboardInterrupt
                steps.write_text(str(step + 1), encoding="utf-8")
            work.record(Item("model", shard.inputs), {"file_name": "steps"}, 1.0)

        return work_on


def test_a_collective_stage_goes_on_from_its_scratch_folder(tmp_path: Path, runtime: Runtime) -> None:
    stopped = Train(tmp_path, ToyConfig(count=5))
    stopped.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        run_stages([stopped], tmp_path, runtime, Orders())
    again = Train(tmp_path, ToyConfig(count=5))
    run_stages([again], tmp_path, runtime, Orders())
    assert again.batches == [["3"]]
    assert list(again.artifact.rows("00000")) == [{"file_name": "steps"}]


def test_an_error_of_the_system_names_the_file_and_frees_the_run_folder(tmp_path: Path, runtime: Runtime) -> None:
    def read_what_is_gone() -> None:
        (tmp_path / "none/x").read_bytes()

    run = Run(tmp_path, runtime)
    run.make.finish = read_what_is_gone  # type: ignore[method-assign]
    with pytest.raises(CloudsError, match="none/x") as caught:
        run()
    assert "what is done is kept" in caught.value.mend
    run.make.finish = lambda: os.close(-1)  # type: ignore[method-assign]
    with pytest.raises(CloudsError, match="Bad file descriptor"):
        run()
    assert not (tmp_path / "holder.json").exists()


def test_an_input_error_in_loading_a_model_ends_the_run(tmp_path: Path, runtime: Runtime) -> None:
    run = Run(tmp_path, runtime)

    def broken(runtime: Runtime) -> Worker:
        raise InputError("weights are damaged", "get them again")

    run.double.prepare = broken  # type: ignore[method-assign]
    with pytest.raises(InputError, match="weights are damaged"):
        run()
    assert Run(tmp_path, runtime)().prepared == (0, 1)


def test_weights_of_a_later_stage_that_cannot_be_had_are_told_before_anything_is_made(
    tmp_path: Path, runtime: Runtime
) -> None:
    def missing() -> None:
        raise CloudsError("weights are nowhere", "put them there")

    run = Run(tmp_path, runtime)
    run.double.fetch = missing  # type: ignore[method-assign]
    with pytest.raises(CloudsError, match="weights are nowhere"):
        run()
    assert run.prepared == (0, 0) and not (tmp_path / "make").exists()
    Run(tmp_path, runtime)()
    done = Run(tmp_path, runtime)
    done.double.fetch = missing  # type: ignore[method-assign]
    assert done().prepared == (0, 0)
