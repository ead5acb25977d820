from pathlib import Path
from typing import Any

import pytest
from toy_stages import Double, Make, ToyConfig

from clouds.engine.artifact import Artifact
from clouds.engine.ledger import DONE, FAILED, Record
from clouds.engine.runner import Orders, run_stages
from clouds.engine.runtime import Runtime
from clouds.engine.shard import Shard
from clouds.engine.status import ProgressNote, StageStatus, failures, format_duration, stage_status, totals


def records(*statuses: str) -> list[Record]:
    return [Record(str(place), status, seconds=0.5, error="x\ntrace") for place, status in enumerate(statuses)]


def test_before_a_stage_begins_nothing_is_known(tmp_path: Path) -> None:
    status = stage_status(Artifact(tmp_path / "make"), "make")
    assert (status.size, status.done, status.failed, status.complete) == (None, 0, 0, False)
    assert status.pace is None
    assert status.seconds_left is None


def test_a_finished_run_is_complete(tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDS_TEST_BAD", "0003")
    make = Make(tmp_path, ToyConfig())
    run_stages([make, Double(tmp_path, make, ToyConfig())], tmp_path, runtime, Orders())
    status = stage_status(make.artifact, "make")
    assert (status.size, status.done, status.failed, status.complete, status.unit) == (10, 9, 1, True, "file")
    assert status.seconds_left is None
    found = failures(make.artifact, "make", 5)
    assert [(failure.stage, failure.item, failure.error) for failure in found] == [("make", "0003", "0003 is bad")]


def test_published_and_unfinished_shards_count_once(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path / "make")
    artifact.describe({"size": 12, "unit": "file", "complete": False})
    ledger = artifact.open_shard(Shard("00000", 4))
    ledger.append(records(DONE, DONE, DONE, FAILED))
    artifact.publish(Shard("00000", 4), list(ledger.records.values()), "made")
    artifact.open_shard(Shard("00000", 4))  # opened again, for a retry
    artifact.open_shard(Shard("00001", 4)).append(records(DONE, FAILED))
    (artifact.work_folder / "00001.new").mkdir()
    (artifact.work_folder / "00002.old").mkdir()
    status = stage_status(artifact, "make")
    assert (status.size, status.done, status.failed, status.seconds) == (12, 4, 2, 3.0)
    assert status.pace == pytest.approx(4 / 3)
    assert status.seconds_left == pytest.approx(6 / (4 / 3))


def test_an_item_that_was_mended_is_no_failure_any_more(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path / "make")
    ledger = artifact.open_shard(Shard("00000", 2))
    ledger.append(records(FAILED, FAILED))
    ledger.append(records(DONE))
    assert [failure.item for failure in failures(artifact, "make", 5)] == ["1"]
    assert len(failures(artifact, "make", 0)) == 0


def test_an_indivisible_shard_says_how_far_it_is(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path / "train")
    artifact.describe({"size": 100, "unit": "step", "complete": False})
    artifact.open_shard(Shard("model", 100))
    note = ProgressNote(artifact.scratch_folder("model"), every_seconds=0)
    note.note(40, 20.0)
    status = stage_status(artifact, "train")
    assert (status.done, status.pace, status.seconds_left) == (40, 2.0, 30.0)
    note.clear()
    note.clear()
    assert stage_status(artifact, "train").done == 0
    rare = ProgressNote(artifact.scratch_folder("model"), every_seconds=1000)
    for step in (1, 2):
        rare.note(step, 1.0)
    assert stage_status(artifact, "train").done == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0, "0:00:00"), (59.6, "0:01:00"), (3723, "1:02:03"), (360000, "100:00:00")]
)
def test_durations_are_read_as_hours_minutes_seconds(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


def test_totals_leave_out_stages_that_have_not_begun() -> None:
    def status(**values: Any) -> StageStatus:
        return StageStatus(
            **{"name": "a", "unit": "x", "size": 10, "done": 5, "failed": 1, "seconds": 5.0, **values}, complete=False
        )

    assert totals([status(), status(size=None, failed=2)]) == (3, 4.0)
    assert totals([]) == (0, None)
