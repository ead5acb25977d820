"""Backbones from open_clip's ConvNeXts: what the stages give, and every way the weights can be missing."""

import json
import shutil
import time

import open_clip
import pytest
import torch
from pydantic import ValidationError

from clouds.errors import CloudsError, UsageError
from clouds.models.backbones import load_backbone, rebuild_backbone
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, backbone_identity
from clouds.models.tiny_clip import build_tiny_clip


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return build_tiny_clip(tmp_path_factory.mktemp("clip"), seed=3)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def test_a_tiny_clip_is_an_open_clip_model(clip_folder, tmp_path):
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    assert model.encode_text(open_clip.tokenize(["a road"])).shape == (1, 32)
    assert model.encode_image(torch.zeros(1, 3, 64, 64)).shape == (1, 32)
    assert preprocess is not None
    files = sorted(clip_folder.iterdir())
    assert sum(file.stat().st_size for file in files) < 5_000_000
    again = build_tiny_clip(tmp_path / "again", seed=3)
    assert [file.read_bytes() for file in files] == [(again / file.name).read_bytes() for file in files]
    other = build_tiny_clip(tmp_path / "other", seed=4)
    assert files[1].read_bytes() != (other / files[1].name).read_bytes()


def test_features_are_those_of_open_clip(clip_folder):
    backbone = load_backbone(BackboneConfig(weights=str(clip_folder)))
    assert backbone.channels == (24, 32, 48, 64)
    assert backbone.strides == (4, 8, 16, 32)
    assert backbone.mean.flatten().tolist() == pytest.approx(open_clip.OPENAI_DATASET_MEAN)
    assert backbone.std.flatten().tolist() == pytest.approx(open_clip.OPENAI_DATASET_STD)
    clip = open_clip.create_model(f"local-dir:{clip_folder}").eval()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    expected = clip.visual.forward_intermediates(images, intermediates_only=True)["image_intermediates"]
    for own, other in zip(backbone(images), expected, strict=True):
        torch.testing.assert_close(own, other)
        assert not own.requires_grad


def test_it_is_rebuilt_from_its_architecture(clip_folder):
    backbone = load_backbone(BackboneConfig(weights=str(clip_folder), frozen=False))
    architecture = json.loads(json.dumps(backbone.architecture))
    rebuilt = rebuild_backbone(architecture)
    rebuilt.load_state_dict(backbone.state_dict())
    assert rebuilt.architecture == backbone.architecture
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for own, other in zip(rebuilt(images), backbone(images), strict=True):
        assert torch.equal(own, other) and own.requires_grad


