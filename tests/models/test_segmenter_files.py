"""A segmenter's folder: what is read back, without the CLIP model, and every way the folder can be wrong."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from clouds.errors import CloudsError
from clouds.models.segmenter import build_segmenter
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, SegmenterConfig
from clouds.models.segmenter_files import load_segmenter, load_trainable_state, save_segmenter, trainable_state
from clouds.models.tiny_clip import build_tiny_clip

NAMES = ("road", "sky", "car")
HEAD = HeadConfig(
    channels=32, queries=6, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2, decoder_feedforward=32
)


def build(clip_folder, *, frozen=True, seed=0, classes=3):
    backbone = BackboneConfig(weights=str(clip_folder), frozen=frozen)
    return build_segmenter(SegmenterConfig(backbone=backbone, head=HEAD), classes, seed=seed)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return build_tiny_clip(tmp_path_factory.mktemp("clip"), seed=3)


@pytest.fixture(scope="module")
def saved(clip_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "segmenter"
    save_segmenter(build(clip_folder), folder, NAMES, {"steps": 7})
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def test_a_saved_model_is_complete_in_itself(tmp_path):
    clip_folder = build_tiny_clip(tmp_path / "clip", seed=5)
    model = build(clip_folder).eval()
    save_segmenter(model, tmp_path / "out", NAMES, {"steps": 7})
    shutil.rmtree(clip_folder)
    before = torch.random.get_rng_state()
    loaded, info = load_segmenter(tmp_path / "out", expect_classes=NAMES)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert info.class_names == NAMES and info.extra == {"steps": 7}
    images = torch.randint(0, 256, (1, 3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.predict(images), model.predict(images))
    assert not loaded.training and loaded.backbone.frozen
    assert not any(parameter.requires_grad for parameter in loaded.backbone.parameters())


def test_equal_models_give_equal_bytes(clip_folder, saved, tmp_path):
    save_segmenter(build(clip_folder), tmp_path / "again", NAMES, {"steps": 7})
    for file in saved.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
    loaded, info = load_segmenter(saved)
    save_segmenter(loaded, tmp_path / "once_more", info.class_names, info.extra)
    for file in saved.iterdir():
        assert file.read_bytes() == (tmp_path / "once_more" / file.name).read_bytes()
    assert str(clip_folder) not in (saved / "config.json").read_text()


def test_class_names_must_fit_the_model(clip_folder, tmp_path):
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        save_segmenter(build(clip_folder), tmp_path, NAMES[:2])


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CloudsError, match=name) as caught:
        load_segmenter(folder)
    assert "model.safetensors" in caught.value.mend and "No such file" in caught.value.message


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("kept", [0, 5, 0.5, 0.99])
def test_a_torn_file_is_named(folder, name, kept):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(CloudsError, match=f"{name} is damaged"):
        load_segmenter(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"head": {"channels": 33}},
        {"head": 3},
        {"backbone": {}},
        {"backbone": {"frozen": True, "architecture": {"model": {}, "mean": [], "std": []}}},
        {"class_names": None},
    ],
)
def test_a_strange_config_is_named(folder, change):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CloudsError, match=r"config\.json is damaged"):
        load_segmenter(folder)


def test_weights_that_do_not_fit_are_named(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["head.extra"] = torch.zeros(1)
    del tensors["head.class_predictor.bias"]
    tensors["head.class_predictor.weight"] = torch.zeros(2, 32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CloudsError) as caught:
        load_segmenter(folder)
    message = caught.value.message
    assert "missing: head.class_predictor.bias" in message
    assert "not known: head.extra" in message
    assert "head.class_predictor.weight [2, 32], not [4, 32]" in message


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (("road", "sky"), "3 classes, not 2"),
        (("road", "car", "sky"), "'sky' where 'car' is expected"),
    ],
)
def test_other_classes_are_named(saved, expected, message):
    with pytest.raises(CloudsError, match=message) as caught:
        load_segmenter(saved, expect_classes=expected)
    assert "road, sky, car" in caught.value.mend


def test_a_checkpoint_holds_what_training_changes(clip_folder):
    model = build(clip_folder)
    state = trainable_state(model)
    assert set(state) == {name for name, p in model.named_parameters() if p.requires_grad}
    other = build(clip_folder, seed=1)
    load_trainable_state(other, state)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in other.state_dict().items())

    whole = build(clip_folder, frozen=False)
    assert set(trainable_state(whole)) == set(whole.state_dict())


def test_a_checkpoint_of_another_model_changes_nothing(clip_folder):
    model, other = build(clip_folder), build(clip_folder, classes=5, seed=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CloudsError, match=r"step 10: .*class_predictor.weight \[6, 32\], not \[4, 32\]"):
        load_trainable_state(model, trainable_state(other), "step 10")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
