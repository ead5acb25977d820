"""Tables as commands print them: every format, every width, and several runs as one."""

import json

import pytest

from clouds.engine.settings import RunConfig
from clouds.errors import UsageError
from clouds.report.differing import differing_values
from clouds.report.left_out import LeftOut
from clouds.report.printed import folded, scores_text
from clouds.report.runs import runs_text
from clouds.report.tables import ModelScores

PROTOCOL = {"images": 3, "failed": 0, "short_edge": None, "windows": "whole image", "compared_at": "label resolution"}
HOW = {"level": 0.95, "over": "images", "resamples": 1000, "seed": 0}


def model(name: str, interval: bool = True, **scores: float | None) -> ModelScores:
    results = {}
    for dataset, value in scores.items():
        results[dataset] = {"mean_iou": value, "iou": {"sky": value}, "confusion": [[1]], "protocol": PROTOCOL}
        if interval and value is not None:
            results[dataset]["interval"] = {"mean_iou": [value - 0.011, value + 0.012], **HOW}
    return ModelScores(name, results)


class SmallRun(RunConfig):
    steps: int = 5
    words: tuple[str, ...] = ("x",)


MODELS = [model("train", fog=0.2, night=0.4), model("selftrain-1", fog=0.3, night=None)]


def test_markdown_tells_intervals_and_protocols():
    lines = scores_text(MODELS, {"train": "source only"}, "md", width=20).splitlines()
    assert lines[0] == "mIoU in percent, with the 95% interval of 1000 resamples of the images"
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert cells[0] == ["model", "fog", "night", "mean", "gain"]
    assert cells[2:] == [
        ["train, source only", "20.0 [18.9, 21.2]", "40.0 [38.9, 41.2]", "30.0", "-"],
        ["selftrain-1", "30.0 [28.9, 31.2]", "-", "30.0", "+10.0"],
        ["gain", "+10.0", "-", "+10.0", ""],
    ]
    # all were scored alike, so the protocol stands there once
    how = "as stored, whole image, compared at label resolution"
    assert lines[-2:] == ["", f"- fog (3 images), night (3 images): {how}"]


def test_json_tells_all_but_counts_of_pixels():
    content = json.loads(scores_text(MODELS, {"train": "source only"}, "json", None))
    first, second = content["models"]
    assert (first["model"], first["note"], second["note"]) == ("train", "source only", "")
    assert first["mean_iou"] == pytest.approx(0.3)
    fog = first["results"]["fog"]
    assert fog["interval"]["mean_iou"] == pytest.approx([0.189, 0.212])
    assert fog["protocol"] == PROTOCOL and "confusion" not in fog
    assert json.loads(scores_text([], {}, "json", None)) == {"models": [], "left_out": []}


def test_a_terminal_gets_no_intervals():
    text = scores_text(MODELS, {}, "terminal", None)
    assert "[" not in text and text.startswith("mIoU in percent\n\nmodel ")


def test_scores_of_before_there_were_intervals_are_shown_as_well():
    assert "[" not in scores_text([model("train", interval=False, fog=0.2)], {}, "md", None)


HEADER = ["model", *(f"set-{number}" for number in range(7)), "mean"]
ROWS = [["train, source only", *(f"{number}.0" for number in range(8))], ["gain", *("+1.0" for _ in range(8))]]


@pytest.mark.parametrize("width", [12, 16, 20, 30, 50, 79, 80, 200])
def test_a_table_fits_the_terminal_and_loses_no_column(width):
    text = folded(HEADER, ROWS, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= max(width, 8 + 2 + 5)
    heads = [line.split()[1:] for line in lines if line.startswith("model")]
    assert [name for head in heads for name in head] == HEADER[1:]
    gains = [cell for line in lines if line.startswith("gain") for cell in line.split()[1:]]
    assert gains == ROWS[1][1:]
    assert all(("train, source only" in line) or width < 29 for line in lines if line.startswith("train"))


def test_a_table_that_fits_is_one_table():
    assert folded(HEADER, ROWS, 200) == folded(HEADER, ROWS, None)
    assert folded(HEADER, ROWS, None).count("model") == 1


RUNS = {
    "a": [model("train", fog=0.2, night=0.4)],
    "b": [model("train", fog=0.3, night=0.5), model("adapt", fog=0.5, night=None)],
}


def test_several_runs_are_a_mean_and_a_spread():
    text = runs_text(RUNS, "terminal", None)
    assert text.splitlines()[0] == "mIoU in percent, mean ± standard deviation over 2 runs"
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()[2:]}
    assert [cell.strip() for cell in rows["train"].split("  ")] == ["25.0 ± 7.1", "45.0 ± 7.1", "35.0 ± 7.1"]
    # what one run alone scored has no spread; a mean over fewer data sets would be another number
    assert rows["adapt"].split() == ["50.0", "(1)", "-", "-"]
    assert "| train | 25.0 ± 7.1 |" in runs_text(RUNS, "md", None)


def test_the_spread_of_means_is_that_of_each_runs_own_mean():
    runs = {"a": [model("train", fog=0.2, night=0.4)], "b": [model("train", fog=0.4, night=0.2)]}
    found = json.loads(runs_text(runs, "json", None))["models"]["train"]
    assert found["fog"]["deviation"] == pytest.approx(0.2 / 2**0.5)
    assert found["mean"]["mean"] == pytest.approx(0.3)
    assert found["mean"]["deviation"] == pytest.approx(0, abs=1e-12)


