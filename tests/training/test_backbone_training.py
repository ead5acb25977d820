"""Trainings of other kinds of backbones: noise that belongs to the image, adapters alone in checkpoints."""

import pytest
import torch
from small_training import (
    ROUNDING,
    draws_of,
    moments,
    place_at,
    relative_difference,
    saved,
    small_config,
    small_segmenter,
    weights,
    world,
)

from clouds.models.segmenter_files import trainable_state
from clouds.training.segmentation import train_segmenter


@pytest.fixture
def train(runtime, tmp_path):
    """Trains a segmenter and returns its folder."""

    def run(name, model, **changes):
        place = place_at(tmp_path / name, runtime)
        train_segmenter(model, draws_of(world(4)), small_config(**changes), place, backbone_lr_multiplier=0.5)
        return place.folder

    return run


def test_what_is_left_out_does_not_depend_on_the_images_at_once(train, clip):
    changes = {"batch_size": 4, "lr": 1e-4, "clip_norm": None}
    all_, one = (
        train(f"{at_once}", small_segmenter(clip, drop_path=0.5), images_at_once=at_once, **changes)
        for at_once in (None, 1)
    )
    plain = train("plain", small_segmenter(clip), **changes)
    assert relative_difference(moments(one), moments(all_)) < ROUNDING
    assert relative_difference(moments(plain), moments(all_)) > 10 * ROUNDING


def test_fewer_activations_change_no_byte(train, clip):
    models = [small_segmenter(clip, drop_path=0.5) for _ in range(2)]
    for fewer, model in zip((False, True), models, strict=True):
        train(f"{fewer}", model, checkpoint_activations=fewer)
    torch.testing.assert_close(weights(models[1]), weights(models[0]), atol=0, rtol=0)


def test_adapters_and_head_alone_are_in_checkpoints_and_go_on_from_them(train, clip):
    def fresh():
        return small_segmenter(clip, frozen=True, lora={"rank": 2})

    whole, stopped, resumed = fresh(), fresh(), fresh()
    before = weights(whole)
    folder = train("whole", whole, steps=4)
    state = saved(folder, "model")
    assert set(state) == set(trainable_state(whole))
    assert any(".lora_B." in name for name in state)
    assert all(name.startswith("head.") or ".lora_" in name for name in state)
    changed = {name for name, tensor in weights(whole).items() if not torch.equal(tensor, before[name])}
    assert changed <= set(state) and any(".lora_A." in name for name in changed)
    train("parts", stopped, steps=2)
    train("parts", resumed, steps=4)
    torch.testing.assert_close(weights(resumed), weights(whole), atol=0, rtol=0)