def test_normalisation_comes_with_the_weights(clip_folder, tmp_path):
    config = json.loads((clip_folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"] |= {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    weights = "open_clip_model.safetensors"
    (tmp_path / weights).write_bytes((clip_folder / weights).read_bytes())
    backbone = load_backbone(BackboneConfig(weights=str(tmp_path)))
    assert backbone.mean.flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert backbone.std.flatten().tolist() == pytest.approx([0.2, 0.2, 0.1])


def test_stochastic_depth_is_off(clip_folder, tmp_path):
    config = json.loads((clip_folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["timm_drop_path"] = 0.9
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    weights = "open_clip_model.safetensors"
    (tmp_path / weights).write_bytes((clip_folder / weights).read_bytes())
    backbone = load_backbone(BackboneConfig(weights=str(tmp_path), frozen=False)).train()
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(backbone(images), backbone(images), strict=True))


def test_an_architecture_starts_from_random_weights(monkeypatch):
    tiny = {
        "embed_dim": 8,
        "vision_cfg": {"timm_model_name": "test_convnext", "timm_pool": "", "image_size": 32},
        "text_cfg": {},
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny_for_a_test", tiny)
    backbone = load_backbone(BackboneConfig(weights="tiny_for_a_test", frozen=False))
    assert backbone.channels == (24, 32, 48, 64)
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_a_trunk_of_timm_starts_from_random_weights_that_let_it_learn():
    backbone = load_backbone(BackboneConfig(weights="test_convnext", frozen=False))
    assert backbone.channels == (24, 32, 48, 64)
    scales = [parameter for name, parameter in backbone.named_parameters() if name.endswith(".gamma")]
    assert scales and all(bool((scale == 0.1).all()) for scale in scales)


def test_other_models_of_timm_are_named_as_such():
    with pytest.raises(UsageError, match="'test_resnet'") as caught:
        load_backbone(BackboneConfig(weights="test_resnet"))
    assert "'timm:test_resnet'" in caught.value.mend


@pytest.mark.parametrize("name", ["nobody/has-this-model", "hf-hub:nobody/has-this-model"])
def test_weights_out_of_reach_are_named(offline, name):
    start = time.monotonic()
    with pytest.raises(CloudsError) as caught:
        load_backbone(BackboneConfig(weights=name))
    assert time.monotonic() - start < 5
    assert "nobody/has-this-model" in caught.value.message
    assert "backbone.weights" in caught.value.mend and "folder" in caught.value.mend


def test_a_tag_out_of_reach_is_named(offline):
    with pytest.raises(CloudsError) as caught:
        load_backbone(BackboneConfig(weights="convnext_large_d_320", pretrained="laion2b_s29b_b131k_ft_soup"))
    assert "laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup" in caught.value.message
    assert "backbone.weights" in caught.value.mend


def test_an_unknown_tag_is_named(offline):
    with pytest.raises(CloudsError) as caught:
        load_backbone(BackboneConfig(weights="convnext_base", pretrained="no_such_tag"))
    assert "convnext_base" in caught.value.message and "no_such_tag" in caught.value.message
    assert "list_pretrained" in caught.value.mend


def test_a_hub_model_is_read_from_the_cache(offline, clip_folder, tmp_path):
    repository = tmp_path / "cache" / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "refs" / "v1").write_text("1" * 40)
    shutil.copytree(clip_folder, repository / "snapshots" / ("0" * 40))
    loaded = load_backbone(BackboneConfig(weights="owner/name"))
    local = load_backbone(BackboneConfig(weights=str(clip_folder)))
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in local.state_dict().items())
    with pytest.raises(CloudsError, match="revision 'v1'"):
        load_backbone(BackboneConfig(weights="owner/name", revision="v1"))


def test_a_file_of_weights_for_an_architecture(clip_folder, monkeypatch):
    config = json.loads((clip_folder / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny_for_a_test", config)
    file = clip_folder / "open_clip_model.safetensors"
    named = load_backbone(BackboneConfig(weights="tiny_for_a_test", pretrained=str(file)))
    local = load_backbone(BackboneConfig(weights=str(clip_folder)))
    assert all(torch.equal(tensor, named.state_dict()[name]) for name, tensor in local.state_dict().items())


def test_an_unknown_architecture_is_named():
    with pytest.raises(UsageError, match="'convnext_lareg'"):
        load_backbone(BackboneConfig(weights="convnext_lareg"))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CloudsError, match="nothing_here does not exist"):
        load_backbone(BackboneConfig(weights=str(tmp_path / "nothing_here")))


@pytest.mark.parametrize("damage", ["no weights", "no config", "torn weights", "torn config", "other weights"])
def test_a_broken_folder_is_named(clip_folder, tmp_path, damage):
    for file in clip_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights, config = tmp_path / "open_clip_model.safetensors", tmp_path / "open_clip_config.json"
    if damage.startswith("no "):
        {"no weights": weights, "no config": config}[damage].unlink()
    elif damage == "other weights":
        description = json.loads(config.read_text())
        description["model_cfg"]["vision_cfg"]["timm_model_name"] = "test_convnext2"
        config.write_text(json.dumps(description))
    else:
        torn = weights if damage == "torn weights" else config
        torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(CloudsError) as caught:
        load_backbone(BackboneConfig(weights=str(tmp_path)))
    assert str(tmp_path) in caught.value.message
    assert "open_clip_config.json" in caught.value.mend


def test_config_mistakes_are_named():
    with pytest.raises(ValidationError, match="pretrained"):
        BackboneConfig(weights="owner/name", pretrained="tag")
    with pytest.raises(ValidationError, match="multiple of 32"):
        HeadConfig(channels=48)
    with pytest.raises(ValidationError, match="multiple of heads"):
        HeadConfig(channels=64, heads=3)


def test_identity_of_the_weights(clip_folder, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in clip_folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    local = backbone_identity(BackboneConfig(weights=str(clip_folder)), None)
    assert local == backbone_identity(BackboneConfig(weights=str(copy)), None)
    (copy / "open_clip_config.json").write_text("{}")
    assert local != backbone_identity(BackboneConfig(weights=str(copy)), None)
    named = [
        backbone_identity(BackboneConfig(weights="convnext_base", pretrained=tag), None) for tag in ("a", "b", None)
    ]
    assert named[0] != named[1] != named[2]
    hub = [backbone_identity(BackboneConfig(weights=name), None) for name in ("owner/name", "hf-hub:owner/name")]
    assert hub[0] == hub[1]
