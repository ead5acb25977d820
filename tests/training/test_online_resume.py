"""An online self-training that was interrupted leaves the very bytes of one that was not: teacher, draws and all."""

import pytest
from small_online import CLUDA, labelled, sharpening, train_small, unlabelled
from small_training import Faulty, place_at, small_segmenter, weights, world
from test_resume import Crash, Stopping, content, crash, terminate

from clouds.engine.interrupt import Interrupted
from clouds.models.tiny_sam import build_tiny_sam
from clouds.training.settings import MixConfig, ValidationConfig

STEPS = 5
CHANGES = {"steps": STEPS, "checkpoint_every": 2, "ema": 0.7, "schedule": "poly", "warmup_steps": 2, "lr": 1e-4}
HELD = {"held": world(2, "held", height=24, width=40)}
EVERYTHING = {
    "online": {**CLUDA, "threshold": 0.168, "refine_every": 2, "teacher": {"decay": 0.6, "every": 2}},
    "mix": MixConfig(),
    "validation": ValidationConfig(data=("held",), every=2, keep_best=True),
    "frozen_steps": 3,
}


@pytest.fixture
def train(clip, runtime, tmp_path):
    """Trains from the folder's newest checkpoint, with a new model as a new process would have."""
    sam = tmp_path / "sam.safetensors"
    build_tiny_sam(sam, seed=0)

    def run(folder, *, stop=None, **changes):
        model = small_segmenter(clip, frozen=changes.pop("frozen", False))
        place = place_at(folder / "train", runtime, Stopping(*stop) if stop else None)
        skipped = train_small(
            model,
            place,
            sources=[labelled(Faulty(world(4), unreadable=[2]))],
            target=unlabelled(Faulty(world(4, "photos"), unreadable=[1])),
            refine=sharpening(sam),
            validated=HELD,
            **{**CHANGES, **changes},
        )
        return weights(model), skipped

    return run


@pytest.mark.parametrize(
    ("changes", "stops"),
    [
        ({"frozen": True, "online": {"threshold": 0.168}}, [(3, crash)]),
        (EVERYTHING, [(1, terminate), (3, crash), (4, terminate)]),
    ],
)
def test_interruptions_change_no_byte(train, tmp_path, changes, stops):
    whole, skipped = train(tmp_path / "whole", **dict(changes))
    for stop in stops:
        with pytest.raises((Crash, Interrupted)):
            train(tmp_path / "cut", stop=stop, **dict(changes))
    resumed, again = train(tmp_path / "cut", **dict(changes))
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert skipped == again and len(skipped) >= 1
    assert all(bool((tensor == whole[name]).all()) for name, tensor in resumed.items())
    assert {path.name for path in tmp_path.glob("cut/train/checkpoints/*/*")} >= {"follower.safetensors"}


def test_a_teacher_that_is_forgotten_would_be_noticed(train, tmp_path, monkeypatch):
    """The test above can fail: without the teacher's state, a resumed training gives other bytes."""
    changes = {"online": {"teacher": {"decay": 0.9}}, "steps": 3}
    train(tmp_path / "whole", **changes)
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", stop=(2, terminate), **changes)
    monkeypatch.setattr("clouds.training.teacher.Teacher.load_state", lambda *_: None)
    train(tmp_path / "cut", **changes)
    assert content(tmp_path / "cut") != content(tmp_path / "whole")
