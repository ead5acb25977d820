"""The Python interface: what it takes and gives, that it finds the segmenter meant, and that importing it is cheap."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import clouds
from clouds.api import find_segmenter
from clouds.engine.atomic import write_json
from clouds.errors import CloudsError, InputError, UsageError
from clouds.models import segmenter_files
from clouds.models.segmenter import build_segmenter
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, SegmenterConfig
from clouds.models.tiny_clip import build_tiny_clip

NAMES = ("road", "sky", "car")
HEAD = HeadConfig(
    channels=64, queries=6, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2, decoder_feedforward=32
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    clip = build_tiny_clip(tmp_path_factory.mktemp("clip"), seed=3)
    config = SegmenterConfig(backbone=BackboneConfig(weights=str(clip)), head=HEAD)
    folder = tmp_path_factory.mktemp("segmenter")
    segmenter_files.save_segmenter(build_segmenter(config, len(NAMES), seed=0), folder, NAMES)
    return folder


@pytest.fixture(scope="module")
def segmenter(folder):
    return clouds.load_segmenter(folder)


def image_of(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_files_pillow_images_and_arrays_give_the_same(folder, segmenter, tmp_path):
    image_HWC = image_of(37, 51)
    Image.fromarray(image_HWC).save(tmp_path / "1.png")
    labels_HW = segmenter.predict(image_HWC)
    assert labels_HW.dtype == np.uint8 and labels_HW.shape == (37, 51) and labels_HW.max() < len(NAMES)
    for image in (tmp_path / "1.png", str(tmp_path / "1.png"), Image.fromarray(image_HWC)):
        assert np.array_equal(segmenter.predict(image), labels_HW)
    model, info = segmenter_files.load_segmenter(folder)
    expected = model.predict(torch.from_numpy(image_HWC).permute(2, 0, 1)[None])[0].argmax(0)
    assert np.array_equal(labels_HW, expected) and segmenter.class_names == info.class_names == NAMES


def test_a_list_gives_a_list_in_its_order_whatever_the_sizes(segmenter):
    images = [image_of(*size) for size in ((20, 30), (40, 40), (20, 30))]
    labels = segmenter.predict(images, batch_size=2)
    assert [one.shape for one in labels] == [(20, 30), (40, 40), (20, 30)]
    assert segmenter.predict([]) == []
    assert np.array_equal(segmenter.predict(images[1]), labels[1])


@pytest.mark.parametrize("given", [3, None, 2.5, {"a": 1}, torch.zeros(3, 4, 5, dtype=torch.uint8), object()])
def test_what_is_neither_file_nor_image_is_named(segmenter, given):
    with pytest.raises(TypeError, match=f"predict takes a file's path.* not {type(given).__name__} "):
        segmenter.predict(given)
    with pytest.raises(TypeError, match=f"an image is a file's path.* not {type(given).__name__} "):
        segmenter.predict([image_of(8, 8), given])


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0, 3)])
def test_an_array_without_a_pixel_is_named(segmenter, shape):
    for images in (np.zeros(shape, np.uint8), [np.zeros(shape, np.uint8)]):
        with pytest.raises(ValueError, match=rf"an image of \({shape[0]}, {shape[1]}, 3\) has no pixel"):
            segmenter.predict(images)


def test_scores_and_a_protocol(folder):
    image_HWC = image_of(30, 40)
    scores_KHW = clouds.load_segmenter(str(folder)).predict(image_HWC, scores=True)
    assert scores_KHW.dtype == np.float32 and scores_KHW.shape == (3, 30, 40)
    both = clouds.load_segmenter(folder, flip=True).to("cpu").predict(image_HWC, scores=True)
    mirrored = clouds.load_segmenter(folder).predict(np.ascontiguousarray(image_HWC[:, ::-1]), scores=True)
    np.testing.assert_allclose(both, (scores_KHW + mirrored[..., ::-1]) / 2, atol=1e-5)
    with pytest.raises(UsageError, match="did you mean 'flip'"):
        clouds.load_segmenter(folder, flop=True)


def test_what_is_no_image_is_named(segmenter, tmp_path):
    with pytest.raises(InputError, match=r"no\.png does not exist"):
        segmenter.predict(tmp_path / "no.png")
    for array in (image_of(3, 4)[..., 0], image_of(3, 4).astype(float), np.zeros((3, 4, 4), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            segmenter.predict(array)


def test_a_path_means_the_segmenter_the_stage_or_the_last_of_a_run(folder, tmp_path):
    for stage, needs in {
        "train": [], "adapt": ["train", "repaint"], "repaint": [], "label-1": ["adapt"], "tune": ["adapt", "label-1"]
    }.items():  # fmt: skip
        (tmp_path / stage).mkdir()
        write_json(tmp_path / stage / "stage.json", {"document": {"upstream": dict.fromkeys(needs, "print")}})
    with pytest.raises(CloudsError, match="holds no segmenter"):
        find_segmenter(tmp_path)
    for stage in ("train", "adapt"):
        (tmp_path / stage / "model").symlink_to(folder)
    with pytest.raises(UsageError, match=r"config\.json: is a file"):
        find_segmenter(folder / "config.json")
    assert find_segmenter(folder) == folder
    assert find_segmenter(tmp_path / "train") == tmp_path / "train" / "model"
    assert find_segmenter(tmp_path) == tmp_path / "adapt" / "model"
    (tmp_path / "tune" / "model").symlink_to(folder)
    assert find_segmenter(tmp_path) == tmp_path / "tune" / "model"
    (tmp_path / "repaint" / "model").symlink_to(folder)
    assert find_segmenter(tmp_path) == tmp_path / "tune" / "model"
    (tmp_path / "label-1" / "stage.json").unlink(), (tmp_path / "tune" / "stage.json").unlink()
    with pytest.raises(UsageError, match="several segmenters"):
        find_segmenter(tmp_path)


def test_importing_the_package_or_finding_a_segmenter_brings_in_no_torch():
    code = """
import sys
from pathlib import Path
import clouds
from clouds.errors import CloudsError
print("torch" in sys.modules, callable(clouds.load_segmenter))
try:
    clouds.api.find_segmenter(Path("nowhere"))
except CloudsError:
    print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
    with pytest.raises(AttributeError, match="no attribute 'load_segmenters'"):
        clouds.load_segmenters  # noqa: B018
