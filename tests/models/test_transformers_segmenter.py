"""transformers' Mask2Former as ours: the same output as from transformers itself, and what cannot be read."""

import json

import pytest
import torch
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig, SwinConfig

from clouds.data.labels import LabelMap
from clouds.errors import CloudsError
from clouds.models.segmenter_files import load_segmenter, save_segmenter
from clouds.models.transformers_segmenter import read_transformers

STAGES = ["stage1", "stage2", "stage3", "stage4"]
BACKBONES = {
    "swin": SwinConfig(embed_dim=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, out_features=STAGES),
    "resnet": ResNetConfig(embedding_size=8, hidden_sizes=[16, 24, 32, 40], depths=[1, 1, 1, 1], out_features=STAGES),
}
NAMES = {0: "road", 1: "sky", 2: "car"}


def save(folder, backbone="swin", **changes):
    widths = dict.fromkeys(("feature_size", "mask_feature_size", "hidden_dim"), 32)
    sizes = {"num_queries": 5, "num_attention_heads": 4, "encoder_layers": 1, "decoder_layers": 3}
    config = Mask2FormerConfig(
        backbone_config=BACKBONES[backbone],
        **{**widths, **sizes, "encoder_feedforward_dim": 48, "dim_feedforward": 40, "id2label": NAMES, **changes},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Mask2FormerForUniversalSegmentation(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("backbone", BACKBONES)
def test_it_computes_what_transformers_computes(backbone, tmp_path):
    original = save(tmp_path / "theirs", backbone)
    processor = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}
    (tmp_path / "theirs" / "preprocessor_config.json").write_text(json.dumps(processor))
    converted = read_transformers(tmp_path / "theirs")
    assert converted.label_map.names == ("road", "sky", "car")
    save_segmenter(converted.model, tmp_path / "ours", converted.label_map.names)
    model, _ = load_segmenter(tmp_path / "ours")
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(processor[key]).view(-1, 1, 1) for key in ("image_mean", "image_std"))
    with torch.no_grad():
        theirs = original(pixel_values=(images / 255 - mean) / std)
        ours = model(images)
    torch.testing.assert_close(ours.class_logits[-1], theirs.class_queries_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.mask_logits[-1], theirs.masks_queries_logits, rtol=0, atol=1e-5)
    assert model.predict(images[:, :, :50, :70]).shape == (2, 3, 50, 70)
    save_segmenter(model, tmp_path / "again", converted.label_map.names)
    for file in (tmp_path / "ours").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_its_backbone_can_be_trained_or_fixed(tmp_path):
    save(tmp_path)
    model = read_transformers(tmp_path).model
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.backbone.freeze(True)
    assert not model.train().backbone.training and model.head.training
    model(torch.zeros(1, 3, 64, 64)).class_logits[-1].sum().backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre_norm": True}, "pre_norm = True"),
        ({"mask_feature_size": 64}, r"widths \[32, 64\]"),
    ],
)
def test_another_kind_of_head_is_refused(changes, message, tmp_path):
    save(tmp_path, **changes)
    with pytest.raises(CloudsError, match=message):
        read_transformers(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CloudsError, match=r"config\.json is missing"):
        read_transformers(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CloudsError, match="transformers' 'bert'"):
        read_transformers(tmp_path)
    save(tmp_path)
    with pytest.raises(CloudsError, match="trained for 3 classes, and 2 are given"):
        read_transformers(tmp_path, LabelMap.of(["a", "b"]))
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CloudsError, match="weights cannot be read"):
        read_transformers(tmp_path)
    weights.unlink()
    with pytest.raises(CloudsError, match="weights cannot be read"):
        read_transformers(tmp_path)
