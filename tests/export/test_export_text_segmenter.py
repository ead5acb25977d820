"""Segmenters with more than one folder's worth: a text tower, and a base that was left out."""

import shutil
from pathlib import Path

import pytest
import torch
from small_segmenters import NAMES, small_segmenter

from clouds.data.labels import LabelMap
from clouds.export.models.run import export_segmenter, holds_segmenter
from clouds.export.run import Options
from clouds.models.segmenter import build_segmenter, with_classes
from clouds.models.segmenter_config import BackboneConfig, SegmenterConfig
from clouds.models.segmenter_files import load_segmenter, save_segmenter

IMAGES_BCHW = torch.randint(0, 256, (1, 3, 33, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def exported(folder: Path, out: Path) -> Path:
    said: list[str] = []
    assert export_segmenter(folder, "hub", out, Options(), said.append).startswith("exported")
    assert len(said) == 1
    return out


def test_the_text_tower_goes_with_it(tmp_path):
    model = small_segmenter("clip vit", "text", tmp_path)
    save_segmenter(model, tmp_path / "model", NAMES)
    out = exported(tmp_path / "model", tmp_path / "out")
    shutil.rmtree(tmp_path / "model"), shutil.rmtree(tmp_path / "clip")
    again, info = load_segmenter(out)
    assert info.class_names == NAMES and torch.equal(again.predict(IMAGES_BCHW), model.predict(IMAGES_BCHW))
    asked = with_classes(again, LabelMap.of(["bus", "tram"]))
    assert asked.predict(IMAGES_BCHW).shape == (1, 2, 33, 50)
    assert "Not known: the segmenter lay in no run." in (out / "README.md").read_text()
    assert "model-index" not in (out / "README.md").read_text()


def test_a_base_that_was_left_out_is_put_back_in(tmp_path):
    small_segmenter("clip vit", "text", tmp_path)
    backbone = BackboneConfig(weights=str(tmp_path / "clip"), store="trained")
    head = small_segmenter("clip resnet", "closed", tmp_path).head_config
    model = build_segmenter(SegmenterConfig(backbone=backbone, head=head), 3, seed=0).eval()
    save_segmenter(model, tmp_path / "model", NAMES)
    out = exported(tmp_path / "model", tmp_path / "out")
    shutil.rmtree(tmp_path / "clip")
    again, _ = load_segmenter(out)
    assert torch.equal(again.predict(IMAGES_BCHW), model.predict(IMAGES_BCHW))
    assert str(tmp_path) not in (out / "config.json").read_text()


@pytest.mark.parametrize(("path", "found"), [("model", True), (".", True), ("nothing", False), ("clip", False)])
def test_a_folder_that_holds_a_segmenter(tmp_path, path, found):
    save_segmenter(small_segmenter("clip resnet", "closed", tmp_path), tmp_path / "model", NAMES)
    (tmp_path / "nothing").mkdir()
    assert holds_segmenter(tmp_path / path) is found
