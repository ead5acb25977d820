"""Where weights come from: timm's names, tags, files, folders and hub repositories, and what they are told apart by."""

import json
import shutil
import time
import warnings

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_towers import TIMMS, build_tower

from clouds.errors import CloudsError, UsageError
from clouds.models.backbones import load_backbone
from clouds.models.segmenter import build_segmenter, parameter_groups
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, SegmenterConfig, backbone_identity

HEAD = HeadConfig(
    channels=32, queries=4, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2, decoder_feedforward=32
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tower("dinov2", tmp_path_factory.mktemp("dinov2"))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    return build_tower("resnet", tmp_path_factory.mktemp("resnet"))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def tower_state(backbone):
    return {name: tensor for name, tensor in backbone.state_dict().items() if name.startswith("tower.")}


def same(one, other):
    return all(torch.equal(tensor, tower_state(other)[name]) for name, tensor in tower_state(one).items())


def cached(cache, hub_id, folder):
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))


def test_a_hub_repository_is_read_as_the_library_whose_config_it_has(offline, folder, tmp_path):
    cached(tmp_path / "cache", "timm/some_dinov2", folder)
    clip = build_tower("clip vit", tmp_path / "clip")
    # as many of timm's own repositories: readable by both
    (clip / "config.json").write_text((folder / "config.json").read_text())
    cached(tmp_path / "cache", "timm/some_clip", clip)
    local = load_backbone(BackboneConfig(weights=str(folder)))
    assert same(local, load_backbone(BackboneConfig(weights="timm/some_dinov2")))
    assert "timm" in local.architecture
    assert "model" in load_backbone(BackboneConfig(weights="timm/some_clip")).architecture


def test_normalisation_comes_with_the_weights(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config))
    backbone = load_backbone(BackboneConfig(weights=str(tmp_path / "copy")))
    assert backbone.mean.flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert backbone.std.flatten().tolist() == pytest.approx([0.2, 0.2, 0.1])


def test_a_file_and_a_tag_of_a_timm_architecture(offline, tmp_path):
    source = build_tower("resnet", tmp_path / "tower")
    tensors = load_file(source / "model.safetensors")
    # the published classifier has 1000 classes
    tensors["fc.weight"], tensors["fc.bias"] = torch.zeros(1000, tensors["fc.weight"].shape[1]), torch.zeros(1000)
    save_file(tensors, source / "model.safetensors")
    cached(tmp_path / "cache", "timm/test_resnet.r160_in1k", source)
    file = str(source / "model.safetensors")
    from_file = load_backbone(BackboneConfig(weights="timm:test_resnet", pretrained=file))
    from_tag = load_backbone(BackboneConfig(weights="timm:test_resnet", pretrained="r160_in1k"))
    assert same(from_file, from_tag)
    assert torch.equal(from_file.state_dict()["tower.trunk.conv1.0.weight"], tensors["conv1.0.weight"])
    other = load_backbone(BackboneConfig(weights="timm:test_resnet"))
    assert not same(from_file, other)


@pytest.mark.parametrize(
    ("values", "error", "named", "mend"),
    [
        ({"weights": "timm:test_resnt"}, UsageError, "test_resnt", "did you mean 'test_resnet'"),
        ({"weights": "timm:test_resnet.r160_in1k"}, UsageError, "test_resnet.r160_in1k", "`pretrained`"),
        ({"weights": "timm:test_resnet", "pretrained": "r160"}, CloudsError, "'r160'", "r160_in1k"),
        ({"weights": "EVA02-L14"}, UsageError, "EVA02-L14", "did you mean 'EVA02-L-14'"),
        ({"weights": "vit_large_patch14_dinov2"}, UsageError, "dinov2", "'timm:vit_large_patch14_dinov2'"),
        ({"weights": "timm:vit_large_patch14_dino"}, UsageError, "dino", "vit_large_patch14_dinov2"),
        ({"weights": "timm:test_vit_relpos"}, UsageError, "one size only", "DINOv2"),
        ({"weights": "timm:test_resnet", "pretrained": "/no/file.safetensors"}, CloudsError, "/no/file", "pretrained"),
    ],
)
def test_bad_names_are_named_with_a_mend(values, error, named, mend):
    with pytest.raises(error) as caught:
        load_backbone(BackboneConfig(**values))
    assert named in caught.value.message and mend in caught.value.mend


def test_weights_of_timm_out_of_reach_are_named(offline):
    start = time.monotonic()
    with pytest.raises(CloudsError) as caught:
        load_backbone(BackboneConfig(weights="timm:vit_large_patch14_dinov2", pretrained="lvd142m"))
    assert time.monotonic() - start < 5
    assert "timm/vit_large_patch14_dinov2.lvd142m" in caught.value.message


