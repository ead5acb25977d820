"""The segmenter on a tiny, real CLIP model: shapes, sizes, scores, freezing, optimizer groups, and that it learns."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.errors import UsageError
from clouds.models.segmenter import build_segmenter, loss_settings, parameter_groups
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, MaskLossConfig, SegmenterConfig
from clouds.models.tiny_clip import build_tiny_clip
from clouds.ops.mask_loss import count_labelled, count_masks, mask_loss

CLASSES = 4
HEAD = HeadConfig(
    channels=32, queries=10, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=3, decoder_feedforward=32
)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return build_tiny_clip(tmp_path_factory.mktemp("clip"), seed=3)


@pytest.fixture(scope="module")
def segmenter(clip_folder):
    return build(clip_folder).eval()


def build(clip_folder, *, frozen=True, seed=0):
    backbone = BackboneConfig(weights=str(clip_folder), frozen=frozen)
    return build_segmenter(SegmenterConfig(backbone=backbone, head=HEAD), CLASSES, seed=seed)


def random_images(count, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def batch_loss(model, output, labels):
    return mask_loss(
        output.class_logits,
        output.mask_logits,
        labels,
        num_masks=count_masks(labels),
        num_images=count_labelled(labels),
        generators=[torch.Generator().manual_seed(i) for i in range(len(labels))],
        settings=loss_settings(MaskLossConfig(num_points=256), ignore=255, stride=model.mask_stride),
    )["loss"]


@settings(max_examples=10, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_any_size_of_image(segmenter, height, width):
    images = random_images(2, height, width)
    with torch.no_grad():
        output = segmenter(images)
    cells = (-(-height // 4), -(-width // 4))
    assert [tuple(c.shape) for c in output.class_logits] == [(2, HEAD.queries, CLASSES + 1)] * HEAD.decoder_layers
    assert [tuple(m.shape) for m in output.mask_logits] == [(2, HEAD.queries, *cells)] * HEAD.decoder_layers
    scores = segmenter.predict(images)
    assert scores.shape == (2, CLASSES, height, width) and scores.dtype == torch.float32
    assert scores.min() >= 0 and scores.sum(1).max() <= 1 + 1e-5


def test_prediction_is_the_published_rule(segmenter):
    images = random_images(2, 64, 96)
    with torch.no_grad():
        output = segmenter(images)
    masks = F.interpolate(output.mask_logits[-1], scale_factor=4, mode="bilinear", align_corners=False).sigmoid()
    published = torch.einsum("bqk,bqhw->bkhw", output.class_logits[-1].softmax(-1)[..., :-1], masks)
    scores = segmenter.predict(images)
    assert torch.equal(scores.argmax(1), published.argmax(1))
    torch.testing.assert_close(scores, published / published.sum(1, keepdim=True))


def test_padding_stands_at_the_right_and_the_bottom_in_the_mean_colour(segmenter):
    images = random_images(1, 40, 70)
    mean = (255 * segmenter.backbone.mean).expand(1, 3, 64, 96).clone()
    mean[..., :40, :70] = images
    torch.testing.assert_close(
        segmenter.predict(images), segmenter.predict(mean)[..., :40, :70], rtol=1e-4, atol=1e-5
    )  # fmt: skip


def test_an_image_is_the_same_in_any_batch_and_type(segmenter):
    images = random_images(3, 64, 64)
    scores = segmenter.predict(images)
    torch.testing.assert_close(segmenter.predict(images[1:2]), scores[1:2], rtol=1e-4, atol=1e-5)
    assert torch.equal(segmenter.predict(images.float()), scores)


def test_weights_come_from_the_seed_and_leave_the_process_alone(clip_folder):
    before = torch.random.get_rng_state()
    first, same, other = build(clip_folder), build(clip_folder), build(clip_folder, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    states = [model.state_dict() for model in (first, same, other)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert not torch.equal(states[0]["head.class_predictor.weight"], states[2]["head.class_predictor.weight"])
    assert torch.equal(states[0]["backbone.stem.0.weight"], states[2]["backbone.stem.0.weight"])


def test_a_frozen_backbone_stays_as_it_is(clip_folder):
    model = build(clip_folder).train()
    assert not any(module.training for module in model.backbone.modules())
    assert model.head.training
    output = model(random_images(1, 32, 64))
    batch_loss(model, output, torch.zeros(1, 32, 64, dtype=torch.uint8)).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("backbone."), name
    model.backbone.freeze(False)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("labelled", [True, False])
def test_every_trainable_parameter_gets_a_gradient(clip_folder, labelled):
    model = build(clip_folder, frozen=False).train()
    assert all(module.training for module in model.backbone.modules())
    labels = torch.full((2, 64, 64), 255, dtype=torch.uint8)
    if labelled:
        labels[0, :, :32], labels[0, :, 32:] = 1, 2
    batch_loss(model, model(random_images(2, 64, 64)), labels).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    largest = max(float(parameter.grad.abs().max()) for parameter in model.parameters())
    assert (largest > 0) == labelled


def test_optimizer_groups(clip_folder):
    model = build(clip_folder, frozen=False)
    groups = parameter_groups(model, lr=0.1, weight_decay=0.05, backbone_lr_multiplier=0.1)
    assert {group["name"] for group in groups} == {
        "backbone.decay", "backbone.no_decay", "head.decay", "head.no_decay"
    }  # fmt: skip
    decay_of = {name: group["weight_decay"] for group in groups for name in group["parameter_names"]}
    assert set(decay_of) == {name for name, _ in model.named_parameters()}
    assert decay_of["head.class_predictor.bias"] == decay_of["backbone.stages.0.blocks.0.mlp.fc1.bias"] == 0.05
    assert decay_of["head.transformer.queries_features.weight"] == decay_of["backbone.stem.1.weight"] == 0
    assert decay_of["head.pixel_decoder.input_projections.0.1.bias"] == 0
    for group in groups:
        assert group["lr"] == pytest.approx(0.01 if group["name"].startswith("backbone") else 0.1)
        assert len(group["params"]) == len(group["parameter_names"])
    torch.optim.AdamW(groups)

    model.backbone.freeze(True)
    names = [group["name"] for group in parameter_groups(model, lr=0.1, weight_decay=0.05)]
    assert sorted(names) == ["head.decay", "head.no_decay"]


def lr_and_decay(model, **changes):
    groups = parameter_groups(model, lr=0.1, weight_decay=0.05, **changes)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    return {name: (group["lr"], group["weight_decay"]) for group in groups for name in group["parameter_names"]}


def test_parts_have_learning_rates_of_their_own(clip_folder):
    model = build(clip_folder, frozen=False)
    multipliers = {"head": 10.0, "head.pixel_decoder": 2.0, "backbone.stages.1": 0.5}
    found = lr_and_decay(model, backbone_lr_multiplier=0.1, lr_multipliers=multipliers)
    assert found["head.class_predictor.weight"] == pytest.approx((1.0, 0.05))
    assert found["head.pixel_decoder.mask_projection.weight"] == pytest.approx((0.2, 0.05))
    assert found["backbone.stem.0.weight"] == pytest.approx((0.01, 0.05))
    assert found["backbone.stages.1.blocks.0.mlp.fc1.weight"] == pytest.approx((0.005, 0.05))


def test_embeddings_that_are_plain_parameters_have_no_decay():
    vit = BackboneConfig(weights="timm:test_vit", frozen=False)
    model = build_segmenter(SegmenterConfig(backbone=vit, head=HEAD), 3, seed=0)
    found = {name: decay for name, (_, decay) in lr_and_decay(model).items()}
    spared = {name.rpartition(".")[2] for name, decay in found.items() if name.startswith("backbone.") and decay == 0}
    assert {"cls_token", "pos_embed"} <= spared
    # the pixel decoder's decays in the published code, where it is the one embedding that is a plain parameter
    assert found["head.pixel_decoder.level_embed"] == 0.05
    assert found["head.transformer.level_embed.weight"] == 0


def test_more_parameters_are_spared_decay_by_the_last_part_of_their_name(clip_folder):
    found = lr_and_decay(build(clip_folder, frozen=False), no_decay=["bias", "level_embed"])
    spared = {name.rpartition(".")[2] for name, (_, decay) in found.items() if decay == 0}
    assert spared == {"bias", "level_embed", "weight"}
    assert found["head.class_predictor.weight"] == (0.1, 0.05)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr_multipliers": {"head.pixel_decode": 2.0}}, "did you mean 'head.pixel_decoder'"),
        ({"lr_multipliers": {"hea": 2.0}}, "`lr_multipliers` names 'hea'"),
        ({"no_decay": ["level_embedd"]}, "did you mean 'level_embed'"),
    ],
)
def test_a_part_that_is_none_is_an_error(clip_folder, changes, said):
    with pytest.raises(UsageError, match=said):
        lr_and_decay(build(clip_folder), **changes)


def test_a_held_backbone_has_no_gradient_and_stays_in_evaluation_mode(clip_folder):
    model = build(clip_folder, frozen=False).train()
    model.hold_backbone(True)
    assert not model.train().backbone.training and model.head.training
    model(random_images(1, 64, 64)).mask_logits[-1].sum().backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert model.head.pixel_decoder.mask_projection.weight.grad is not None
    model.hold_backbone(False)
    assert model.backbone.training
    model(random_images(1, 64, 64)).mask_logits[-1].sum().backward()
    assert model.backbone.stem[0].weight.grad.abs().max() > 0


def test_it_learns_one_image(clip_folder):
    model = build(clip_folder).train()
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[:, 32:] = 1
    labels[:, 8:40, 16:48] = 3
    labels[:, :, 60:] = 255
    images = (60 * labels.clamp(max=3)[:, None].expand(-1, 3, -1, -1)).contiguous()
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=2e-3, weight_decay=0.05))
    losses = []
    for _ in range(60):
        loss = batch_loss(model, model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    predicted = model.eval().predict(images).argmax(1)
    known = labels != 255
    assert (predicted[known] == labels[known]).float().mean() > 0.95


def test_bfloat16_autocast(clip_folder, segmenter):
    images = random_images(2, 64, 64)
    exact = segmenter.predict(images)
    with torch.autocast("cpu", torch.bfloat16):
        scores = segmenter.predict(images)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, exact, rtol=0, atol=0.05)
    model = build(clip_folder, frozen=False).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = batch_loss(model, model(images), torch.ones(2, 64, 64, dtype=torch.uint8))
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_the_head_starts_as_published(clip_folder):
    head = build(clip_folder).head
    attention = head.pixel_decoder.encoder.layers[0].self_attn
    assert (attention.sampling_offsets.weight == 0).all() and (attention.attention_weights.weight == 0).all()
    # each head looks its own way: the offsets of the first head point right, one cell further with every point
    offsets = attention.sampling_offsets.bias.view(HEAD.heads, 3, 4, 2)
    torch.testing.assert_close(offsets[0, 0], torch.tensor([[1.0, 0], [2, 0], [3, 0], [4, 0]]))
    layer = head.transformer.decoder.layers[0]
    for weight, bound in (
        (layer.self_attn.q_proj.weight, (6 / (4 * 32)) ** 0.5),
        (layer.cross_attn.in_proj_weight, (6 / (4 * 32)) ** 0.5),
        (layer.fc1.weight, (6 / (32 + HEAD.decoder_feedforward)) ** 0.5),
        (head.pixel_decoder.mask_projection.weight, (3 / 32) ** 0.5),
    ):
        assert 0.9 * bound < weight.abs().max() <= bound
    assert (layer.self_attn.q_proj.bias == 0).all() and (head.pixel_decoder.mask_projection.bias == 0).all()
    assert head.transformer.queries_features.weight.std().item() == pytest.approx(1, abs=0.2)
