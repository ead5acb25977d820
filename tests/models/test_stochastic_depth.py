"""Stochastic depth that belongs to the image: the same in any batch and any process, other for another seed."""

import pytest
import torch
from pydantic import ValidationError
from tiny_towers import build_tower

from clouds.errors import UsageError
from clouds.models.backbones import load_backbone
from clouds.models.segmenter_config import BackboneConfig
from clouds.models.stochastic_depth import ItemDropPath

KINDS = ["clip convnext", "clip eva02", "dinov2", "swin"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("towers")
    return {kind: build_tower(kind, root / kind.replace(" ", "_")) for kind in [*KINDS, "clip vit", "resnet"]}


def load(folders, kind, rate=0.5):
    return load_backbone(BackboneConfig(weights=str(folders[kind]), frozen=False, drop_path=rate)).train()


def pictures():
    one = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return one.expand(6, -1, -1, -1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_out_belongs_to_the_image(folders, kind):
    backbone, seeds = load(folders, kind), [3, 1, 4, 15, 9, 3]
    backbone.seed_items(seeds)
    together = backbone(pictures())[-1].detach()
    torch.manual_seed(123)
    backbone.seed_items([4, 15])
    apart = backbone(pictures()[:2])[-1].detach()
    torch.testing.assert_close(apart, together[2:4], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together[0], together[5], rtol=1e-4, atol=1e-4)
    assert len({round(float(features.sum()), 2) for features in together}) > 2
    backbone.eval()
    plain = load_backbone(BackboneConfig(weights=str(folders[kind]), frozen=False)).eval()
    if plain.neck is not None:
        plain.neck.load_state_dict(backbone.neck.state_dict())
    torch.testing.assert_close(backbone(pictures())[-1], plain(pictures())[-1])


def test_rates_rise_to_the_last_block_and_branches_are_left_out_as_often(folders):
    backbone = load(folders, "dinov2", rate=0.6)
    layers = [module for module in backbone.modules() if isinstance(module, ItemDropPath)]
    assert [layer.rate for layer in layers] == pytest.approx([0, 0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6])
    backbone.seed_items(range(4000))
    for layer in layers:
        output = layer(torch.ones(4000, 1, 1))
        assert (output == 0).float().mean() == pytest.approx(layer.rate, abs=0.03)
        assert output.mean() == pytest.approx(1, abs=0.08)


def test_fewer_activations_leave_out_the_same(folders):
    gradients = []
    for fewer in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            backbone = load(folders, "dinov2")
        backbone.checkpoint_activations(fewer)
        backbone.seed_items(range(6))
        backbone(pictures())[-1].square().mean().backward()
        gradients.append(backbone.get_submodule("tower").trunk.patch_embed.proj.weight.grad)
    torch.testing.assert_close(*gradients)


def test_seeds_are_asked_for(folders):
    backbone = load(folders, "dinov2")
    with pytest.raises(RuntimeError, match="seed_items"):
        backbone(pictures())
    backbone.seed_items([1, 2])
    with pytest.raises(RuntimeError, match="one seed per image"):
        backbone(pictures())


@pytest.mark.parametrize("kind", ["clip vit", "resnet"])
def test_a_tower_without_such_branches_is_named(folders, kind):
    with pytest.raises(UsageError, match=r"drop_path' = 0\.5") as caught:
        load(folders, kind)
    assert "EVA02-L-14" in caught.value.mend


def test_a_frozen_tower_leaves_nothing_out():
    with pytest.raises(ValidationError, match="frozen: false"):
        BackboneConfig(weights="EVA02-L-14", drop_path=0.2)
