"""Bad input, one case each: the message names the field or file, the value and the mend; exit status 1 or 2."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import output, small_config, write_config

Clouds = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]


@pytest.fixture
def write(models: Path, tmp_path: Path) -> Write:
    """Writes the small config with keys laid over it by dotted path."""

    def write_changed(changes: Mapping[str, Any]) -> Path:
        tree = small_config(models, tmp_path / "run")
        for key, value in changes.items():
            *parents, last = key.split(".")
            inner: dict[str, Any] = tree
            for parent in parents:
                inner = inner[parent]
            inner[last] = value
        return write_config(tmp_path / "bad.yaml", tree)

    return write_changed


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Four labelled images in folders of their own."""
    rng = np.random.default_rng(0)
    for index in range(4):
        for folder, shape, high in (("images", (32, 64, 3), 256), ("labels", (32, 64), 11)):
            path = tmp_path / "photos" / folder / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, high, shape, dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def folder_set(root: Path) -> dict[str, Any]:
    return {"type": "folder", "root": str(root), "images": "images", "labels": "labels"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generate.guidanc": 3}, ["unknown key 'generate.guidanc'", "did you mean 'guidance'"]),
        ({"train.optimizer.lrr": 3}, ["unknown key 'train.optimizer.lrr'", "'lr'"]),
        ({"data.sets.fog.domian": "fog"}, ["domian", "did you mean 'domain'"]),
        ({"generate.steps": "many"}, ["'generate.steps' = 'many'", "give a whole number"]),
        ({"train.batch_size": 0}, ["'train.batch_size' = 0", "greater than or equal to 1"]),
        ({"name": "a/b"}, ["'name' = 'a/b'", "letters"]),
        ({"data.sets.source": {"type": "world", "domain": "source", "count": 0}}, ["count", "greater than"]),
        ({"data.sets": {"../up": {"type": "world", "domain": "source", "count": 1}}}, ["../up", "pattern"]),
        ({"shard_items": 0}, ["'shard_items' = 0", "greater than or equal to 1"]),
        ({"pipeline": "ful"}, ["'pipeline' = 'ful'", "compare, full, predict, pretrain_miniature, source_only"]),
        ({"evaluate.data": ["foggy"]}, ["evaluate.data", "'foggy'", "source, fog, night"]),
        ({"data.sets.fog.domain": "mist"}, ["'mist'", "fog"]),
        ({"data.classes": "street12"}, ["street12", "street11"]),
        ({"generate.prompts": {}}, ["generate.prompts", "none is given"]),
        ({"generate.height": 30, "generate.width": 60}, ["30", "multiple"]),
    ],
)
def test_a_config_that_cannot_be(write: Write, clouds: Clouds, changes: dict[str, Any], said: list[str]) -> None:
    status, _, err = clouds("run", write(changes), "--until", "generate")
    assert status in (1, 2)
    assert err.count("Traceback") == 0
    for text in said:
        assert text in err


def test_an_unknown_stage_is_named_with_the_nearest(write: Write, clouds: Clouds) -> None:
    status, _, err = clouds("run", write({}), "--until", "refine-2")
    assert status == 2
    assert "no stage 'refine-2'" in err
    assert "did you mean 'refine-1'" in err


def test_an_unknown_command_or_flag_is_wrong_use(write: Write, clouds: Clouds) -> None:
    assert clouds("runn", write({}))[0] == 2
    assert clouds("run", write({}), "--colour")[0] == 2


def test_a_missing_config_names_those_that_ship(clouds: Clouds) -> None:
    status, _, err = clouds("run", "no-such.yaml")
    assert status == 2
    assert "no-such.yaml" in err
    assert "smoke" in err


def test_an_override_without_a_value_shows_the_form(write: Write, clouds: Clouds) -> None:
    status, _, err = clouds("plan", write({}), "--set", "generate.steps")
    assert status == 2
    assert "key.path=value" in err


def test_a_missing_folder_says_what_was_found(write: Write, clouds: Clouds, photographs: Path) -> None:
    shutil.move(photographs / "images", photographs / "pictures")
    status, _, err = clouds("run", write({"data.sets.source": folder_set(photographs)}))
    assert status == 1
    assert "images" in err
    assert "pictures" in err


