"""Every kind of image tower behind one protocol: maps, freezing, silence, gradients, rebuilding, CLIP's own head."""

import json

import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny_towers import CLIPS, EMBED_DIM, KINDS, TIMMS, VITS, build_tower

from clouds.errors import UsageError
from clouds.models.backbones import load_backbone, rebuild_backbone
from clouds.models.segmenter_config import BackboneConfig
from clouds.models.vit_backbone import taps

SIZES = [(32, 32), (64, 96), (160, 96)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("towers")
    return {kind: build_tower(kind, root / kind.replace(" ", "_")) for kind in KINDS}


def load(folders, kind, *, seed=0, keep_projection=False, **values):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = BackboneConfig(weights=str(folders[kind]), **values)
        return load_backbone(config, keep_projection=keep_projection)


def pictures(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def total(features):
    # the square, since the sum of what a norm has just centred is no function of its input
    return sum((features_BCHW**2).mean() for features_BCHW in features)


@pytest.mark.parametrize("kind", KINDS)
def test_four_maps_at_any_size(folders, kind):
    backbone = load(folders, kind)
    assert backbone.strides == (4, 8, 16, 32)
    for height, width in SIZES:
        features = backbone(pictures(2, 3, height, width))
        expected = [
            (2, channels, height // stride, width // stride)
            for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
        ]
        assert [tuple(features_BCHW.shape) for features_BCHW in features] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_has_the_same_features_in_any_batch_even_when_trained(folders, kind):
    backbone = load(folders, kind, frozen=False).train()
    images = pictures(3, 3, 64, 96)
    together, alone, again = backbone(images), backbone(images[1:2]), backbone(images)
    for own, other, repeated in zip(alone, together, again, strict=True):
        torch.testing.assert_close(own, other[1:2], rtol=1e-4, atol=1e-4)
        assert torch.equal(other, repeated)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_tower_stays_as_it_is_and_its_neck_learns(folders, kind):
    backbone = load(folders, kind).train()
    neck = {name for name, _ in backbone.named_parameters() if name.startswith("neck.")}
    assert bool(neck) == (kind in VITS)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    assert {name for name, parameter in backbone.named_parameters() if parameter.requires_grad} == neck
    for part in backbone.parts:
        assert not any(module.training for module in part.modules())
    features = backbone(pictures(2, 3, 64, 64))
    if neck:
        assert backbone.neck.training
        total(features).backward()
        optimizer = torch.optim.AdamW([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
        optimizer.step()
    else:
        assert not any(features_BCHW.requires_grad for features_BCHW in features)
    changed = {name for name, tensor in backbone.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == neck


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_trained_tower_learns_with_fewer_activations_as_with_all(folders, kind):
    gradients = []
    for fewer in (False, True):
        backbone = load(folders, kind, frozen=False).train()
        backbone.checkpoint_activations(fewer)
        statistics = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
        total(backbone(pictures(2, 3, 64, 64))).backward()
        assert all(torch.equal(buffer, statistics[name]) for name, buffer in backbone.named_buffers())
        gradients.append({name: parameter.grad for name, parameter in backbone.named_parameters()})
    assert [name for name, gradient in gradients[0].items() if gradient is None] == []
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["clip resnet", "clip vit", "clip eva02", "swin"])
def test_fewer_activations_are_kept(folders, kind):
    kept = []
    for fewer in (False, True):
        backbone = load(folders, kind, frozen=False).train()
        backbone.checkpoint_activations(fewer)
        count = 0

        def pack(tensor):
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            backbone(pictures(1, 3, 64, 64))
        kept.append(count)
    assert kept[1] < 0.8 * kept[0]


@pytest.mark.parametrize("options", [{}, {"lora": {"rank": 2}}])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_rebuilt_from_its_architecture(folders, kind, options):
    backbone = load(folders, kind, keep_projection=kind in CLIPS, **options)
    rebuilt = rebuild_backbone(json.loads(json.dumps(backbone.architecture)))
    assert rebuilt.channels == backbone.channels and rebuilt.embedding_dim == backbone.embedding_dim
    rebuilt.load_state_dict(backbone.state_dict())
    rebuilt.freeze(True)
    images = pictures(1, 3, 96, 64)
    for own, other in zip(rebuilt(images), backbone(images), strict=True):
        assert torch.equal(own, other)
    if kind in CLIPS:
        pooled = pictures(1, 3, backbone.channels[-1])
        assert torch.equal(rebuilt.embed(pooled), backbone.embed(pooled))


# --- what the libraries themselves give ---


@pytest.mark.parametrize("kind", ["clip vit", "clip vit 14", "clip eva02"])
def test_taps_are_open_clips_own_at_the_size_it_was_built_for(folders, kind):
    tokens = load(folders, kind).get_submodule("tower")
    visual = open_clip.create_model(f"local-dir:{folders[kind]}").visual.eval()
    patch = tokens.patch_size[0]
    images = pictures(2, 3, 64, 64)
    native = F.interpolate(images, (4 * patch, 4 * patch), mode="bicubic", align_corners=False, antialias=True)
    every = visual.forward_intermediates(native, intermediates_only=True)["image_intermediates"]
    for own, tap in zip(tokens(images), tokens.taps, strict=True):
        torch.testing.assert_close(own, every[tap], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (32, 128)])
def test_positions_of_other_grids_are_those_of_an_open_clip_model_built_for_them(folders, height, width):
    tokens = load(folders, "clip vit").get_submodule("tower")
    described = json.loads((folders["clip vit"] / "open_clip_config.json").read_text())["model_cfg"]
    described["vision_cfg"]["image_size"] = [height, width]
    clip = open_clip.CLIP(**described).eval()
    weights = load_file(folders["clip vit"] / "open_clip_model.safetensors")
    positions = weights["visual.positional_embedding"]
    square = positions[1:].T.reshape(1, -1, 4, 4)
    resized = F.interpolate(square, (height // 16, width // 16), mode="bicubic", antialias=True, align_corners=False)
    weights["visual.positional_embedding"] = torch.cat([positions[:1], resized[0].flatten(1).T])
    clip.load_state_dict(weights)
    images = pictures(2, 3, height, width)
    every = clip.visual.forward_intermediates(images, intermediates_only=True)["image_intermediates"]
    for own, tap in zip(tokens(images), tokens.taps, strict=True):
        torch.testing.assert_close(own, every[tap], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["dinov2", "dinov3"])
def test_taps_are_timms_own_at_its_size_and_at_others(folders, kind):
    tokens = load(folders, kind).get_submodule("tower")
    model = timm.create_model(f"local-dir:{folders[kind]}", pretrained=True, dynamic_img_size=True).eval()
    patch = tokens.patch_size[0]
    for height, width in ((64, 64), (32, 96)):
        images = pictures(2, 3, height // 16 * patch, width // 16 * patch)
        every = model.forward_intermediates(images, intermediates_only=True)
        found = sorted(set(tokens.taps))
        on_grid = tokens.trunk.forward_intermediates(images, indices=found, intermediates_only=True)
        for own, tap in zip(on_grid, found, strict=True):
            torch.testing.assert_close(own, every[tap])


@pytest.mark.parametrize("kind", ["swin", "resnet", "convnextv2"])
def test_pyramids_are_those_of_timms_feature_models(folders, kind):
    backbone = load(folders, kind)
    _, arguments = TIMMS[kind]
    features = timm.create_model(
        f"local-dir:{folders[kind]}", pretrained=True, features_only=True, out_indices=(-4, -3, -2, -1), **arguments
    ).eval()
    assert tuple(features.feature_info.reduction()) == backbone.strides
    images = pictures(2, 3, 64, 64)
    for own, other in zip(backbone(images), features(images), strict=True):
        torch.testing.assert_close(own, other.permute(0, 3, 1, 2) if kind == "swin" else other)


def test_stages_of_a_clip_resnet_are_open_clips_own(folders):
    backbone = load(folders, "clip resnet")
    visual = open_clip.create_model(f"local-dir:{folders['clip resnet']}").visual.eval()
    images = pictures(2, 3, 64, 96)
    expected = visual.forward_intermediates(images, indices=4, intermediates_only=True)["image_intermediates"]
    for own, other in zip(backbone(images), expected, strict=True):
        torch.testing.assert_close(own, other)


# --- CLIP's own head ---


@pytest.mark.parametrize("kind", list(CLIPS))
def test_what_clip_pools_itself_is_embedded_as_clip_does(folders, kind):
    backbone = load(folders, kind, keep_projection=True)
    clip = open_clip.create_model(f"local-dir:{folders[kind]}").eval()
    side = 32 if kind == "clip resnet" else clip.visual.image_size
    side = side if isinstance(side, int) else side[0]
    images = pictures(2, 3, side, side)
    if kind == "clip convnext":
        pooled_BC = backbone(images)[-1].mean((-2, -1))
    elif kind == "clip resnet":
        pooled_BC = backbone(images)[-1].flatten(1)
    elif kind == "clip eva02":
        last = clip.visual.trunk.forward_intermediates(images, indices=1, return_prefix_tokens=True)[1][0]
        pooled_BC = last[1][:, 0]
    else:
        last = clip.visual.forward_intermediates(images, indices=1, output_extra_tokens=True, output_fmt="NLC")
        average = kind == "clip vit 14"
        pooled_BC = last["image_intermediates"][0] if average else last["image_intermediates_prefix"][0][:, 0]
    # where the norm comes before the average, so does the embedding
    pooled_BQC = pooled_BC if kind == "clip vit 14" else pooled_BC[:, None]
    own_BE = backbone.embed(pooled_BQC).mean(1)
    assert own_BE.shape == (2, EMBED_DIM) == (2, backbone.embedding_dim)
    with torch.no_grad():
        torch.testing.assert_close(own_BE, clip.visual(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", list(CLIPS))
def test_the_projection_is_kept_on_demand_and_never_learns(folders, kind):
    bare, kept = load(folders, kind, frozen=False), load(folders, kind, frozen=False, keep_projection=True).train()
    assert bare.embedding_dim is None and "keep_projection" not in bare.architecture
    assert not any(name.startswith("projection.") for name in bare.state_dict())
    with pytest.raises(ValueError, match="keep_projection"):
        bare.embed(pictures(1, 1, bare.channels[-1]))
    projection = [p for name, p in kept.named_parameters() if name.startswith("projection.")]
    assert projection and not any(parameter.requires_grad for parameter in projection)
    assert not any(module.training for module in kept.projection.modules())
    assert {name for name in kept.state_dict() if not name.startswith("projection.")} == set(bare.state_dict())


@pytest.mark.parametrize("kind", ["dinov2", "resnet"])
def test_a_model_without_texts_has_no_projection_to_keep(folders, kind):
    with pytest.raises(UsageError, match="no projection into the space of texts"):
        load(folders, kind, keep_projection=True)


# --- full sizes, which take no memory ---


@pytest.mark.parametrize(
    ("name", "channels", "expected_taps", "patch"),
    [
        ("EVA02-L-14", (1024,) * 4, (9, 14, 19, 23), 14),
        ("ViT-B-16", (768,) * 4, (4, 7, 9, 11), 16),
        ("timm:vit_large_patch14_dinov2", (1024,) * 4, (9, 14, 19, 23), 14),
        ("timm:vit_large_patch16_dinov3", (1024,) * 4, (9, 14, 19, 23), 16),
        ("convnext_large_d_320", (192, 384, 768, 1536), None, None),
        ("RN50", (256, 512, 1024, 2048), None, None),
        ("timm:swin_tiny_patch4_window7_224", (96, 192, 384, 768), None, None),
    ],
)
def test_published_architectures(name, channels, expected_taps, patch):
    with torch.device("meta"):
        backbone = load_backbone(BackboneConfig(weights=name), keep_projection=not name.startswith("timm:"))
        shapes = [tuple(features_BCHW.shape) for features_BCHW in backbone(torch.zeros(1, 3, 64, 96))]
    assert all(tensor.is_meta for tensor in backbone.state_dict().values())
    assert backbone.channels == channels
    assert shapes == [(1, width, 64 // s, 96 // s) for width, s in zip(channels, backbone.strides, strict=True)]
    if expected_taps is not None:
        tower = backbone.get_submodule("tower")
        assert tower.taps == expected_taps and tower.patch_size == (patch, patch)


@pytest.mark.parametrize("depth", range(2, 65))
def test_taps_rise_to_the_last_block(depth):
    found = taps(depth)
    assert list(found) == sorted(found) and found[0] >= 0 and found[-1] == depth - 1
    for tap, published in zip(found, taps(24), strict=True):
        assert abs((tap + 1) - (published + 1) * depth / 24) <= 0.5
