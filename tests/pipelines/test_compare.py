"""Segmenters that are there already, scored side by side: what is written, saved and printed, and what is refused."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_comparison import comparison, only_berlin, small_segmenters
from small_run import write_config

from clouds.data.images import read_labels
from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact
from clouds.ops.confusion import confusion_matrix, matrix_from_cells

Clouds = Callable[..., tuple[int, str, str]]
NAMES = LabelMap.of("street11").names


@pytest.fixture(scope="module")
def segmenters(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return small_segmenters(models, tmp_path_factory.mktemp("segmenters"))


@pytest.fixture
def config(segmenters: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Writes the config of a comparison; keywords replace groups of it."""
    return lambda **changes: write_config(
        tmp_path / "compare.yaml", comparison(segmenters, tmp_path / "run", **changes)
    )


def scores_of(run: Path, model: str) -> dict[str, Any]:
    content = json.loads((run / f"evaluate-{model}" / "scores.json").read_text())
    assert content["model"] == model
    results: dict[str, Any] = content["results"]
    return results


def test_models_and_data_sets_make_one_table(config: Callable[..., Path], clouds: Clouds, tmp_path: Path) -> None:
    path = config()
    status, out, _ = clouds("run", path)
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["model", "fog", "night", "mean", "gain"] in lines
    assert [line[0] for line in lines if line and line[0] in ("one", "two", "gain")] == ["one", "two", "gain"]
    for model in ("one", "two"):
        for name, result in scores_of(tmp_path / "run", model).items():
            low, high = result["interval"]["mean_iou"]
            assert 0 <= low <= high <= 1 and result["interval"]["resamples"] == 50
            # every number has one, under its own key
            for key, value in result.items():
                if key in ("interval", "protocol", "pixels", "confusion", "most_frequent", "boundary_ratio"):
                    continue
                named = value if isinstance(value, dict) else {key: value}
                intervals = result["interval"][key] if isinstance(value, dict) else {key: result["interval"][key]}
                assert named.keys() == intervals.keys()
                for one, score in named.items():
                    low, high = intervals[one]
                    assert (score is None) == (low is None) and (score is None or 0 <= low <= high <= 1)
            assert 0 <= result["mean_boundary_iou"] <= 1 and result["category_iou"].keys() >= {"flat", "sky"}
            assert result["protocol"]["images"] == {"fog": 5, "night": 3}[name]
    written = (tmp_path / "run" / "evaluate-one" / "scores.md").read_text()
    assert "**mean boundary IoU**" in written and "category flat" in written and " [" in written
    status, out, err = clouds("run", path)
    assert status == 0 and err.count("up to date") == 2
    content = json.loads(clouds("report", path, "--json")[1])
    assert [model["model"] for model in content["models"]] == ["one", "two"]
    assert clouds("report", path, "--format", "md")[1].startswith("mIoU in percent, with the 95% interval of 50")
    assert clouds("report", path, "--format", "md", "--json")[0] == 2


def test_scores_do_not_depend_on_how_images_are_sharded(
    config: Callable[..., Path], clouds: Clouds, tmp_path: Path
) -> None:
    found = []
    for items in (1, 100):
        run = tmp_path / f"run-{items}"
        assert clouds("run", config(shard_items=items, run_dir=str(run)), "--until", "evaluate-one")[0] == 0
        found.append(scores_of(run, "one"))
    assert found[0] == found[1]


def test_other_weights_in_a_given_folder_are_scored_anew(
    config: Callable[..., Path], segmenters: dict[str, Path], clouds: Clouds, tmp_path: Path
) -> None:
    given = Path(shutil.copytree(segmenters["one"], tmp_path / "given"))
    path = config(models={"it": str(given)}, evaluate={"data": ["night"]})
    assert clouds("run", path)[0] == 0
    before = scores_of(tmp_path / "run", "it")
    moved = config(models={"it": str(segmenters["one"])}, evaluate={"data": ["night"]})
    assert "up to date" in clouds("plan", moved)[1]
    shutil.copy(segmenters["two"] / "model.safetensors", given)
    path = config(models={"it": str(given)}, evaluate={"data": ["night"]})
    assert "input model.model.safetensors" in clouds("plan", path)[1]
    assert clouds("run", path)[0] == 0
    assert scores_of(tmp_path / "run", "it") != before


