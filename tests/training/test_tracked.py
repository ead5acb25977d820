"""A training tells its trackers what it writes to its log, also when it is interrupted and resumed."""

import json

import pytest
from small_training import draws_of, place_at, small_config, small_segmenter, world

from clouds.engine.progress import Progress
from clouds.training.segmentation import train_segmenter
from clouds.training.settings import ValidationConfig


class Stopping(Progress):
    """Ends the training after its third step, as a killed process would."""

    def __init__(self):
        super().__init__("training", 4, 0, "step", shown=False)
        self.done = 0

    def advance(self, count=1, note=""):
        self.done += count
        if self.done == 3:
            raise KeyboardInterrupt


def test_tensorboard_shows_the_log_of_a_training_that_was_interrupted(clip, runtime, tmp_path, monkeypatch):
    from dataclasses import replace

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(runtime, "config", runtime.config.model_copy(update={"trackers": ("tensorboard",)}))
    held = {"held": world(2, "held")}
    config = small_config(steps=4, checkpoint_every=2, validation=ValidationConfig(data=("held",), every=2))

    def train(progress):
        place = replace(place_at(tmp_path / "model", runtime, progress), trackers=tmp_path / "trackers" / "train")
        model = small_segmenter(clip, frozen=True)
        train_segmenter(model, draws_of(world(3)), config, place, backbone_lr_multiplier=1.0, validated=held)

    with pytest.raises(KeyboardInterrupt):
        train(Stopping())
    train(None)
    events = EventAccumulator(str(tmp_path / "trackers" / "train" / "tensorboard"))
    events.Reload()
    lines = [json.loads(line) for line in (tmp_path / "model" / "log.jsonl").read_text().splitlines()]
    for name in ("lr", "loss", "class", "mask", "dice", "miou", "miou/held"):
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        told = [(line["step"], line[name]) for line in lines if name in line]
        assert [step for step, _ in shown] == [step for step, _ in told]
        assert [value for _, value in shown] == pytest.approx([value for _, value in told], rel=1e-6)
    # a training that is complete opens none: there would be nothing in it
    before = list((tmp_path / "trackers").rglob("*"))
    train(None)
    assert list((tmp_path / "trackers").rglob("*")) == before
