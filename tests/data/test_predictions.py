"""Predictions found by name and read as the run's ids."""

from pathlib import Path

import numpy as np
import pytest

from clouds.data.cityscapes import original_id
from clouds.data.images import write_labels
from clouds.data.labels import LabelMap
from clouds.data.predictions import FoundPredictions, PredictionsConfig, find_predictions
from clouds.data.submission import FORMS, PredictionFiles
from clouds.errors import CloudsError, UsageError

STREET = LabelMap.of("street11")
CITYSCAPES = LabelMap.of("cityscapes19")


def write(path: Path, ids: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(path, np.array([ids], np.uint8))


def find(folder: Path, ids: list[str], label_map: LabelMap = STREET, **config: str) -> FoundPredictions:
    return find_predictions("it", PredictionsConfig(folder=folder, **config), "set", ids, label_map)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("label_map", [STREET, CITYSCAPES], ids=["street11", "cityscapes19"])
def test_what_is_written_is_read_back(tmp_path, form, label_map):
    item = {"acdc": "fog__GOPR0475_frame_000247"}.get(form, "berlin__berlin_000000_000019")
    ids = np.array([[*range(label_map.num_classes), 255]], np.uint8)
    shard = tmp_path / "set-00000"
    shard.mkdir()
    PredictionFiles.of(form, label_map).write(shard, item, ids)
    found = find(tmp_path, [item], label_map)
    assert found.form == form
    assert found.read(0).tolist() == ids.tolist()


def test_void_labels_are_nothing_and_classes_the_run_has_not_are_refused(tmp_path):
    write(tmp_path / "berlin_000000_000001_labelIds.png", [original_id("road"), 0, 4, 9, 255])
    write(tmp_path / "berlin_000000_000002_labelIds.png", [original_id("road"), original_id("train")])
    found = find(tmp_path, ["berlin_000000_000001", "berlin_000000_000002"])
    assert found.read(0).tolist() == [[STREET.find("road"), 255, 255, 255, 255]]
    with pytest.raises(
        CloudsError, match=r"000002_labelIds.png holds ids that are no class of the run: 31 \(1 pixels\)"
    ):
        found.read(1)


@pytest.mark.parametrize(
    "file",
    ["a__x.png", "a/x.png", "x.png", "set/a/x.png", "set-00000/labels/a__x.png", "labels/a__x.png", "deep/er/a/x.png"],
)
def test_places_of_a_prediction(tmp_path, file):
    write(tmp_path / file, [3])
    write(tmp_path / ".work" / "set-00001" / "labels" / "a__x.png", [4])
    assert find(tmp_path, ["a__x"]).read(0).tolist() == [[3]]


def test_a_file_of_another_folder_is_no_prediction(tmp_path):
    """`a/x` and `b/x` are two images: the one's prediction is never the other's."""
    write(tmp_path / "a" / "x.png", [3])
    with pytest.raises(CloudsError, match=r"1 of 2 items of data set 'set' have no prediction in .*: b__x"):
        find(tmp_path, ["a__x", "b__x"])
    with pytest.raises(CloudsError) as caught:
        find(tmp_path, ["a__x", "b__x"])
    assert "the others" not in caught.value.mend, "there are none"
    write(tmp_path / "x.png", [4])
    with pytest.raises(CloudsError, match="have no prediction|is named after"):
        find(tmp_path, ["b__x", "c__x"])
    write(tmp_path / "b" / "x.png", [5])
    found = find(tmp_path, ["a__x", "b__x"])
    assert [found.read(index).tolist() for index in (0, 1)] == [[[3]], [[5]]]


def test_of_several_data_sets_each_has_its_own(tmp_path):
    for name, id_ in (("set", 1), ("set-b", 2)):
        write(tmp_path / f"{name}-00000" / "labels" / "x.png", [id_])
    assert find(tmp_path, ["x"]).read(0).tolist() == [[1]]


def test_many_that_are_lacking_are_counted_and_the_first_named(tmp_path):
    tmp_path.joinpath("notes.txt").touch()
    with pytest.raises(CloudsError) as caught:
        find(tmp_path, [f"{number:02d}" for number in range(12)])
    assert "12 of 12 items" in caught.value.message and caught.value.message.endswith("00, 01, 02, 03, 04, ...")
    assert "add 00.png and the others" in caught.value.mend
    assert "found there: notes.txt" in caught.value.mend


def test_names_that_may_hold_train_ids_are_asked_about(tmp_path):
    item = "GOPR0475_frame_000247_rgb_anon"
    write(tmp_path / f"{item}.png", [0])
    with pytest.raises(UsageError, match="may hold the run's ids, or train ids"):
        find(tmp_path, [item])
    assert find(tmp_path, [item], form="labels").read(0).tolist() == [[0]]
    assert find(tmp_path, [item], form="acdc").read(0).tolist() == [[STREET.find("road")]]
    # where both are the same there is nothing to ask
    assert find(tmp_path, [item], CITYSCAPES).read(0).tolist() == [[0]]


def test_a_form_that_the_runs_classes_or_items_have_not(tmp_path):
    write(tmp_path / "berlin_000000_000001_labelIds.png", [7])
    with pytest.raises(UsageError, match="class 'lane' of the run is none of Cityscapes'"):
        find(tmp_path, ["berlin_000000_000001"], LabelMap.of(["road", "lane"]))
    with pytest.raises(CloudsError, match="1 of 1 items"):
        find(tmp_path, ["x"], form="cityscapes")


def test_a_stamp_changes_with_size_and_with_time(tmp_path):
    write(tmp_path / "x.png", [1])
    found = find(tmp_path, ["x"])
    before = found.stamp(0)
    assert find(tmp_path, ["x"]).stamp(0) == before
    write(tmp_path / "x.png", [2])
    assert found.stamp(0) != before
    (tmp_path / "x.png").unlink()
    assert found.stamp(0) == "missing"