def test_an_image_without_a_label_is_named(write: Write, clouds: Clouds, photographs: Path) -> None:
    (photographs / "labels" / "2.png").unlink()
    status, _, err = clouds("run", write({"data.sets.source": folder_set(photographs)}))
    assert status == 1
    assert "data set 'source'" in err
    assert "without" in err
    assert "2" in err.split("mend:")[0]


def test_an_empty_prompt_file_is_named(write: Write, clouds: Clouds, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\n# nothing\n")
    status, _, err = clouds("generate", write({"generate.prompts": {"file": str(tmp_path / "prompts.txt")}}))
    assert status == 1
    assert str(tmp_path / "prompts.txt") in err


@pytest.mark.parametrize(
    ("changes", "stage", "said"),
    [
        ({"generate.weights": "nobody/no-such-model"}, "generate", ["nobody/no-such-model", "hf download"]),
        ({"generate.weights": "/no/such/folder"}, "generate", ["/no/such/folder", "weights"]),
        ({"refine.sam.weights": "/no/such/sam.pth"}, "refine", ["/no/such/sam.pth", "weights"]),
        ({"train.segmenter.backbone.weights": "nobody/no-such-clip"}, "train", ["nobody/no-such-clip"]),
        ({"train.segmenter.backbone.weights": "convnext_bas", "filter": None}, "train", ["convnext_bas", "_base"]),
    ],
)
def test_weights_that_cannot_be_had_are_named_with_the_mend(
    write: Write, clouds: Clouds, changes: dict[str, Any], stage: str, said: list[str]
) -> None:
    status, _, err = clouds(stage, write(changes))
    assert status in (1, 2)
    assert "mend:" in err
    for text in said:
        assert text in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none(write: Write, clouds: Clouds) -> None:
    status, _, err = clouds("run", write({"runtime.device": "cuda"}))
    assert status == 2
    assert "'runtime.device' = 'cuda'" in err
    assert "auto or cpu" in err


def evaluation_of(photographs: Path) -> dict[str, Any]:
    """The changes that score the models on photographs."""
    return {"data.sets.fog": folder_set(photographs), "evaluate.data": ["fog"], "max_failures": 3}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda image, labels: labels.write_bytes(labels.read_bytes()[:80]), "2.png"),
        (lambda image, labels: image.write_bytes(image.read_bytes()[:80]), "2.png"),
        (lambda image, labels: Image.new("L", (60, 32)).save(labels), "60x32"),
        (lambda image, labels: Image.new("L", (64, 32), 77).save(labels), "77 (2048 pixels)"),
    ],
    ids=["truncated labels", "truncated image", "another size", "unknown id"],
)
def test_a_spoiled_item_is_recorded_and_retried_alone_once_it_is_mended(
    write: Write, clouds: Clouds, photographs: Path, spoil: Callable[[Path, Path], None], said: str
) -> None:
    image, labels = photographs / "images" / "2.png", photographs / "labels" / "2.png"
    whole = image.read_bytes(), labels.read_bytes()
    spoil(image, labels)
    config = write(evaluation_of(photographs))
    status, _, err = clouds("run", config, "--until", "evaluate-train")
    assert status == 0
    assert "failed: 2: " in err
    status, out, _ = clouds("status", config)
    assert "failed: evaluate-train/2: " in out
    assert said in out
    scores = Path(config).parent / "run" / "evaluate-train" / "scores.json"
    assert json.loads(scores.read_text())["results"]["fog"]["protocol"]["failed"] == 1

    image.write_bytes(whole[0]), labels.write_bytes(whole[1])
    before = ledgers(config)
    status, _, err = clouds("retry", config)
    assert status == 0
    assert json.loads(scores.read_text())["results"]["fog"]["protocol"] == {
        "images": 4,
        "failed": 0,
        "short_edge": None,
        "size": None,
        "window": None,
        "stride": None,
        "scales": [1.0],
        "flip": False,
        "compared_at": "label resolution",
    }
    # the records of before stand as they were, and only the mended item was done
    for name, lines in ledgers(config).items():
        assert lines[: len(before[name])] == before[name]
        assert [json.loads(line)["id"] for line in lines[len(before[name]) :]] in ([], ["2"])


