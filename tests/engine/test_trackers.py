"""What TensorBoard and W&B are told, read back from the files of the real packages."""

import json
import sys
from pathlib import Path

import pytest

from clouds.engine.runtime import Runtime
from clouds.engine.settings import RuntimeConfig
from clouds.engine.trackers import Trackers, check_trackers
from clouds.errors import UsageError


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder of event files: (step, value) by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        name: [(one.step, round(one.value, 5)) for one in events.Scalars(name)] for name in events.Tags()["scalars"]
    }


def test_tensorboard_shows_every_value_at_its_step(tmp_path: Path) -> None:
    Runtime(RuntimeConfig(device="cpu"))
    trackers = Trackers(("tensorboard",), tmp_path / "train", 0)
    for step in (1, 2):
        trackers.log(step, {"loss": 0.5 * step, "miou/fog": 0.25})
    trackers.finish()
    shown = scalars(tmp_path / "train" / "tensorboard")
    assert shown == {"loss": [(1, 0.5), (2, 1.0)], "miou/fog": [(1, 0.25), (2, 0.25)]}


def test_a_resumed_curve_goes_on_at_its_step_and_hides_what_is_made_again(tmp_path: Path) -> None:
    Runtime(RuntimeConfig(device="cpu"))
    for resumed_at, steps, value in ((0, (1, 2, 3), 1.0), (2, (3, 4), 2.0)):
        trackers = Trackers(("tensorboard",), tmp_path / "train", resumed_at)
        for step in steps:
            trackers.log(step, {"loss": value})
        trackers.finish()
    assert scalars(tmp_path / "train" / "tensorboard")["loss"] == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]


def test_a_package_that_is_missing_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    check_trackers(())
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match=r"'runtime.trackers' names wandb, which is not installed") as raised:
        Runtime(RuntimeConfig(device="cpu", trackers=("wandb",)))
    assert "pip install wandb" in raised.value.mend


@pytest.mark.slow
def test_wandb_goes_on_with_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    Runtime(RuntimeConfig(device="cpu"))
    ids = []
    for resumed_at in (0, 1, 0):
        trackers = Trackers(("wandb",), tmp_path / "run" / "trackers" / "train", resumed_at)
        trackers.log(resumed_at + 1, {"loss": 1.0})
        trackers.finish()
        ids.append(json.loads((tmp_path / "run" / "trackers" / "train" / "wandb.json").read_text())["id"])
    assert ids[0] == ids[1] != ids[2]
    written = list((tmp_path / "run" / "trackers" / "train" / "wandb").glob("offline-run-*"))
    assert {one.name.rpartition("-")[2] for one in written} == set(ids)
