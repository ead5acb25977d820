"""A teacher's labels refined: mirrored images as they are stored, whole ones from the cache, the same labels always."""

import numpy as np
import pytest
import torch
from small_online import sharpening
from small_training import LABELS, world

from clouds.models.tiny_sam import build_tiny_sam
from clouds.training.sharpening import LabelRefiner, TeacherLabel


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "sam.safetensors"
    build_tiny_sam(path, seed=0)
    return path


def said(index: int, mirrored: bool | None, seed: int = 3) -> TeacherLabel:
    scenes = world(2)
    image_HWC, labels_HW = scenes.image(index), scenes.labels(index).copy()
    labels_HW[10:14, 20:30] = (labels_HW[10:14, 20:30] + 1) % 11
    if mirrored:
        image_HWC, labels_HW = (np.ascontiguousarray(array[:, ::-1]) for array in (image_HWC, labels_HW))
    return TeacherLabel(image_HWC, labels_HW, np.ones(labels_HW.shape, np.float32), mirrored, seed)


def test_a_mirrored_image_is_refined_as_it_is_stored(sam, runtime, tmp_path):
    refiner = sharpening(sam).build(runtime, tmp_path)
    [straight], [mirrored] = refiner([said(0, False)], LABELS.ignore), refiner([said(0, True)], LABELS.ignore)
    assert np.array_equal(mirrored[:, ::-1], straight)
    assert not np.array_equal(straight, said(0, False).labels_HW)


def test_kept_or_not_the_labels_are_the_same(sam, runtime, tmp_path):
    kept = sharpening(sam).build(runtime, tmp_path)
    fresh = sharpening(sam, cache=False).build(runtime, tmp_path)
    asked = [said(0, False), said(1, True), said(0, None, seed=4)]
    first, again, without = kept(asked, LABELS.ignore), kept(asked, LABELS.ignore), fresh(asked, LABELS.ignore)
    for one, other, third in zip(first, again, without, strict=True):
        assert np.array_equal(one, other) and np.array_equal(one, third)
    # the part was not kept
    assert sum(path.is_file() for path in (tmp_path / "cache").rglob("??/*")) == 2


def test_kept_images_are_of_these_weights_and_sizes(sam, runtime, tmp_path, caplog):
    sharpening(sam).build(runtime, tmp_path)([said(0, False)], LABELS.ignore)
    other = tmp_path / "other" / "sam.safetensors"
    build_tiny_sam(other, seed=1)
    [labels_HW] = sharpening(other).build(runtime, tmp_path)([said(0, False)], LABELS.ignore)
    assert "made with other weights" in caplog.text
    [alone] = sharpening(other, cache=False).build(runtime, tmp_path)([said(0, False)], LABELS.ignore)
    assert np.array_equal(labels_HW, alone)


def test_nothing_to_ask_encodes_nothing(sam, runtime, tmp_path, monkeypatch):
    monkeypatch.setattr("clouds.models.sam.SamRefiner.encode", lambda *_: pytest.fail("encoded"))
    one = said(0, False)
    bare = TeacherLabel(one.image_HWC, np.full_like(one.labels_HW, LABELS.ignore), one.confidence_HW, False, 1)
    [labels_HW] = sharpening(sam).build(runtime, tmp_path)([bare], LABELS.ignore)
    assert (labels_HW == LABELS.ignore).all()


def test_it_takes_no_gradient_and_keeps_the_process_random_state(sam, runtime, tmp_path):
    refiner: LabelRefiner = sharpening(sam).build(runtime, tmp_path)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    refiner([said(0, False)], LABELS.ignore)
    assert torch.equal(torch.random.get_rng_state(), before)