def test_every_prediction_is_saved_in_the_runs_ids(config: Callable[..., Path], clouds: Clouds, tmp_path: Path) -> None:
    assert clouds("evaluate", config(), "--save-predictions", "labels")[0] == 0
    artifact = Artifact(tmp_path / "run" / "evaluate-two")
    saved = sorted(path.relative_to(artifact.folder).as_posix() for path in artifact.folder.rglob("*.png"))
    assert saved == sorted(
        [f"fog-{n // 3:05d}/labels/fog-{n:06d}.png" for n in range(5)]
        + [f"night-00000/labels/night-{n:06d}.png" for n in range(3)]
    )
    total = np.zeros((11, 12), np.int64)
    for row in artifact.rows("night-00000"):
        predicted_HW = read_labels(artifact.shard_folder("night-00000") / row["saved_file_name"])
        matrix = matrix_from_cells(row["cells"], 11)
        assert (np.bincount(predicted_HW.ravel(), minlength=11) >= matrix[:, :11].sum(axis=0)).all()
        total += matrix
    assert scores_of(tmp_path / "run", "two")["night"]["confusion"] == total.tolist()


def test_predictions_for_a_server_are_one_archive_that_scores_as_we_do(
    config: Callable[..., Path], clouds: Clouds, tmp_path: Path
) -> None:
    path = config(data=only_berlin(tmp_path / "cityscapes"), evaluate={"data": ["berlin"], "keep_predictions": 1})
    assert clouds("run", path, "--save-predictions", "cityscapes")[0] == 0
    folder = tmp_path / "run" / "evaluate-one"
    with zipfile.ZipFile(folder / "berlin.cityscapes.zip") as archive:
        assert archive.namelist() == [f"berlin_000000_{n:06d}_labelIds.png" for n in range(3)]
        archive.extractall(tmp_path / "unpacked")
    # the report's own copy of the first prediction has the run's ids
    assert [path.name for path in (folder / "berlin-00000" / "labels").iterdir()] == [
        "berlin__berlin_000000_000000.png"
    ]
    lookup = LabelMap.of("street11").match(dict(enumerate(_cityscapes34())), ignore_ids=(255,))
    total = np.zeros((11, 12), np.int64)
    for number in range(3):
        name = f"berlin_000000_{number:06d}"
        truth_HW = read_labels(tmp_path / "cityscapes" / "gtFine" / "berlin" / f"{name}_gtFine_labelIds.png")
        saved_HW = read_labels(tmp_path / "unpacked" / f"{name}_labelIds.png")
        total += confusion_matrix(lookup.translate(saved_HW), lookup.translate(truth_HW), 11)
    assert scores_of(tmp_path / "run", "one")["berlin"]["confusion"] == total.tolist()


def test_a_set_without_labels_is_predicted_where_that_is_asked_for(
    config: Callable[..., Path], clouds: Clouds, tmp_path: Path
) -> None:
    path = config(data=only_berlin(tmp_path / "test", labels=False), evaluate={"data": ["berlin"]})
    status, _, err = clouds("run", path)
    assert status == 2 and "data set 'berlin' has no labels" in err and "save_predictions" in err
    status, out, _ = clouds("run", path, "--save-predictions", "cityscapes")
    assert status == 0 and ["one", "-", "-"] in [line.split() for line in out.splitlines()]
    assert (tmp_path / "run" / "evaluate-one" / "berlin.cityscapes.zip").exists()
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Prediction of one" in page and "right on" not in page


@pytest.mark.parametrize(
    ("changes", "arguments", "status", "told"),
    [
        ({"models": {}}, [], 2, ["nothing to score", "`models`", "`evaluate.predictions`"]),
        ({"models": {"one": "/nowhere"}}, [], 2, ["'models.one': /nowhere holds no segmenter", "model.safetensors"]),
        ({"evaluate": {"data": ["rain"]}}, [], 2, ["evaluate.data", "'rain'"]),
        ({}, ["--save-predictions", "cityscapes"], 2, ["'fog' in the form 'cityscapes'", "'fog-000000' holds no name"]),
        ({"evaluate": {"data": ["fog"], "save_predictions": "png"}}, [], 2, ["evaluate.save_predictions"]),
        ({"evaluate": {"data": ["fog"], "scoring": {"boundary_ratio": 0}}}, [], 2, ["boundary_ratio", "greater than"]),
    ],
)
def test_what_cannot_be_compared_is_refused_before_work(
    config: Callable[..., Path], clouds: Clouds, tmp_path: Path, changes: Any, arguments: Any, status: int, told: Any
) -> None:
    found, _, err = clouds("run", config(**changes), *arguments)
    assert found == status and "Traceback" not in err
    for text in told:
        assert text in err
    assert not (tmp_path / "run" / "evaluate-one").exists()


def test_the_folder_above_a_model_is_told_from_it(
    config: Callable[..., Path], segmenters: dict[str, Path], clouds: Clouds, tmp_path: Path
) -> None:
    shutil.copytree(segmenters["one"], tmp_path / "train" / "model")
    _, _, err = clouds("plan", config(models={"one": str(tmp_path / "train")}))
    assert f"did you mean {tmp_path / 'train' / 'model'}?" in err


