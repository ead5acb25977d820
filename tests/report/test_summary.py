"""The sentences of a report, and the tables they speak of."""

import pytest

from clouds.data.labels import LabelMap
from clouds.engine.status import StageStatus
from clouds.report.results import dataset_scores, model_rows
from clouds.report.summary import what_came_of_it, what_is_missing, what_was_done
from clouds.report.tables import ModelScores, models_table

PROTOCOL = {"images": 3, "failed": 1, "short_edge": None, "windows": "whole image", "compared_at": "label resolution"}


def model(name: str, **scores: float | None) -> ModelScores:
    iou = {"sky": 0.5, "car": None}
    return ModelScores(
        name, {key: {"mean_iou": value, "iou": iou, "protocol": PROTOCOL} for key, value in scores.items()}
    )


def status(name: str, size: int | None, done: int, *, complete: bool) -> StageStatus:
    return StageStatus(name, "image", size, done, 0, 1.0, complete)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.3, 0.425, "from 30.0 % (train) to 42.5 % (selftrain-1): a gain of 12.5 points."),
        (0.3, 0.25, "a loss of 5.0 points, so this run made the model worse."),
        (0.3, 0.3001, "no change."),
        (0.3, 0.2999, "no change."),
    ],
)
def test_gain_and_loss_are_called_by_their_names(before, after, said):
    assert what_came_of_it([model("train", fog=before), model("selftrain-1", fog=after)]).endswith(said)


def test_means_are_over_the_data_sets_both_models_were_scored_on():
    models = [model("train", fog=0.2, night=0.4), model("selftrain-1", fog=0.3, night=None, rain=0.9)]
    assert what_came_of_it(models).startswith("On the data set fog, the mean IoU went from 20.0 %")
    assert "cannot be compared" in what_came_of_it([model("train", fog=0.1), model("selftrain-1", rain=0.1)])


def test_predictions_in_files_are_no_work_of_the_run():
    theirs = model("theirs", fog=0.9)
    theirs.results["fog"]["protocol"] = {"images": 3, "failed": 0, "predictions": "theirs", "form": "labels"}  # type: ignore[index]
    said = what_came_of_it([model("train", fog=0.2), theirs])
    assert said.startswith("On the data set fog, train reaches a mean IoU of 20.0 %") and "theirs" not in said
    assert what_came_of_it([theirs, theirs]) == "Predictions in files were scored, and no model."


def test_a_better_model_in_between_is_named():
    models = [model("train", fog=0.2), model("selftrain-1", fog=0.5), model("selftrain-2", fog=0.4)]
    assert what_came_of_it(models).endswith("selftrain-1 did better than that: 50.0 %.")
    assert "did better" not in what_came_of_it([*models[:2], model("selftrain-2", fog=0.5)])


def test_one_model_and_none():
    assert "train reaches a mean IoU of 20.0 %" in what_came_of_it([model("train", fog=0.2)])
    assert what_came_of_it([]) == "No model has been scored yet."


def test_only_what_is_complete_is_said_to_be_done():
    begun = [("train", status("train", 9, 9, complete=True)), ("generate", status("generate", 9, 4, complete=False))]
    assert what_was_done(begun) == "A segmenter learned from labelled images."
    assert what_was_done([]) == "No stage of this run is complete yet."
    assert what_is_missing([one for _, one in begun]) == ["generate: 4 of 9 images done"]
    assert what_is_missing([status("label-1", None, 0, complete=False)]) == ["label-1: not begun"]


def test_the_best_of_a_column_is_marked_where_there_is_a_choice():
    header, rows = model_rows(
        [model("train", fog=0.2, night=0.3), model("selftrain-1", fog=0.4, night=0.3)], {"train": "n"}
    )
    assert header == ["model", "fog", "night", "mean", "gain"]
    assert [[cell.best for cell in row.cells] for row in rows] == [[False] * 4, [True, False, True, False], [False] * 4]
    assert [row.gain for row in rows] == [False, False, True]
    assert rows[0].note == "n"
    assert [cell.text for cell in rows[-1].cells] == ["+20.0", "+0.0", "+10.0", ""]


def test_each_model_has_its_mean_gain_over_the_first_and_is_called_what_it_is():
    models = [
        model("train", fog=0.2, night=0.4),
        model("selftrain-1", fog=0.3),
        model("selftrain-2", fog=0.1, night=0.3),
    ]
    header, rows = models_table(models, {"train": "source only"})
    assert header == ["model", "fog", "night", "mean", "gain"]
    assert rows == [
        ["train, source only", "20.0", "40.0", "30.0", "-"],
        ["selftrain-1", "30.0", "-", "30.0", "+10.0"],
        ["selftrain-2", "10.0", "30.0", "20.0", "-10.0"],
        ["gain", "-10.0", "-10.0", "-10.0", ""],
    ]
    assert not any(row.cells[-1].best for row in model_rows(models, {})[1])


def test_one_model_has_no_gain_and_one_data_set_no_mean():
    assert models_table([model("train", fog=0.2)]) == (["model", "fog"], [["train", "20.0"]])
    header, rows = models_table([model("train", fog=0.2), model("selftrain-1", fog=None)])
    assert header == ["model", "fog", "gain"]
    assert rows[1:] == [["selftrain-1", "-", "-"], ["gain", "-", ""]]


def test_classes_are_listed_in_the_order_of_the_label_map_and_without_ground_truth_dashed():
    first, last = model("train", fog=0.2), model("selftrain-1", fog=0.4)
    (table,) = dataset_scores([first, last], LabelMap.of(["car", "sky"]))
    assert [row.name for row in table.rows] == ["car", "sky"]
    assert table.rows[0].texts == ("-", "-", "-")
    assert table.rows[1].texts == ("50.0", "50.0", "+0.0")
    assert table.protocol == "3 images, 1 failed, as stored, whole image, compared at label resolution"
    assert [row.color for row in dataset_scores([last], None)[0].rows] == ["", ""]
