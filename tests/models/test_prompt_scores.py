"""Scores of images and prompts: as open_clip's own model, preprocessing and tokenizer give them."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from clouds.config import shipped_assets
from clouds.data.world import render_scene
from clouds.errors import CloudsError, UsageError
from clouds.models.prompt_scores import PromptScorer, fetch_clip, load_scorer
from clouds.models.segmenter_config import BackboneConfig
from clouds.models.text_tower import source_clip
from clouds.models.tiny_clip import build_tiny_clip

KEY = "filter.clip.weights"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tiny_clip(tmp_path_factory.mktemp("clip"), seed=1)


def images_of(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


def test_it_is_the_cosine_that_open_clip_gives_for_images_of_any_size(folder):
    images, prompts = images_of((64, 64), (48, 96), (200, 100)), ["a street in fog", "a car", "rain " * 100]
    found = load_scorer(BackboneConfig(weights=str(folder)), CPU, KEY).scores(images, prompts)

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}", require_pretrained=True)
    pixels_BCHW = torch.stack([preprocess(Image.fromarray(image_HWC)) for image_HWC in images])
    with torch.no_grad():
        images_BD = model.eval().encode_image(pixels_BCHW, normalize=True)
        texts_BD = model.encode_text(open_clip.tokenize(prompts), normalize=True)
    np.testing.assert_allclose(found, (images_BD * texts_BD).sum(1).numpy(), atol=1e-5)


def test_a_score_does_not_depend_on_the_company(folder):
    scorer = PromptScorer(source_clip(BackboneConfig(weights=str(folder))), CPU)
    images, prompts = images_of((64, 64), (64, 128)), ["a street", "a car"]
    alone = [scorer.scores([one], [prompt])[0] for one, prompt in zip(images, prompts, strict=True)]
    np.testing.assert_allclose(scorer.scores(images, prompts), alone, atol=1e-5)


def test_the_miniature_prefers_an_images_own_caption():
    scorer = load_scorer(BackboneConfig(weights=str(shipped_assets() / "miniature" / "clip")), CPU, KEY)
    scenes = [render_scene("web", 2_000_000 + number, height=64, width=128) for number in range(12)]
    images, captions = [one.image_HWC for one in scenes], [one.caption for one in scenes]
    own, other = scorer.scores(images, captions), scorer.scores(images, captions[1:] + captions[:1])
    assert np.mean(np.array(own) > np.array(other)) > 0.8
    assert np.mean(own) > np.mean(other) + 0.1


def test_what_is_no_clip_is_named_by_the_key_that_named_it(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_convnext"}))
    with pytest.raises(UsageError, match=f"'{KEY}'.* is no CLIP") as raised:
        load_scorer(BackboneConfig(weights=str(tmp_path)), CPU, KEY)
    assert raised.value.mend == "give a CLIP of open_clip"
    with pytest.raises(CloudsError, match="CLIP for prompts: the weights 'nobody/no-such-clip'") as missing:
        fetch_clip(BackboneConfig(weights="nobody/no-such-clip"), KEY)
    assert KEY in missing.value.mend