def test_classes_the_model_was_not_trained_for(config: Callable[..., Path], clouds: Clouds) -> None:
    path = config()
    tree = path.read_text().replace("classes: street11", "classes: cityscapes19")
    path.write_text(tree)
    status, _, err = clouds("run", path)
    assert status == 1 and "trained for 11 classes, not 19" in err


def test_labels_of_another_size_or_of_no_class_fail_alone_and_by_name(
    config: Callable[..., Path], clouds: Clouds, tmp_path: Path
) -> None:
    data = only_berlin(tmp_path / "cityscapes")
    folder = tmp_path / "cityscapes" / "gtFine" / "berlin"
    Image.fromarray(np.full((32, 64), 200, np.uint8)).save(folder / "berlin_000000_000000_gtFine_labelIds.png")
    Image.fromarray(np.full((16, 64), 7, np.uint8)).save(folder / "berlin_000000_000001_gtFine_labelIds.png")
    status, _, err = clouds("run", config(data=data, evaluate={"data": ["berlin"]}), "--until", "evaluate-one")
    assert status == 0
    assert "berlin_000000_000000_gtFine_labelIds.png hold ids that are no class" in err and "200 (2048 pixels)" in err
    assert "berlin_000000_000001_gtFine_labelIds.png are 64x16 pixels" in err
    result = scores_of(tmp_path / "run", "one")["berlin"]
    assert (result["protocol"]["images"], result["protocol"]["failed"]) == (1, 2)
    assert "interval" not in result


def test_runs_are_compared_by_mean_and_spread(config: Callable[..., Path], clouds: Clouds, tmp_path: Path) -> None:
    runs = [tmp_path / f"run-{seed}" for seed in (0, 1)]
    for run, items in zip(runs, (3, 2), strict=True):
        assert clouds("run", config(run_dir=str(run), shard_items=items))[0] == 0
    # as if another seed had been trained: every score a point higher
    for model in ("one", "two"):
        path = runs[1] / f"evaluate-{model}" / "scores.json"
        content = json.loads(path.read_text())
        for result in content["results"].values():
            result["mean_iou"] += 0.01
        path.write_text(json.dumps(content))
    status, out, _ = clouds("compare", *runs, "--json")
    assert status == 0
    found = json.loads(out)
    assert found["runs"] == [str(run) for run in runs]
    for model in ("one", "two"):
        assert found["models"][model]["mean"]["deviation"] == pytest.approx(0.01 / 2**0.5)
    assert found["differing"] == {"shard_items": {str(runs[0]): 3, str(runs[1]): 2}}
    text = clouds("compare", *runs)[1]
    assert " ± 0.7 " in text and "configs of these runs differ: shard_items (3, 2);" in text
    assert clouds("compare", runs[0], runs[0])[0] == 2
    status, _, err = clouds("compare", runs[0], config(run_dir=str(tmp_path / "fresh")))
    assert status == 2 and "no model has been scored yet" in err


def test_scores_that_are_not_current_are_left_out_by_name(
    config: Callable[..., Path], segmenters: dict[str, Path], clouds: Clouds, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert clouds("run", config())[0] == 0
    # the config that is told has one model less, and scores the other at another size
    scored = {"data": ["fog", "night"], "scoring": {"resamples": 50}, "short_edge": 20}
    changed = config(models={"one": str(segmenters["one"])}, evaluate=scored)
    status, out, _ = clouds("report", changed)
    assert status == 0 and "mIoU" not in out
    assert "left out: one, whose scores in evaluate-one are not current (config short_edge: null -> 20)" in out
    assert "left out: two, whose scores in evaluate-two are not current (the config has no such stage)" in out
    only_one = config(models={"one": str(segmenters["one"])})
    for command in ("report", "compare"):
        table = clouds(command, only_one, "--format", "md")[1]
        assert "| one " in table and "left out: two" in table and "left out: one" not in table
    told = json.loads(clouds("compare", only_one, "--json")[1])["left_out"]
    assert told == {str(run): [{"model": "two", "stage": "evaluate-two", "reasons": ["the config has no such stage"]}]}
    assert "Left out: two" in (run / "report" / "index.html").read_text(encoding="utf-8")
    assert json.loads(clouds("report", only_one, "--json")[1])["left_out"] == told[str(run)]
    assert "left out" not in clouds("report", config())[1]


def _cityscapes34() -> tuple[str, ...]:
    from clouds.data.label_maps import CLASS_LISTS

    return CLASS_LISTS["cityscapes34"]
