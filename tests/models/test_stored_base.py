"""`store: trained`: a folder with what training changed, and every way its base can be missing or another one."""

import json

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from tiny_towers import build_tower

from clouds.errors import CloudsError
from clouds.models.segmenter import build_segmenter
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, SegmenterConfig
from clouds.models.segmenter_files import load_segmenter, save_segmenter, trainable_state

HEAD = HeadConfig(
    channels=32, queries=4, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2, decoder_feedforward=32
)
NAMES = ("a", "b", "c")


def build(source, **values):
    backbone = BackboneConfig(weights=str(source), store="trained", **values)
    return build_segmenter(SegmenterConfig(backbone=backbone, head=HEAD), 3, seed=0)


@pytest.mark.parametrize("lora", [None, {"rank": 2}])
@pytest.mark.parametrize("kind", ["clip vit", "clip convnext"])
def test_the_folder_and_the_base_are_the_model_to_the_bit(tmp_path, kind, lora):
    model = build(build_tower(kind, tmp_path / "base"), lora=lora).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.01)
    save_segmenter(model, tmp_path / "out", NAMES)
    assert set(load_file(tmp_path / "out" / "model.safetensors")) == set(trainable_state(model))
    before = torch.random.get_rng_state()
    loaded, _ = load_segmenter(tmp_path / "out")
    assert torch.equal(torch.random.get_rng_state(), before)
    images = torch.randint(0, 256, (1, 3, 50, 70), generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.predict(images), model.predict(images)) and loaded.backbone.frozen
    save_segmenter(loaded, tmp_path / "again", NAMES)
    for file in (tmp_path / "out").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_a_missing_base_is_named(tmp_path):
    source = build_tower("clip convnext", tmp_path / "base")
    save_segmenter(build(source), tmp_path / "out", NAMES)
    source.rename(tmp_path / "moved")
    with pytest.raises(CloudsError, match="its base is missing") as caught:
        load_segmenter(tmp_path / "out")
    assert str(source) in caught.value.message and "store: full" in caught.value.mend


def test_another_base_is_named(tmp_path):
    source = build_tower("clip convnext", tmp_path / "base")
    save_segmenter(build(source), tmp_path / "out", NAMES)
    build_tower("clip convnext", tmp_path / "base", seed=1)
    with pytest.raises(CloudsError, match="other weights") as caught:
        load_segmenter(tmp_path / "out")
    assert str(source) in caught.value.message and "store: full" in caught.value.mend


def test_a_full_folder_says_nothing_of_a_base(tmp_path):
    source = build_tower("clip convnext", tmp_path / "base")
    config = SegmenterConfig(backbone=BackboneConfig(weights=str(source)), head=HEAD)
    save_segmenter(build_segmenter(config, 3, seed=0), tmp_path / "out", NAMES)
    assert set(json.loads((tmp_path / "out" / "config.json").read_text())["backbone"]) == {"architecture", "frozen"}


def test_what_cannot_be_loaded_again_is_stored_in_full():
    with pytest.raises(ValidationError, match="random ones"):
        BackboneConfig(weights="RN50", store="trained")
    with pytest.raises(ValidationError, match="stored in full"):
        BackboneConfig(weights="owner/name", store="trained", frozen=False)
