"""A backbone kept near to where it began: in rounds and online, with true labels alone, in parts, after a crash."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from small_online import labelled, train_small, unlabelled
from small_training import (
    LABELS,
    ROUNDING,
    moments,
    place_at,
    relative_difference,
    small_config,
    small_segmenter,
)
from test_resume import Crash, Stopping, content, crash, terminate

from clouds.engine.interrupt import Interrupted
from clouds.training.draws import Draws
from clouds.training.feature_distance import FeatureDistance
from clouds.training.segmentation import train_segmenter
from clouds.training.settings import DistanceConfig

# a cell of the deepest map is half of the small scenes: of those, any class has a tenth at most times
CLASSES = [LABELS.find(name) for name in ("road", "sky", "building")]


def distance_of(model, **values):
    names = [LABELS.names[one] for one in CLASSES]
    return FeatureDistance(model, DistanceConfig(classes=names, **{"min_share": 0.1, **values}), CLASSES)


@pytest.fixture
def train(clip, runtime, tmp_path):
    """Trains in rounds, from a backbone that was `moved` at random since its distance is measured: the log."""

    def run(name="run", *, far=None, moved=0.0, sources=None, stop=None, lora=None, **changes):
        model = small_segmenter(clip, lora=lora, frozen=lora is not None)
        distance = None if far is None else distance_of(model, **far)
        generator = torch.Generator().manual_seed(2)
        for _, parameter in model.backbone.named_parameters():
            parameter.data += moved * torch.randn(parameter.shape, generator=generator)
        place = place_at(tmp_path / name, runtime, Stopping(*stop) if stop else None)
        train_segmenter(
            model,
            Draws(sources or [labelled(), replace(unlabelled(), guessed=True)], 5, LABELS.ignore),
            small_config(**{"steps": 3, "batch_size": 4, "clip_norm": None, **changes}),
            place,
            backbone_lr_multiplier=1.0,
            distance=distance,
        )
        return [json.loads(line) for line in (place.folder / "log.jsonl").read_text().splitlines()]

    return run


def test_it_is_nothing_at_the_start_and_something_later(train):
    lines = train(far={"weight": 1.0}, lr=1e-3)
    assert lines[0]["distance"] == 0
    assert all(line["distance"] > 0 for line in lines[1:])
    for line in lines:
        assert line["loss"] == pytest.approx(sum(line[name] for name in ("class", "mask", "dice", "distance")))


def test_it_holds_the_backbone_back(train):
    """Its gradient reaches the backbone: the more it weighs, the less the features move."""
    little, much = (train(f"{weight}", far={"weight": weight}, steps=8) for weight in (1e-6, 1e3))
    assert much[-1]["distance"] / 1e3 < 0.8 * little[-1]["distance"] / 1e-6


def test_without_it_a_training_is_what_it_was(train, tmp_path):
    lines = train("none")
    assert "distance" not in lines[0]
    assert not list(tmp_path.glob("none/checkpoints/*/*start*"))


def test_guessed_labels_do_not_count(train):
    nowhere = [labelled(weight=0.0), replace(unlabelled(), guessed=True)]
    lines = train(far={"weight": 1.0}, sources=nowhere, lr=1e-2)
    assert all(line["distance"] == 0 for line in lines)


def test_images_at_once_change_rounding_only(train, tmp_path):
    # from the first step on: a distance that is rounding alone has a direction all the same
    changes = {"far": {"weight": 1.0}, "moved": 0.01, "steps": 1}
    whole = train("whole", **changes)
    parts = train("parts", images_at_once=1, **changes)
    assert parts[0]["distance"] == pytest.approx(whole[0]["distance"], rel=1e-4) and whole[0]["distance"] > 0
    assert relative_difference(moments(tmp_path / "parts"), moments(tmp_path / "whole")) < ROUNDING


def test_adapters_share_what_is_frozen(clip, train):
    model = small_segmenter(clip, frozen=True, lora={"rank": 2})
    start = dict(distance_of(model)._start.named_parameters())
    for name, parameter in model.backbone.named_parameters():
        assert (start[name].data_ptr() == parameter.data_ptr()) == (not parameter.requires_grad)
    lines = train(far={"weight": 1.0}, lora={"rank": 2}, lr=1e-2)
    assert lines[0]["distance"] == 0 and lines[-1]["distance"] > 0


def test_a_backbone_that_stays_has_no_distance(clip):
    with pytest.raises(ValueError, match="frozen"):
        distance_of(small_segmenter(clip, frozen=True))


def test_interruptions_change_no_byte_and_a_checkpoint_holds_no_second_backbone(train, tmp_path):
    changes = {"far": {"weight": 0.5}, "steps": 4, "checkpoint_every": 2, "frozen_steps": 1}
    train("whole", **changes)
    for stop in ((1, terminate), (3, crash)):
        with pytest.raises((Crash, Interrupted)):
            train("cut", stop=stop, **changes)
    train("cut", **changes)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    train("without", **{**changes, "far": None})
    sizes = [
        {path.name: set(load_file(path)) for path in (tmp_path / name).glob("checkpoints/*/*.safetensors")}
        for name in ("whole", "without")
    ]
    assert sizes[0] == sizes[1]


def test_online_it_is_of_the_labelled_images(clip, runtime, tmp_path):
    model = small_segmenter(clip)
    place = place_at(tmp_path / "online", runtime)
    far = distance_of(model, weight=1.0)
    train_small(model, place, target=replace(unlabelled(), guessed=True), steps=3, distance=far)
    lines = [json.loads(line) for line in (place.folder / "log.jsonl").read_text().splitlines()]
    assert lines[0]["distance"] == 0 and lines[-1]["distance"] > 0 and "trusted" in lines[0]
