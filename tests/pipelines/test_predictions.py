"""Predictions that lie on disk: scored as the segmenter that made them was, anew where they change; what is refused."""

import json
import re
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

from clouds.data.images import read_labels, write_labels

Clouds = Callable[..., tuple[int, str, str]]
Config = Callable[..., Path]
SCORING = {"scoring": {"resamples": 50}}


@pytest.fixture(scope="module")
def segmenters(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return small_segmenters(models, tmp_path_factory.mktemp("segmenters"))


@pytest.fixture
def config(segmenters: dict[str, Path], tmp_path: Path) -> Config:
    """Writes the config of a comparison of one segmenter; keywords replace groups of it."""
    one = {"one": segmenters["one"]}

    def write(run: str = "run", **changes: Any) -> Path:
        return write_config(tmp_path / f"{run}.yaml", comparison(one, tmp_path / run, **changes))

    return write


@pytest.fixture
def alone(config: Config) -> Config:
    """The same without a segmenter: predictions are named on the command line."""
    return lambda run="alone", **changes: config(run, models={}, **changes)


@pytest.fixture
def no_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **more: Any) -> None:
        pytest.fail("a model was loaded")

    monkeypatch.setattr("clouds.models.segmenter_files.load_segmenter", refuse)


@pytest.fixture
def painted(tmp_path: Path) -> Path:
    """Another tool's predictions of the sets `fog` and `night`, the right size, in folders of these names."""
    rng = np.random.default_rng(0)
    for name, count, shape in (("fog", 5, (32, 64)), ("night", 3, (30, 50))):
        for number in range(count):
            path = tmp_path / "painted" / name / f"{name}-{number:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_labels(path, rng.integers(0, 11, shape, dtype=np.uint8))
    return tmp_path / "painted"


def results(run: Path, name: str) -> dict[str, Any]:
    """A model's results, less how they came about."""
    content = json.loads((run / f"evaluate-{name}" / "scores.json").read_text())
    assert content["model"] == name
    return {key: {**result, "protocol": None} for key, result in content["results"].items()}