def test_one_run_has_no_spread_and_one_data_set_no_mean():
    lines = runs_text({"a": [model("train", fog=0.2)]}, "md", None).splitlines()
    assert lines[0] == "mIoU in percent, 1 run"
    assert lines[2:] == [
        "| model |  fog |",
        "| ----- | ---: |",
        "| train | 20.0 |",
    ]


def test_runs_of_other_configs_are_no_seeds_and_it_is_said():
    first = SmallRun(name="a", seed=0, run_dir="/a")
    seeds = {"a": first, "b": SmallRun(name="b", seed=1, run_dir="/b", max_failures=1)}
    assert differing_values(seeds) == {}
    other = SmallRun(name="b", steps=9, words=("x", "y"), shard_items=3, runtime={"mixed_precision": "bf16"})
    differing = differing_values({"a": first, "b": other})
    assert differing["steps"] == {"a": 5, "b": 9} and differing["words.1"] == {"a": None, "b": "y"}
    text = runs_text(RUNS, "terminal", None, differing=differing)
    assert "differ: shard_items (100, 3), runtime.mixed_precision (no, bf16), steps (5, 9) and 1 more;" in text
    assert text.endswith("the deviation is not that of seeds\n")
    assert "- the configs of these runs differ" in runs_text(RUNS, "md", None, differing=differing)
    assert json.loads(runs_text(RUNS, "json", None, differing=differing))["differing"]["steps"] == {"a": 5, "b": 9}
    assert json.loads(runs_text(RUNS, "json", None))["differing"] == {}


@pytest.mark.parametrize(("key", "value", "told"), [("short_edge", 512, "short_edge"), ("images", 4, "images")])
def test_runs_scored_by_other_protocols_are_no_sample(key, value, told):
    other = model("train", fog=0.2)
    other.results["fog"]["protocol"] = {**PROTOCOL, key: value}  # type: ignore[index]
    with pytest.raises(UsageError, match=rf"'fog' was scored differently in a \(train\) and b \(train\): {told}"):
        runs_text({"a": [model("train", fog=0.2)], "b": [other]}, "md", None)


def test_of_predictions_in_files_only_images_and_classes_must_agree():
    files = model("theirs", fog=0.4)
    how = {"images": 3, "failed": 0, "predictions": "theirs", "form": "labels", "compared_at": "label resolution"}
    files.results["fog"]["protocol"] = how  # type: ignore[index]
    runs = {"a": [files, model("train", fog=0.2)], "b": [model("train", fog=0.3), files]}
    found = json.loads(runs_text(runs, "json", None))
    assert found["models"]["theirs"]["fog"]["values"] == {"a": 0.4, "b": 0.4}
    # how the models were shown the images, whichever comes last
    assert found["protocols"]["fog"] == PROTOCOL
    how["images"] = 2
    with pytest.raises(UsageError, match=r"differently in a \(theirs\) and a \(train\): images"):
        runs_text(runs, "md", None)


def test_an_image_on_which_one_model_failed_keeps_no_other_from_being_compared():
    files, train = model("theirs", fog=0.4), model("train", fog=0.2)
    how = {"images": 3, "failed": 0, "predictions": "theirs", "form": "labels", "compared_at": "label resolution"}
    files.results["fog"]["protocol"] = how  # type: ignore[index]
    train.results["fog"]["protocol"] = {**PROTOCOL, "images": 2, "failed": 1}  # type: ignore[index]
    run = [train, files, model("adapt", fog=0.3)]
    found = json.loads(runs_text({"a": run}, "json", None))["models"]
    assert [found[name]["fog"]["mean"] for name in ("train", "theirs", "adapt")] == [0.2, 0.4, 0.3]
    # the mean over runs of this very model would be of other images in each
    with pytest.raises(UsageError, match=r"in a \(train\) and b \(train\): images") as raised:
        runs_text({"a": run, "b": [model("train", fog=0.2)]}, "md", None)
    assert "clouds retry" in raised.value.mend


def test_the_foot_of_a_table_tells_what_was_left_out():
    stale = [LeftOut("adapt", "evaluate-adapt", ("config short_edge: null -> 512", "waits for adapt"))]
    line = "left out: adapt, whose scores in evaluate-adapt are not current (config short_edge: null -> 512; waits for"
    assert scores_text(MODELS, {}, "md", None, stale).splitlines()[-1].startswith(f"- {line}")
    assert scores_text([], {}, "terminal", None, stale).startswith(line)
    text = runs_text(RUNS, "md", None, {"a": stale, "b": []})
    assert text.splitlines()[-1].startswith(f"- a: {line}")
    assert json.loads(runs_text(RUNS, "json", None, {"a": stale, "b": []}))["left_out"].keys() == {"a"}


def test_runs_of_other_classes_are_no_sample():
    other = model("train", fog=0.2)
    other.results["fog"]["iou"] = {"sky": 0.1, "car": 0.3}  # type: ignore[index]
    with pytest.raises(UsageError, match=r"differently in a \(train\) and b \(train\): classes"):
        runs_text({"a": [model("train", fog=0.2)], "b": [other]}, "md", None)