def ledgers(config: Path) -> dict[str, list[str]]:
    """The records of the first evaluation, per shard."""
    folder = config.parent / "run" / "evaluate-train"
    return {path.parent.name: path.read_text().splitlines() for path in folder.glob("*/ledger.jsonl")}


def test_a_broken_training_image_is_passed_over_and_named(write: Write, clouds: Clouds, photographs: Path) -> None:
    (photographs / "images" / "1.png").write_bytes(b"no image")
    config = write({"data.sets.source": folder_set(photographs)})
    status, _, err = clouds("train", config)
    assert status == 0
    assert "passed over: source/1: " in err
    [row] = (config.parent / "run" / "train" / "model" / "metadata.jsonl").read_text().splitlines()
    assert len(json.loads(row)["skipped"]) == 1


def test_more_failures_than_the_budget_stop_the_run(write: Write, clouds: Clouds, photographs: Path) -> None:
    for path in (photographs / "images").iterdir():
        path.write_bytes(b"no image")
    status, _, err = clouds("run", write(evaluation_of(photographs)), "--until", "evaluate-train")
    assert status == 1
    assert "'max_failures'" in err
    assert "clouds retry" in err
    again, _, err = clouds("run", write(evaluation_of(photographs)), "--until", "evaluate-train")
    assert again == 1
    assert "4 items have failed, more than the budget of 3" in err
    status, _, err = clouds(
        "run", write({**evaluation_of(photographs), "max_failures": 9}), "--until", "evaluate-train"
    )
    assert status == 1
    assert "every one of its 4 items failed" in err


def test_a_model_of_other_classes_is_refused(copy_of_finished: Path, clouds: Clouds) -> None:
    path = copy_of_finished / "adapt" / "model" / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "class_names": [*content["class_names"][:-1], "tram"]}))
    shutil.rmtree(copy_of_finished / "label-1")
    status, _, err = clouds("label", copy_of_finished)
    assert status == 1
    assert "tram" in err
    assert "bicycle" in err


def test_a_corrupt_checkpoint_is_named_and_nothing_is_lost(write: Write, clouds: Clouds, tmp_path: Path) -> None:
    config = write({"train.steps": 3, "train.checkpoint_every": 1})
    status, _, _ = clouds("train", config)
    assert status == 0
    # the state a kill in mid-training leaves: a scratch folder with checkpoints
    train = tmp_path / "run" / "train"
    (train / ".work").mkdir()
    shutil.move(train / "model", train / ".work" / "model")
    stamp = json.loads((train / ".work" / "model" / "shard.json").read_text())["inputs"]
    (train / ".work" / "model" / "inputs.txt").write_text(stamp)
    [checkpoint] = (train / ".work" / "model" / "checkpoints").iterdir()
    weights = checkpoint / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-9])
    status, _, err = clouds("train", config)
    assert status == 1
    assert str(checkpoint) in err
    assert "remove that folder" in err
    weights.write_bytes(whole)
    assert clouds("train", config)[0] == 0


def test_nothing_is_lost_by_a_config_that_cannot_be(copy_of_finished: Path, clouds: Clouds) -> None:
    before = output(copy_of_finished)
    assert clouds("run", copy_of_finished, "--set", "generate.nothing=1")[0] == 2
    assert output(copy_of_finished) == before


def test_a_data_set_without_labels_cannot_train_or_score(write: Write, clouds: Clouds, photographs: Path) -> None:
    status, _, err = clouds("run", write({"data.sets.source": {**folder_set(photographs), "labels": None}}))
    assert status == 2
    assert "data set 'source' has no labels" in err


def test_classes_without_counterpart_are_named(write: Write, clouds: Clouds, caplog: pytest.LogCaptureFixture) -> None:
    status, _, _ = clouds("plan", write({"data.classes": ["skyy", "road", "car"]}))
    assert status == 0
    assert "'sky'" in caplog.text
    assert "ignored" in caplog.text
