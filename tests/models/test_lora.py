"""Adapters beside a frozen tower: they start as nothing, they alone learn, and they alone are in checkpoints."""

import pytest
import torch
from pydantic import ValidationError
from tiny_towers import KINDS, OLDER, VITS, build_tower

from clouds.errors import UsageError
from clouds.models.backbones import load_backbone
from clouds.models.segmenter import build_segmenter, parameter_groups
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, SegmenterConfig
from clouds.models.segmenter_files import load_segmenter, load_trainable_state, save_segmenter, trainable_state

HEAD = HeadConfig(
    channels=32, queries=4, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2, decoder_feedforward=32
)
LORA = {"rank": 2, "alpha": 4}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("towers")
    return {kind: build_tower(kind, root / kind.replace(" ", "_")) for kind in [*KINDS, *OLDER]}


def load(folder, seed=0, **values):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return load_backbone(BackboneConfig(weights=str(folder), **values))


def segmenter(folder, seed=0, **values):
    config = SegmenterConfig(backbone=BackboneConfig(weights=str(folder), **values), head=HEAD)
    return build_segmenter(config, 3, seed=seed)


def pictures(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def maps_of_the_tower(backbone, images):
    features = images
    for part in backbone.parts:
        features = part(features)
    return features


def learn(model, images, steps=2):
    # plain descent: what has no gradient does not move
    optimizer = torch.optim.SGD(parameter_groups(model, lr=0.1, weight_decay=0.0), lr=0.1)
    for _ in range(steps):
        output = model(images)
        (output.mask_logits[-1].square().mean() + output.class_logits[-1].square().mean()).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("kind", [*KINDS, *OLDER])
def test_adapters_start_as_nothing_and_every_one_of_them_learns(folders, kind):
    bare, adapted = load(folders[kind]), load(folders[kind], lora=LORA).train()
    images = pictures(2, 3, 64, 96)
    for own, other in zip(maps_of_the_tower(adapted, images), maps_of_the_tower(bare, images), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)
    learning = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    adapters = {name for name in learning if ".lora_" in name}
    assert adapters and all(name.startswith("neck.") for name in learning - adapters)
    assert not any(module.training for part in adapted.parts for module in part.modules())
    sum(features.square().mean() for features in adapted(images)).backward()
    unmoved = [n for n, p in adapted.named_parameters() if ".lora_B." in n and (p.grad is None or not p.grad.any())]
    assert unmoved == []
    assert not any(p.grad is not None for n, p in adapted.named_parameters() if n not in learning)


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("clip vit", {"qkv", "proj", "c_fc", "c_proj"}),
        ("clip eva02", {"q_proj", "k_proj", "v_proj", "proj", "fc1_g", "fc1_x", "fc2"}),
        ("dinov2", {"qkv", "proj", "fc1", "fc2"}),
        ("eva", {"qkv", "proj", "fc1", "fc2"}),
        ("swin", {"qkv", "proj", "fc1", "fc2", "reduction"}),
        ("clip convnext", {"fc1", "fc2"}),
        ("clip resnet", {"conv1", "conv2", "conv3", "0"}),
    ],
)
def test_layers_are_found_in_the_tower(folders, kind, layers):
    backbone = load(folders[kind], lora=LORA)
    adapted = {name.partition(".lora_A.")[0] for name, _ in backbone.named_parameters() if ".lora_A." in name}
    assert {name.rpartition(".")[2] for name in adapted} == layers
    assert not any(name.startswith(("neck.", "projection.")) for name in adapted)


def test_layers_can_be_chosen(folders):
    backbone = load(folders["dinov2"], lora={**LORA, "targets": ["qkv", "mlp.fc1"]})
    adapted = {name.partition(".lora_A.")[0] for name, _ in backbone.named_parameters() if ".lora_A." in name}
    assert {name.rpartition(".")[2] for name in adapted} == {"qkv", "fc1"}
    with pytest.raises(UsageError, match="'qvk'") as caught:
        load(folders["dinov2"], lora={**LORA, "targets": ["qvk"]})
    assert "did you mean 'qkv'" in caught.value.mend


@pytest.mark.parametrize("kind", ["clip vit", "clip eva02", "clip convnext"])
def test_a_checkpoint_holds_adapters_neck_and_head(folders, kind):
    model = segmenter(folders[kind], lora=LORA).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learn(model, 100 + 50 * pictures(1, 3, 64, 64))
    state = trainable_state(model)
    learned = ["head.", ".neck.", ".lora_"] if kind in VITS else ["head.", ".lora_"]
    assert all(any(part in name for part in learned) for name in state)
    assert all(any(part in name for name in state) for part in learned)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed <= set(state) and any(".lora_B." in name for name in changed)
    other = segmenter(folders[kind], seed=1, lora=LORA)
    load_trainable_state(other, state)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize("kind", ["clip vit", "clip resnet", "dinov3"])
def test_a_folder_is_the_model_to_the_bit_without_the_weights_it_came_from(tmp_path, kind):
    source = build_tower(kind, tmp_path / "source")
    model = segmenter(source, lora=LORA).train()
    learn(model, 100 + 50 * pictures(1, 3, 64, 64))
    model.eval()
    save_segmenter(model, tmp_path / "out", ("a", "b", "c"))
    source.rename(tmp_path / "gone")
    loaded, _ = load_segmenter(tmp_path / "out")
    images = 100 + 50 * pictures(1, 3, 50, 70)
    assert torch.equal(loaded.predict(images), model.predict(images))
    assert set(trainable_state(loaded)) == set(trainable_state(model))
    save_segmenter(loaded, tmp_path / "again", ("a", "b", "c"))
    for file in (tmp_path / "out").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_adapters_belong_to_a_frozen_tower(folders):
    with pytest.raises(ValidationError, match="frozen: true"):
        BackboneConfig(weights="RN50", frozen=False, lora=LORA)
