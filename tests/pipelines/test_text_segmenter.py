"""A run whose segmenter classifies by names: trained, kept, scored, and asked about another class list."""

import numpy as np
import torch
from PIL import Image
from small_run import small_config, write_config

from clouds.data.labels import LabelMap
from clouds.models.segmenter import with_classes
from clouds.models.segmenter_files import load_segmenter

SHARED = ("name", "run_dir", "shard_items", "max_failures", "runtime", "data", "train", "evaluate")


def source_only(models, run_dir, **segmenter):
    tree = small_config(models, run_dir)
    tree["train"]["segmenter"] |= segmenter
    return {"pipeline": "source_only", **{name: tree[name] for name in SHARED}}


def test_a_run_with_the_text_classifier_and_the_ensemble(clouds, models, tmp_path):
    text = {"names": {"car": ["car", "van"]}}
    tree = source_only(models, tmp_path / "run", classifier="text", ensemble={"unseen": 0.5}, text=text)
    tree["train"]["segmenter"]["backbone"]["frozen"] = True
    config = write_config(tmp_path / "text.yaml", tree)
    status, out, err = clouds("run", config)
    assert status == 0, err
    assert "mIoU" in out
    model, info = load_segmenter(tmp_path / "run" / "train" / "model")
    assert model.naming.classifier == "text" and model.naming.ensemble.unseen == 0.5
    assert model.texts.names[info.class_names.index("car")] == ("car", "van")
    assert with_classes(model, LabelMap.of(["van", "boat"])).texts.seen_K.tolist() == [True, False]
    check_other_classes(clouds, tmp_path, model)
    status, out, _ = clouds("plan", config, "--set", "train.segmenter.text.templates=['a {}']")
    assert (status == 0 and "train.segmenter.text.templates" in out) or "segmenter.text.templates" in out


def check_other_classes(clouds, folder, model):
    """`predict` asks it about classes it was not trained for."""
    Image.fromarray(np.full((40, 56, 3), 90, np.uint8)).save(folder / "photo.png")
    command = ("predict", folder / "run", folder / "photo.png", "--out", folder / "out", "--classes")
    status, _, err = clouds(*command, "van, boat")
    assert status == 0, err
    [labels] = (folder / "out").rglob("labels/photo.png")
    image_BCHW = torch.full((1, 3, 40, 56), 90, dtype=torch.uint8)
    assert np.array_equal(Image.open(labels), model.predict(image_BCHW)[0].argmax(0))
    status, _, err = clouds(*command, "van, tram")
    assert status == 2 and '"boat" -> "tram"' in err


def test_a_closed_classifier_cannot_be_asked_about_other_classes(clouds, finished, tmp_path):
    Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(tmp_path / "photo.png")
    command = ("predict", finished, tmp_path / "photo.png", "--out", tmp_path / "out", "--classes", "van, boat")
    status, _, err = clouds(*command)
    assert status == 2 and "closed classifier" in err


def test_names_of_no_class_are_wrong_use(clouds, models, tmp_path):
    tree = source_only(models, tmp_path / "run", classifier="text", text={"names": {"cra": ["car"]}})
    config = write_config(tmp_path / "text.yaml", tree)
    status, _, err = clouds("run", config)
    assert status == 2
    assert "'cra'" in err and "did you mean 'car'?" in err
