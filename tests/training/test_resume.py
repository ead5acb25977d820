"""A training that was interrupted, however often, leaves the very bytes of one that was not."""

import signal

import pytest
from small_training import (
    Faulty,
    by_class,
    draws_of,
    place_at,
    small_config,
    small_segmenter,
    weights,
    world,
)

from clouds.engine.interrupt import Interrupted
from clouds.engine.progress import Progress
from clouds.errors import CloudsError
from clouds.training.segmentation import train_segmenter
from clouds.training.settings import ValidationConfig

STEPS = 5
CHANGES = {"steps": STEPS, "checkpoint_every": 2, "ema": 0.7, "schedule": "poly", "warmup_steps": 2}


HELD = {"held": world(2, "held", height=24, width=40)}

FEATURES = {
    "rare": True,
    "frozen_steps": 3,
    "hold_steps": 2,
    "lr_multipliers": {"head": 10.0},
    "no_decay": ("level_embed",),
    "lr": 1e-4,
    "validation": ValidationConfig(data=("held",), every=2, keep_best=True),
}


class Crash(Exception):
    """Ends a training where it stands, as a killed process would: nothing is saved on the way out."""


class Stopping(Progress):
    """A progress bar that ends the training after a step."""

    def __init__(self, step, how):
        super().__init__("training", STEPS, 0, "step", shown=False)
        self.step, self.how, self.done = step, how, 0

    def skip(self, count):
        self.done += count

    def advance(self, count=1, note=""):
        self.done += count
        if self.done == self.step:
            self.how()


def crash():
    raise Crash


def terminate():
    signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def train(clip, runtime):
    """Trains from the folder's newest checkpoint, with a new model as a new process would have."""

    def run(folder, *, stop=None, rare=False, **changes):
        model = small_segmenter(clip)
        dataset = Faulty(world(4), unreadable=[2])
        place = place_at(folder, runtime, Stopping(*stop) if stop else None)
        config = small_config(**{**CHANGES, **changes})
        draws = by_class(dataset, folder, runtime) if rare else draws_of(dataset)
        skipped = train_segmenter(model, draws, config, place, backbone_lr_multiplier=0.5, validated=HELD)
        return weights(model), skipped, model

    return run


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return tmp_path_factory.mktemp("uninterrupted")


@pytest.mark.parametrize(
    "stops",
    [
        [(1, crash)],
        [(2, crash), (3, crash), (4, terminate)],
        [(1, terminate), (2, terminate), (4, crash)],
        [(STEPS, crash)],
        [(STEPS, terminate)],
    ],
)
def test_interruptions_change_no_byte(train, uninterrupted, tmp_path, stops):
    if not content(uninterrupted):
        train(uninterrupted)
    for stop in stops:
        with pytest.raises((Crash, Interrupted)):
            train(tmp_path, stop=stop)
    _, skipped, _ = train(tmp_path)
    assert content(tmp_path) == content(uninterrupted)
    assert len(skipped) == 1
    assert {path.name for path in tmp_path.glob(f"checkpoints/step-{STEPS:08d}/*")} == {
        "model.safetensors",
        "optimizer.safetensors",
        "average.safetensors",
        "state.json",
    }


def test_interruptions_change_no_byte_with_everything_on(train, tmp_path):
    """Crashes and signals within the frozen phase, at its end and after it, between validations and on one."""
    _, skipped, whole = train(tmp_path / "whole", **FEATURES)
    for stop in ((1, terminate), (3, crash), (4, terminate), (STEPS, crash)):
        with pytest.raises((Crash, Interrupted)):
            train(tmp_path / "cut", stop=stop, **FEATURES)
    _, again, resumed = train(tmp_path / "cut", **FEATURES)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert skipped == again
    assert all(bool((tensor == weights(whole)[name]).all()) for name, tensor in weights(resumed).items())
    files = {path.name for path in tmp_path.glob("cut/checkpoints/*/*")}
    assert files >= {"best.safetensors", "average.safetensors"}


def test_a_signal_saves_the_step_it_came_in(train, tmp_path):
    with pytest.raises(Interrupted) as raised:
        train(tmp_path, stop=(3, terminate))
    assert raised.value.signum == signal.SIGTERM
    assert [path.name for path in tmp_path.glob("checkpoints/*")] == ["step-00000003"]


def test_a_signal_in_the_last_step_is_heard_too(train, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, stop=(STEPS, terminate))
    assert [path.name for path in tmp_path.glob("checkpoints/*")] == [f"step-{STEPS:08d}"]


def test_a_crash_costs_the_steps_since_the_last_checkpoint(train, tmp_path):
    with pytest.raises(Crash):
        train(tmp_path, stop=(3, crash))
    assert [path.name for path in tmp_path.glob("checkpoints/*")] == ["step-00000002"]


def test_a_finished_training_is_loaded_not_repeated(train, tmp_path):
    _, first, trained = train(tmp_path)
    before = content(tmp_path)
    _, again, loaded = train(tmp_path, stop=(STEPS + 1, crash))
    assert content(tmp_path) == before
    assert first == again
    assert all(bool((tensor == weights(trained)[name]).all()) for name, tensor in weights(loaded).items())


def test_what_was_passed_over_is_remembered(train, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, stop=(4, terminate))
    _, skipped, _ = train(tmp_path, stop=(STEPS, lambda: None))
    assert len(skipped) == 1


def test_a_checkpoint_of_another_model_is_refused(train, tmp_path, clip, runtime):
    with pytest.raises(Interrupted):
        train(tmp_path, stop=(2, terminate))
    frozen = small_segmenter(clip, frozen=True)
    with pytest.raises(CloudsError, match="checkpoints"):
        train_segmenter(
            frozen, draws_of(world(4)), small_config(**CHANGES), place_at(tmp_path, runtime), backbone_lr_multiplier=1.0
        )