@pytest.mark.parametrize("damage", ["no weights", "torn weights", "other weights", "other sizes", "unknown model"])
def test_a_broken_folder_is_named(folder, resnet, tmp_path, damage):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights, config = copy / "model.safetensors", copy / "config.json"
    values = json.loads(config.read_text())
    if damage == "no weights":
        weights.unlink()
    elif damage == "torn weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "other weights":
        weights.write_bytes((resnet / "model.safetensors").read_bytes())
    elif damage == "other sizes":
        config.write_text(json.dumps({**values, "model_args": {**TIMMS["dinov2"][1], "depth": 3}}))
    else:
        config.write_text(json.dumps({**values, "architecture": "vit_of_nobody"}))
    with pytest.raises(CloudsError) as caught:
        load_backbone(BackboneConfig(weights=str(copy)))
    assert str(copy) in caught.value.message and "config.json" in caught.value.mend


@pytest.mark.parametrize(
    ("name", "reason"),
    [("inception_v4", "64 x 96 pixels"), ("mixer_s32_224", "one size"), ("shvit_s1", r"strides \[16")],
)
def test_a_tower_without_usable_maps_is_named(name, reason):
    with torch.device("meta"), pytest.raises(UsageError, match=reason) as caught:
        load_backbone(BackboneConfig(weights=f"timm:{name}"))
    assert f"timm:{name}" in caught.value.message and "Swin" in caught.value.mend


def test_openais_activation_is_used_with_openais_weights(offline, tmp_path, monkeypatch):
    clip = build_tower("clip vit", tmp_path / "clip")
    config = json.loads((clip / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "vit_for_a_test", config)
    tags = {"openai": {"hf_hub": "owner/vit/", "quick_gelu": True}, "other": {"hf_hub": "owner/vit/"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "vit_for_a_test", tags)
    cached(tmp_path / "cache", "owner/vit", clip)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick, plain = (load_backbone(BackboneConfig(weights="vit_for_a_test", pretrained=tag)) for tag in tags)
    assert quick.architecture["model"]["quick_gelu"] and "quick_gelu" not in plain.architecture["model"]
    kinds = [type(each.get_submodule("tower.transformer.resblocks.0.mlp.gelu")).__name__ for each in (quick, plain)]
    assert kinds == ["QuickGELU", "GELU"]


def test_identity_of_timms_weights(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    local = backbone_identity(BackboneConfig(weights=str(folder)), None)
    assert local == backbone_identity(BackboneConfig(weights=str(copy)), None)
    (copy / "config.json").write_text("{}")
    assert local != backbone_identity(BackboneConfig(weights=str(copy)), None)
    names = [("timm:test_resnet", None), ("timm:test_resnet", "r160_in1k"), ("test_resnet", None), ("RN50", "openai")]
    named = [backbone_identity(BackboneConfig(weights=name, pretrained=tag), None) for name, tag in names]
    assert named[0] == {"kind": "timm", "name": "test_resnet", "pretrained": None}
    assert len({json.dumps(identity) for identity in named}) == len(names)
    file = folder / "model.safetensors"
    of_file = backbone_identity(BackboneConfig(weights="timm:test_resnet", pretrained=str(file)), None)
    assert of_file["kind"] == "local" or "sha256" in of_file


@pytest.mark.parametrize("kind", ["clip vit", "clip eva02", "dinov3", "swin"])
def test_positions_and_tokens_have_no_weight_decay(tmp_path, kind):
    backbone = BackboneConfig(weights=str(build_tower(kind, tmp_path)), frozen=False)
    model = build_segmenter(SegmenterConfig(backbone=backbone, head=HEAD), 3, seed=0)
    groups = parameter_groups(model, lr=0.1, weight_decay=0.05, backbone_lr_multiplier=0.1)
    decay_of = {name: group["weight_decay"] for group in groups for name in group["parameter_names"]}
    assert set(decay_of) == {name for name, _ in model.named_parameters()}
    words = ("pos_embed", "cls_token", "reg_token", "class_embedding", "positional_embedding", "position_bias_table")
    embeddings = {name for name in decay_of if name.startswith("backbone.") and name.endswith(words)}
    assert embeddings and all(decay_of[name] == 0 for name in embeddings)
    # as published, the neck learns at the backbone's rate
    rate_of = {name: group["lr"] for group in groups for name in group["parameter_names"]}
    assert all(lr == pytest.approx(0.01) for name, lr in rate_of.items() if name.startswith("backbone."))
