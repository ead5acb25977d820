"""The text classifier and the ensemble in a whole segmenter: names, files, other classes, and that it learns."""

import json
import shutil

import open_clip
import pytest
import torch
import torch.nn.functional as F
from published_checkpoint import clip_config, small_clip
from pydantic import ValidationError
from safetensors.torch import load_file
from tiny_towers import build_tower

from clouds.data.labels import LabelMap
from clouds.errors import CloudsError, UsageError
from clouds.models.class_texts import class_names, read_names
from clouds.models.clip_builder import build_clip, load_clip
from clouds.models.clip_sizes import ClipSizes, ClipTextSizes
from clouds.models.segmenter import build_segmenter, loss_settings, parameter_groups, with_classes
from clouds.models.segmenter_config import (
    PUBLISHED_TEMPLATES,
    BackboneConfig,
    EnsembleConfig,
    HeadConfig,
    MaskLossConfig,
    SegmenterConfig,
    TextConfig,
)
from clouds.models.segmenter_files import load_segmenter, save_segmenter, trainable_state
from clouds.models.text_tower import source_clip, text_only
from clouds.ops.mask_loss import count_labelled, count_masks, mask_loss

HEAD = HeadConfig(
    channels=32, queries=8, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2, decoder_feedforward=32
)
CLASSES = LabelMap.of([{"name": "road", "synonyms": ("street",)}, {"name": "sky"}, {"name": "car"}])
OTHERS = LabelMap.of(["sea", "street", "boat", "bridge"])
WORDS = ("road", "street", "sky", "car", "sea", "boat", "bridge", "a", "photo", "of", ".")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """With a tokenizer of its own, which must be kept with the text tower."""
    text = ClipTextSizes(width=16, layers=1, heads=2, context=24)
    sizes = ClipSizes(trunk="test_convnext", height=64, width=64, embed_dim=24, text=text)
    folder = tmp_path_factory.mktemp("clip")
    build_clip(sizes, WORDS, seed=3).save(folder)
    return folder


def build(clip_folder, **changes):
    config = {"classifier": "text", "head": HEAD, "backbone": BackboneConfig(weights=str(clip_folder)), **changes}
    return build_segmenter(SegmenterConfig(**config), CLASSES, seed=0).eval()


def images(count=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 64, 96), dtype=torch.uint8, generator=generator)


def test_there_are_the_published_templates():
    assert len(set(PUBLISHED_TEMPLATES)) == 14
    assert PUBLISHED_TEMPLATES[0] == "a photo of a {}."
    assert PUBLISHED_TEMPLATES[-1] == "There is a large {} in the scene."


def test_a_text_is_the_mean_over_templates_of_what_open_clip_says():
    clip = small_clip(clip_config("convnext"))
    texts = read_names(clip, (("road", "street"), ("sky",)), ("a {}.", "the {}", "some {} here"))
    with torch.no_grad():
        tokens = open_clip.tokenize(["a street.", "the street", "some street here"])
        expected = F.normalize(F.normalize(clip.model.encode_text(tokens), dim=-1).mean(0), dim=-1)
    torch.testing.assert_close(texts.texts_SE[1], expected)
    assert texts.counts == (2, 1) and texts.trained == ("road", "street", "sky")
    assert torch.equal(texts.log_scale, clip.model.logit_scale)


def test_names_come_from_the_classes_or_the_config():
    assert class_names(CLASSES, TextConfig()) == (("road", "street"), ("sky",), ("car",))
    given = TextConfig(names={"Sky": ("sky", "clouds"), "street": ("lane",)})
    assert class_names(CLASSES, given) == (("lane",), ("sky", "clouds"), ("car",))
    with pytest.raises(UsageError, match="has 'sly'") as caught:
        class_names(CLASSES, TextConfig(names={"sly": ("x",)}))
    assert "'sky'" in caught.value.mend


