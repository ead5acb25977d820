"""What a training can be told beyond the defaults, through the command line: what it leaves, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_run import small_config, write_config

Clouds = Callable[..., tuple[int, str, str]]

EVERYTHING = {
    "steps": 4,
    "frozen_steps": 2,
    "lr_multipliers": {"head": 10.0, "head.pixel_decoder": 5.0},
    "no_decay": ["level_embed"],
    "rare_classes": {"temperature": 0.1, "min_pixels": 20, "min_crop_pixels": 10},
    "validation": {"data": ["fog", "night"], "every": 2, "images": 2, "keep_best": True},
    "augment": {"crop": [40, 80], "max_class_share": 0.75, "crop_tries": 3, "blur": {"probability": 1.0}},
}


def write(path: Path, models: Path, run_dir: Path, train: dict[str, Any], **changes: Any) -> Path:
    tree = small_config(models, run_dir, **changes)
    return write_config(path, {**tree, "train": {**tree["train"], **train}})


def test_a_stage_with_everything_on(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    pytest.importorskip("tensorboard")
    runtime = {"device": "cpu", "trackers": ["tensorboard"]}
    config = write(tmp_path / "c.yaml", models, tmp_path / "run", EVERYTHING, runtime=runtime)
    status, _, err = clouds("train", config)
    assert status == 0, err
    assert "source: counting the classes of 6 images" in err
    model = tmp_path / "run" / "train" / "model"
    lines = [json.loads(line) for line in (model / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "miou" in line] == [2, 4]
    assert lines[-1].keys() >= {"miou/fog", "miou/night"}
    assert [path.name for path in model.glob("class_pixels/source/*")] == ["00000.json"]
    # outside of the stage's folder: it tells the time
    assert list((tmp_path / "run" / "trackers" / "train" / "tensorboard").glob("events.*"))
    status, out, _ = clouds("plan", config)
    assert status == 0
    assert "train           " in out and "up to date" in out.split("\n")[1]


@pytest.mark.parametrize(
    ("train", "status", "said"),
    [
        ({"validation": {"data": ["fogg"], "every": 2}}, 2, ["train.validation.data", "'fogg'", "fog"]),
        ({"validation": {"data": [], "every": 2}}, 2, ["train.validation.data"]),
        ({"validation": {"data": ["fog"]}}, 2, ["'train.validation.every' is missing", "add it; Steps"]),
        ({"rare_classes": {"temprature": 1}}, 2, ["train.rare_classes.temprature", "did you mean 'temperature'"]),
        ({"rare_classes": {}}, 2, ["data set 'source'", "rare_classes.min_pixels", "lower it"]),
        ({"lr_multipliers": {"heads": 10}}, 2, ["`lr_multipliers` names 'heads'", "did you mean 'head'"]),
        ({"no_decay": ["level"]}, 2, ["`no_decay` names 'level'"]),
        ({"augment": {"blur": {"sigma": [2, 1]}}}, 2, ["train.augment.blur.sigma", "smaller number first"]),
        ({"augment": {"crop": [400, 800]}, "steps": 1}, 0, ["warning: data set 'source': `augment.crop` is 800x400"]),
        ({"frozen_steps": -1}, 2, ["'train.frozen_steps' = -1"]),
    ],
)
def test_what_cannot_be_or_is_odd_is_named(
    models: Path, tmp_path: Path, clouds: Clouds, train: dict[str, Any], status: int, said: list[str]
) -> None:
    found, _, err = clouds("train", write(tmp_path / "c.yaml", models, tmp_path / "run", train))
    assert found == status, err
    assert "Traceback" not in err
    for part in said:
        assert part in err


def test_a_backbone_is_kept_near_to_where_the_self_training_found_it(
    models: Path, copy_of_finished: Path, clouds: Clouds
) -> None:
    far = {"classes": ["road", "sky"], "min_share": 0.1}
    config = f"selftrain.feature_distance={json.dumps(far)}"
    status, _, err = clouds("selftrain", copy_of_finished, "--set", config)
    assert status == 0, err
    lines = (copy_of_finished / "selftrain-1" / "model" / "log.jsonl").read_text().splitlines()
    distances = [json.loads(line)["distance"] for line in lines]
    # rounding, where a forward pass has other images beside it
    assert distances[0] < 1e-6 < distances[-1]


@pytest.mark.parametrize(
    ("far", "frozen", "said"),
    [
        ({"classes": ["rode"]}, False, ["selftrain.feature_distance.classes names 'rode'", "did you mean 'road'"]),
        ({"classes": []}, False, ["selftrain.feature_distance.classes"]),
        ({}, False, ["'selftrain.feature_distance.classes' is missing"]),
        ({"classes": ["road"], "min_share": 1.5}, False, ["'selftrain.feature_distance.min_share' = 1.5"]),
        ({"classes": ["road"]}, True, ["`selftrain.feature_distance`", "this one is frozen", "to false"]),
    ],
)
def test_a_distance_that_cannot_be_is_named(
    models: Path, tmp_path: Path, clouds: Clouds, far: dict[str, Any], frozen: bool, said: list[str]
) -> None:
    tree = small_config(models, tmp_path / "run")
    tree["selftrain"]["feature_distance"] = far
    tree["train"]["segmenter"]["backbone"]["frozen"] = frozen
    status, _, err = clouds("plan", write_config(tmp_path / "c.yaml", tree))
    assert status == 2 and "Traceback" not in err
    for part in said:
        assert part in err


def test_a_tracker_that_is_none_is_named(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    runtime = {"device": "cpu", "trackers": ["tensorbord"]}
    found, _, err = clouds("plan", write(tmp_path / "c.yaml", models, tmp_path / "run", {}, runtime=runtime))
    assert found == 2
    assert "runtime.trackers.0" in err and "'tensorboard' or 'wandb'" in err


def test_validation_sets_without_labels_are_refused(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 32)).save(tmp_path / "photos" / "a.png")
    tree = small_config(models, tmp_path / "run")
    tree["data"]["sets"]["bare"] = {"type": "folder", "root": str(tmp_path), "images": "photos", "labels": None}
    tree["train"]["validation"] = {"data": ["bare"], "every": 1}
    found, _, err = clouds("plan", write_config(tmp_path / "c.yaml", tree))
    assert found == 2 and "data set 'bare' has no labels" in err
