"""The segmenter computes what the published CLOUDS model computes, on recordings of it with random weights."""

from pathlib import Path

import pytest
import torch
from published_checkpoint import clip_config, published_state, small_segmenter

from clouds.models.published import convert
from clouds.models.published_files import read_checkpoint
from clouds.models.segmenter_config import EnsembleConfig
from clouds.models.segmenter_files import load_segmenter, save_segmenter

ORACLE = Path(__file__).parents[3] / "shared" / "oracle"
CLIP = ORACLE / "open_clip_mini.json"
NAMES = ("clouds_closed_vocabulary.pth", "clouds_text_classifier.pth")
here = pytest.mark.skipif(not CLIP.is_file(), reason="the recordings are not beside this project")


def recording(name):
    return torch.load(ORACLE / name, weights_only=True)


@here
@pytest.mark.parametrize("ensemble", [None, EnsembleConfig()], ids=["alone", "ensemble"])
@pytest.mark.parametrize("name", NAMES)
def test_a_published_checkpoint_gives_the_published_output(name, ensemble, tmp_path):
    recorded = recording(name)
    converted = convert(read_checkpoint(ORACLE / name), backbone=str(CLIP), ensemble=ensemble)
    save_segmenter(converted.model, tmp_path / "model", converted.label_map.names)
    model, info = load_segmenter(tmp_path / "model")
    assert info.class_names == tuple(names.split(",")[0] for names in recorded["class_names"])

    image = recorded["image"][None]
    with torch.no_grad():
        output = model(image)
    torch.testing.assert_close(output.class_logits[-1], recorded["pred_logits"], rtol=0, atol=1e-5)
    torch.testing.assert_close(output.mask_logits[-1], recorded["pred_masks"], rtol=0, atol=1e-5)
    published = recorded["sem_seg" if ensemble is None else "sem_seg_geometric_ensemble"]
    scores = model.predict(image)[0]
    torch.testing.assert_close(scores, published / published.sum(0), rtol=0, atol=1e-5)
    assert torch.equal(scores.argmax(0), published.argmax(0))


@here
def test_the_text_tower_gives_the_recorded_texts():
    recorded = recording(NAMES[1])
    texts = convert(read_checkpoint(ORACLE / NAMES[1]), backbone=str(CLIP)).model.texts
    assert list(texts.counts) == recorded["num_templates"]
    assert [",".join(names) for names in texts.names] == recorded["class_names"]
    torch.testing.assert_close(texts.texts_SE, recorded["text_classifier"], rtol=0, atol=1e-6)
    assert texts.seen_K.all()


@here
def test_the_ensemble_changes_the_recorded_scores():
    """Or else the test above could not tell whether it was applied."""
    for name in NAMES:
        recorded = recording(name)
        difference = recorded["sem_seg"] / recorded["sem_seg"].sum(0)
        difference -= recorded["sem_seg_geometric_ensemble"] / recorded["sem_seg_geometric_ensemble"].sum(0)
        assert difference.abs().max() > 1e-2


@here
@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_made_by_tests_have_the_published_names(name):
    """What stands in for the recordings where they are not: the same names for the same parts."""
    model, clip = small_segmenter(clip_config("convnext"), text="text" in name)
    assert kinds(published_state(model, clip)) == kinds(recording(name)["model"])


def kinds(names):
    return {".".join("#" if part.isdigit() else part for part in name.split(".")) for name in names}