def test_the_classifier_is_the_published_one(clip_folder):
    model = build(clip_folder)
    with torch.no_grad():
        features = model.backbone(model.normalise(images()))
        pixels = model.head.pixel_decoder(features)
        decoded = model.head.transformer(pixels.multi_scale_features, pixels.mask_features)
        output = model(images())
        state = decoded.intermediate_hidden_states[-1].transpose(0, 1)
        inside = (decoded.masks_queries_logits[-1] > 0).float()
        pooled = torch.einsum("bchw,bqhw->bqc", pixels.mask_features, inside) / (inside.sum((2, 3))[..., None] + 1e-8)
        classifier, texts = model.head.class_predictor, model.texts.texts_SE
        vectors = F.normalize(classifier.embedder(classifier.pooled_projection(pooled) + state), dim=-1)
        cosines = vectors @ torch.cat([texts, F.normalize(classifier.no_object.weight, dim=-1)]).T / 0.07
    best = torch.stack([cosines[..., :2].amax(-1), cosines[..., 2], cosines[..., 3], cosines[..., 4]], -1)
    torch.testing.assert_close(output.class_logits[-1], best, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ensemble", [None, EnsembleConfig(seen=0.3)], ids=["alone", "ensemble"])
def test_a_saved_model_is_complete_in_itself(clip_folder, ensemble, tmp_path):
    clip = shutil.copytree(clip_folder, tmp_path / "clip")
    model = build(clip, ensemble=ensemble)
    save_segmenter(model, tmp_path / "one", CLASSES.names)
    shutil.rmtree(clip)
    loaded, _ = load_segmenter(tmp_path / "one")
    assert torch.equal(loaded.predict(images()), model.predict(images()))
    save_segmenter(loaded, tmp_path / "two", CLASSES.names)
    for file in (tmp_path / "one").rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()
    # a save that was cut short is done again
    save_segmenter(loaded, tmp_path / "two", CLASSES.names)
    save_segmenter(loaded, tmp_path / "one", CLASSES.names)
    tower = load_clip(tmp_path / "two" / "text")
    with torch.no_grad():
        assert torch.equal(tower.texts(["a car."]), load_clip(clip_folder).texts(["a car."]))
    assert sum(file.stat().st_size for file in (tmp_path / "two" / "text").iterdir()) < 200_000


def test_another_class_list_can_be_asked_for(clip_folder, tmp_path):
    save_segmenter(build(clip_folder, ensemble=EnsembleConfig()), tmp_path / "model", CLASSES.names)
    model, _ = load_segmenter(tmp_path / "model")
    before = model.predict(images())
    assert with_classes(model, OTHERS) is model
    assert model.num_classes == 4 and model.predict(images()).shape == (1, 4, 64, 96)
    with torch.no_grad():
        assert model(images()).class_logits[-1].shape == (1, HEAD.queries, 5)
    # a street is a trained road
    assert model.texts.seen_K.tolist() == [False, True, False, False]
    save_segmenter(model, tmp_path / "others", OTHERS.names)
    other, _ = load_segmenter(tmp_path / "others")
    assert torch.equal(other.predict(images()), model.predict(images()))
    assert with_classes(other, CLASSES).texts.seen_K.tolist() == [True, True, True]
    torch.testing.assert_close(other.predict(images()), before)


def test_the_order_of_the_classes_is_only_an_order(clip_folder):
    model = build(clip_folder, ensemble=EnsembleConfig())
    before = model.predict(images())
    turned = LabelMap.of([{"name": one.name, "synonyms": one.synonyms} for one in reversed(CLASSES.classes)])
    torch.testing.assert_close(with_classes(model, turned).predict(images()).flip(1), before)


def test_a_closed_classifier_cannot_be_asked_for_other_classes(clip_folder):
    for ensemble in (None, EnsembleConfig()):
        with pytest.raises(UsageError, match="closed classifier"):
            with_classes(build(clip_folder, classifier="closed", ensemble=ensemble), OTHERS)


def test_a_missing_text_tower_is_named_when_it_is_needed(clip_folder, tmp_path):
    save_segmenter(build(clip_folder), tmp_path / "model", CLASSES.names)
    shutil.rmtree(tmp_path / "model" / "text")
    model, _ = load_segmenter(tmp_path / "model")
    model.predict(images())
    with pytest.raises(CloudsError, match="text is missing or damaged"):
        with_classes(model, OTHERS)


def test_weights_that_know_no_text_are_refused(tmp_path):
    with pytest.raises(UsageError, match="random weights, and names mean nothing"):
        source_clip(BackboneConfig(weights="convnext_base"))
    with pytest.raises(CloudsError, match="does not exist"):
        source_clip(BackboneConfig(weights=str(tmp_path / "none")))
    with pytest.raises(ValidationError, match="frozen: true"):
        SegmenterConfig(backbone=BackboneConfig(weights="x/y", frozen=False), ensemble=EnsembleConfig())
    with pytest.raises(ValidationError, match="should match pattern"):
        TextConfig(templates=("no place for a name",))


@pytest.mark.parametrize("frozen", [True, False])
def test_it_learns_and_the_texts_stay(clip_folder, frozen):
    model = build(clip_folder, backbone=BackboneConfig(weights=str(clip_folder), frozen=frozen)).train()
    texts = model.texts.texts_SE.clone()
    labels = torch.zeros(1, 64, 96, dtype=torch.uint8)
    labels[:, 32:], labels[:, 8:40, 16:48] = 1, 2
    pictures = (100 * labels[:, None].expand(-1, 3, -1, -1)).contiguous()
    groups = parameter_groups(model, lr=2e-3, weight_decay=0.05)
    optimizer = torch.optim.AdamW(groups)
    decay = {name: group["weight_decay"] for group in groups for name in group["parameter_names"]}
    assert decay["head.class_predictor.no_object.weight"] == decay["head.class_predictor.pooled_projection.0.bias"] == 0
    assert not any(name.startswith("texts.") for name in (*decay, *trainable_state(model)))
    losses = []
    for _ in range(25):
        output = model(pictures)
        loss = mask_loss(
            output.class_logits,
            output.mask_logits,
            labels,
            num_masks=count_masks(labels),
            num_images=count_labelled(labels),
            generators=[torch.Generator().manual_seed(0)],
            settings=loss_settings(MaskLossConfig(num_points=256), ignore=255, stride=model.mask_stride),
        )["loss"]
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            assert [
                name for name, value in model.named_parameters() if value.requires_grad and value.grad is None
            ] == []
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert torch.equal(model.texts.texts_SE, texts)


@pytest.mark.parametrize("classifier", ["text", "closed"])
def test_a_folder_of_what_was_trained_keeps_what_the_names_became(clip_folder, tmp_path, classifier):
    backbone = BackboneConfig(weights=str(clip_folder), store="trained")
    model = build(clip_folder, backbone=backbone, classifier=classifier, ensemble=EnsembleConfig())
    save_segmenter(model, tmp_path / "model", CLASSES.names)
    loaded, _ = load_segmenter(tmp_path / "model")
    assert torch.equal(loaded.predict(images()), model.predict(images()))
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert stored and not any(name.startswith("backbone.") for name in stored)


def test_the_text_tower_of_a_tag_has_the_activation_of_its_weights(tmp_path, monkeypatch):
    build_tower("clip vit", tmp_path / "clip")
    config = json.loads((tmp_path / "clip" / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "vit_for_a_test", config)
    tags = {"openai": {"hf_hub": "owner/vit/", "quick_gelu": True}, "other": {"hf_hub": "owner/vit/"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "vit_for_a_test", tags)
    monkeypatch.setattr("clouds.models.backbone_weights.local_files", lambda *_: tmp_path / "clip")
    for tag, kind in (("openai", "QuickGELU"), ("other", "GELU")):
        clip = source_clip(BackboneConfig(weights="vit_for_a_test", pretrained=tag))
        assert type(clip.model.get_submodule("transformer.resblocks.0.mlp.gelu")).__name__ == kind
        text_only(clip).save(tmp_path / tag)
        kept = load_clip(tmp_path / tag)
        assert type(kept.model.get_submodule("transformer.resblocks.0.mlp.gelu")).__name__ == kind
