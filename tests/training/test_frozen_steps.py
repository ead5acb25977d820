"""In the frozen steps the backbone is as if it were frozen, and what comes after does not tell that it was."""

import pytest
import torch
from small_training import draws_of, moments, place_at, saved, small_config, small_segmenter, weights, world
from tiny_towers import build_tower

from clouds.training.segmentation import train_segmenter


@pytest.fixture
def train(clip, runtime, tmp_path):
    """Trains a small segmenter: (weights before, weights after, folder)."""

    def run(name="run", *, frozen=False, **changes):
        model = small_segmenter(clip, frozen=frozen)
        before = weights(model)
        config = small_config(**{"weight_decay": 0.5, **changes})
        place = place_at(tmp_path / name, runtime)
        train_segmenter(model, draws_of(world(4)), config, place, backbone_lr_multiplier=1.0)
        return before, weights(model), place.folder

    return run


def of(part, tensors):
    return {name: tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_the_phase_is_a_training_with_a_frozen_backbone(train, clip_norm):
    before, held, folder = train("held", frozen_steps=3, steps=3, clip_norm=clip_norm, ema=0.5)
    _, frozen, _ = train("frozen", frozen=True, steps=3, clip_norm=clip_norm, ema=0.5)
    assert same(of("backbone", held), of("backbone", before))
    assert same(of("head", held), of("head", frozen))
    # a checkpoint in the phase has the backbone's weights, and no moments of them
    assert of("backbone", saved(folder, "model"))
    assert not of("backbone", saved(folder, "optimizer"))


def test_the_gradient_is_clipped_by_what_learns(train):
    _, _, folder = train(frozen_steps=1, steps=1, clip_norm=0.01)
    assert float(moments(folder).norm()) / 0.1 == pytest.approx(0.01, rel=1e-3)


def test_afterwards_the_backbone_learns_from_its_first_step_on(train):
    before, after, folder = train(frozen_steps=2, steps=3, lr=1e-3, weight_decay=0)
    moved = {name: float((after[name] - tensor).abs().max()) for name, tensor in of("backbone", before).items()}
    # the first step of AdamW moves a weight by the learning rate, as it does in step 1 of a training
    assert max(moved.values()) == pytest.approx(1e-3, rel=0.02)
    state = saved(folder, "optimizer")
    steps = {name: int(tensor) for name, tensor in state.items() if name.endswith("/step")}
    assert {count for name, count in steps.items() if name.startswith("backbone.")} == {1}
    assert {count for name, count in steps.items() if name.startswith("head.")} == {3}


def test_what_begins_at_random_learns_from_the_first_step_on(runtime, tmp_path):
    tower = build_tower("dinov2", tmp_path / "tower")
    model = small_segmenter(tower)
    before = weights(model)
    config = small_config(frozen_steps=2, steps=2, weight_decay=0.5)
    place = place_at(tmp_path / "run", runtime)
    train_segmenter(model, draws_of(world(4)), config, place, backbone_lr_multiplier=1.0)
    moved = {name for name, tensor in weights(model).items() if not torch.equal(tensor, before[name])}
    assert {name for name in moved if name.startswith("backbone.")} == set(of("backbone.neck", before))