def test_what_was_saved_scores_as_the_segmenter_did(
    config: Config, alone: Config, clouds: Clouds, tmp_path: Path
) -> None:
    assert clouds("evaluate", config(), "--save-predictions", "labels")[0] == 0
    saved = tmp_path / "run" / "evaluate-one"
    # whatever the shards, alone and beside the segmenter
    again = alone(shard_items=2)
    status, out, err = clouds("evaluate", again, "--predictions", f"again={saved}")
    assert status == 0, err
    assert results(tmp_path / "alone", "again") == results(tmp_path / "run", "one")
    assert re.search(r"^again +\d+\.\d +\d+\.\d +\d+\.\d$", out, re.M)
    assert "fog (5 images), night (3 images): again read from files of the run's ids, compared at label res" in out
    given = ("--predictions", f"again={saved}", "--format", "md")
    status, out, err = clouds("evaluate", config(), *given)
    assert status == 2 and "belongs to the stage evaluate-one of this run" in err
    status, out, err = clouds("evaluate", config("beside"), *given)
    assert status == 0 and re.search(r"\| one .*\n\| again .*\n\| gain +\| +\+0\.0 ", out), err
    page = (tmp_path / "beside" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Prediction of again" in page


@pytest.mark.usefixtures("no_model_is_loaded")
def test_several_folders_and_data_sets_make_one_table_and_no_model_is_loaded(
    alone: Config, clouds: Clouds, painted: Path, tmp_path: Path
) -> None:
    constant = Path(shutil.copytree(painted, tmp_path / "constant"))
    for path in constant.rglob("*.png"):
        write_labels(path, np.zeros_like(read_labels(path)))
    given = ("--predictions", f"painted={painted}", "--predictions", f"sky={constant}")
    status, out, err = clouds("evaluate", alone(), *given)
    assert status == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert ["model", "fog", "night", "mean", "gain"] in rows
    assert [row[0] for row in rows if row and row[0] in ("painted", "sky")][:2] == ["painted", "sky"]
    assert all(result["pixels"] for result in results(tmp_path / "alone", "sky").values())
    # the run's own config names them now: the same command without the flag would leave them out, and says so
    assert clouds("plan", tmp_path / "alone")[1].count("up to date") == 2


@pytest.mark.parametrize("form", ["cityscapes", "acdc"])
def test_what_a_server_takes_scores_as_the_segmenter_did(
    config: Config, alone: Config, clouds: Clouds, tmp_path: Path, form: str
) -> None:
    data = only_berlin(tmp_path / "data")
    if form == "acdc":
        data["sets"]["berlin"]["images"] = "frames"
        for number in range(3):
            name, truth = "GOPR0475_frame", f"berlin_000000_{number:06d}_gtFine_labelIds.png"
            path = tmp_path / "data" / "frames" / f"{name}_{number:06d}_leftImg8bit.png"
            path.parent.mkdir(exist_ok=True)
            shutil.copy(
                tmp_path / "data" / "leftImg8bit" / "berlin" / f"berlin_000000_{number:06d}_leftImg8bit.png", path
            )
            gt = tmp_path / "data" / "gtFine"
            shutil.copy(gt / "berlin" / truth, gt / f"{name}_{number:06d}_gtFine_labelIds.png")
    values = {"data": data, "evaluate": {"data": ["berlin"], "keep_predictions": 1, **SCORING}}
    assert clouds("evaluate", config(**values), "--save-predictions", form)[0] == 0
    saved = tmp_path / "run" / "evaluate-one"
    assert clouds("evaluate", alone(**values), "--predictions", f"again={saved}")[0] == 0
    assert results(tmp_path / "alone", "again") == results(tmp_path / "run", "one")
    # as it comes back from a server: no folders
    with zipfile.ZipFile(saved / f"berlin.{form}.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    given = ("--predictions", f"again={tmp_path / 'unpacked'}")
    if form == "acdc":
        # ACDC's names may be an item's own: its train ids are read where that is said
        assert "have no prediction" in clouds("evaluate", alone("flat", **values), *given)[2]
        given = (*given, "--set", "evaluate.predictions.again.form=acdc")
    status, out, err = clouds("evaluate", alone("flat", **values), *given)
    assert status == 0, err
    assert results(tmp_path / "flat", "again") == results(tmp_path / "run", "one")
    assert {"cityscapes": "Cityscapes' original ids", "acdc": "Cityscapes' train ids"}[form] in out


def test_one_file_that_changes_is_scored_anew_and_a_moved_folder_is_not(
    alone: Config, clouds: Clouds, painted: Path, tmp_path: Path
) -> None:
    path = alone(shard_items=2)
    assert clouds("evaluate", path, "--predictions", f"it={painted}")[0] == 0
    before = results(tmp_path / "alone", "it")
    painted = painted.rename(tmp_path / "moved")
    given = ("--predictions", f"it={painted}")
    assert "evaluate-it: up to date" in clouds("evaluate", path, *given)[2]
    # as large as it was: another model's file often is
    file = painted / "fog" / "fog-000003.png"
    write_labels(file, np.zeros((32, 64), np.uint8))
    planned = json.loads(clouds("plan", tmp_path / "alone", "--set", f"evaluate.predictions.it={painted}", "--json")[1])
    assert [(one["pending"], one["shards"]) for one in planned["stages"]] == [(1, 5)]
    assert clouds("evaluate", path, *given)[0] == 0
    after = results(tmp_path / "alone", "it")
    assert after["fog"] != before["fog"] and after["night"] == before["night"]
    ledger = (tmp_path / "alone" / "evaluate-it" / "fog-00001" / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in ledger] == ["fog-000002", "fog-000003", "fog-000003"]


@pytest.mark.parametrize("lost", ["folder", "file"])
def test_scores_outlive_the_files_they_are_of(
    alone: Config, clouds: Clouds, painted: Path, tmp_path: Path, lost: str
) -> None:
    assert clouds("evaluate", alone(), "--predictions", f"it={painted}")[0] == 0
    run = tmp_path / "alone"
    if lost == "folder":
        shutil.rmtree(painted)
    else:
        (painted / "night" / "night-000001.png").unlink()
    why = "is missing" if lost == "folder" else "have no prediction in"
    [told] = json.loads(clouds("status", run, "--json")[1])["stages"]
    assert (told["name"], told["done"], told["state"]) == ("evaluate-it", 8, "complete")
    for command in ("report", "compare"):
        status, out, err = clouds(command, run, "--format", "md")
        assert status == 0 and "| it " in out and "left out" not in out, err
    status, out, err = clouds("plan", run)
    assert status == 0 and "cannot be told: predictions 'it'" in out and why in out, err
    [row] = json.loads(clouds("plan", run, "--json")[1])["stages"]
    assert row["up_to_date"] and why in row["problem"]
    # to score them otherwise, or anew, they have to be there
    other = ("--set", "evaluate.scoring.resamples=60")
    assert "left out: it" in clouds("report", run, *other)[1]
    assert clouds("plan", run, *other)[0] == 1
    for more in ((), ("--force", "evaluate-it"), other):
        status, _, err = clouds("run", run, *more)
        assert status == 1 and why in err and "mend: " in err
    assert (run / "evaluate-it" / "scores.json").exists()


@pytest.mark.usefixtures("no_model_is_loaded")
def test_bad_predictions_are_told_before_any_work_of_a_forced_run(
    config: Config, clouds: Clouds, painted: Path, tmp_path: Path
) -> None:
    missing = f"evaluate.predictions.it={painted.rename(tmp_path / 'moved')}/none"
    status, _, err = clouds("run", config(), "--set", missing, "--force", "evaluate-one")
    assert status == 1 and "predictions 'it'" in err and "is missing" in err and "it=null" in err
    assert not (tmp_path / "run").exists()
    assert clouds("plan", config(), "--set", missing, "--set", "evaluate.predictions.it=null")[0] == 0


def test_names_of_other_tools(alone: Config, clouds: Clouds, painted: Path, tmp_path: Path) -> None:
    """Flat, nested or with an end of their own."""
    assert clouds("evaluate", alone("straight"), "--predictions", f"it={painted}")[0] == 0
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in painted.rglob("*.png"):
        shutil.copy(path, flat / f"{path.stem}_pred.png")
    status, _, err = clouds("evaluate", alone("suffixed"), "--predictions", f"it={flat}")
    assert status == 1 and "5 of 5 items of data set 'fog' have no prediction" in err
    suffix = ("--set", "evaluate.predictions.it.suffix=_pred")
    assert clouds("evaluate", alone("suffixed"), "--predictions", f"it={flat}", *suffix)[0] == 0
    # as `clouds predict` lays them out, with maps of the same names beside the labels
    for path in painted.rglob("*.png"):
        for kind in ("labels", "confidence"):
            target = tmp_path / "predict" / "00000" / kind / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target) if kind == "labels" else write_labels(target, np.full((9, 9), 200, np.uint8))
    assert clouds("evaluate", alone("nested"), "--predictions", f"it={tmp_path / 'predict'}")[0] == 0
    for run in ("suffixed", "nested"):
        assert results(tmp_path / run, "it") == results(tmp_path / "straight", "it")


def test_a_set_without_labels_has_no_scores(alone: Config, clouds: Clouds, tmp_path: Path) -> None:
    values = {"data": only_berlin(tmp_path / "test", labels=False), "evaluate": {"data": ["berlin"]}}
    (tmp_path / "given").mkdir()
    status, _, err = clouds("evaluate", alone(**values), "--predictions", f"it={tmp_path / 'given'}")
    assert status == 2 and "data set 'berlin' has no labels (see 'data.sets.berlin')" in err and "mend: " in err


def test_a_run_that_trains_scores_files_without_training(
    copy_of_finished: Path, clouds: Clouds, tmp_path: Path, painted: Path
) -> None:
    given = ("--predictions", f"painted={painted}")
    # the trainings are not what was asked for, though they would be made anew
    status, out, err = clouds("evaluate", copy_of_finished, "--set", "train.steps=4", *given)
    assert status == 0, err
    assert (copy_of_finished / "evaluate-painted" / "scores.json").exists() and "train:" not in err
    assert re.search(r"^painted ", out, re.M) and "left out: train" in out
    # beside the run's models, after the first of them: what the run made of that one is its own last
    status, out, err = clouds("evaluate", copy_of_finished, "--set", "train.steps=5", *given, "--format", "md")
    assert status == 0, err
    table = out[: out.index("\n\n", out.index("| gain"))]
    names = [line.split("|")[1].strip().split(",")[0] for line in table.splitlines() if line.startswith("|")]
    assert names[2:] == ["train", "painted", "adapt", "selftrain-1", "gain"]
    assert "left out: " not in out
    page = (copy_of_finished / "report" / "index.html").read_text(encoding="utf-8")
    assert "(train) to" in page and "(selftrain-1)" in page and "(painted)" not in page


@pytest.mark.parametrize(
    ("spoil", "status", "told"),
    [
        (lambda folder: shutil.rmtree(folder), 1, ["predictions 'it': {folder} is missing", "correct the path"]),
        (
            lambda folder: [(folder / "night" / f"night-00000{n}.png").unlink() for n in (0, 2)],
            1,
            [
                "2 of 3 items of data set 'night' have no prediction in {folder}: night-000000, night-000002",
                "mend: add",
            ],
        ),
        (
            lambda folder: write_labels(folder / "fog" / "fog-000001.png", np.zeros((16, 64), np.uint8)),
            1,
            ["{folder}/fog/fog-000001.png is 64x16 pixels (width x height), its labels 64x32", "mend: save"],
        ),
        (
            lambda folder: write_labels(folder / "fog" / "fog-000001.png", np.full((32, 64), 11, np.uint8)),
            1,
            [
                "{folder}/fog/fog-000001.png holds ids that are no class of the run: 11 (2048 pixels)",
                "0 to 10",
                "`form`",
            ],
        ),
        (
            lambda folder: Image.new("RGB", (64, 32)).save(folder / "fog" / "fog-000001.png"),
            1,
            ["{folder}/fog/fog-000001.png: holds colours (mode RGB)", "mend: put a single-channel PNG"],
        ),
        (
            lambda folder: (folder / "fog" / "fog-000001.png").write_bytes(b"not a picture"),
            1,
            ["{folder}/fog/fog-000001.png is in no known image format", "mend: put a single-channel PNG"],
        ),
        (
            lambda folder: (
                [
                    (folder / "fog" / sub).mkdir()
                    or shutil.copy(folder / "fog" / "fog-000000.png", folder / "fog" / sub)
                    for sub in ("a", "b")
                ]
                and (folder / "fog" / "fog-000000.png").unlink()
            ),
            1,
            ["/fog/a/fog-000000.png and {folder}/fog/b/fog-000000.png are both named after 'fog-000000'"],
        ),
    ],
    ids=["no folder", "no file", "size", "ids", "colours", "damaged", "twice"],
)
@pytest.mark.usefixtures("no_model_is_loaded")
def test_bad_predictions_are_told_and_never_scored_in_part(
    alone: Config,
    clouds: Clouds,
    painted: Path,
    tmp_path: Path,
    spoil: Callable[[Path], Any],
    status: int,
    told: list[str],
) -> None:
    spoil(painted)
    found, out, err = clouds("evaluate", alone(), "--predictions", f"it={painted}")
    assert (found, out) == (status, "") and "Traceback" not in err
    for text in told:
        assert text.format(folder=painted) in err
    assert not (tmp_path / "alone" / "evaluate-it" / "scores.json").exists()


def test_after_the_mend_the_same_command_goes_on(alone: Config, clouds: Clouds, painted: Path, tmp_path: Path) -> None:
    given = ("--predictions", f"it={painted}")
    assert clouds("evaluate", alone("straight"), *given)[0] == 0
    bad = painted / "night" / "night-000001.png"
    good = bad.read_bytes()
    bad.write_bytes(b"")
    assert clouds("evaluate", alone(), *given)[0] == 1
    bad.write_bytes(good)
    kept = tmp_path / "alone" / "evaluate-it" / "fog-00000" / "ledger.jsonl"
    before = kept.stat().st_mtime_ns
    assert clouds("evaluate", alone(), *given)[0] == 0
    assert kept.stat().st_mtime_ns == before
    assert results(tmp_path / "alone", "it") == results(tmp_path / "straight", "it")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["it"], "--predictions 'it' is not of the form NAME=FOLDER"),
        (["=x"], "is not of the form NAME=FOLDER"),
        (["it="], "is not of the form NAME=FOLDER"),
        (["it=x", "it=y"], "'it' is x already"),
        (["a/b=x"], "evaluate.predictions.a/b"),
        (["one=PAINTED"], "'evaluate.predictions.one': a model of this run has that name"),
    ],
)
def test_wrong_use(config: Config, clouds: Clouds, painted: Path, tmp_path: Path, given: list[str], told: str) -> None:
    flags = [part for text in given for part in ("--predictions", text.replace("PAINTED", str(painted)))]
    status, _, err = clouds("evaluate", config(), *flags)
    assert status == 2 and told in err
    assert not (tmp_path / "run").exists()
