"""Predictions as files: ids and names of the servers, and what is refused."""

import numpy as np
import pytest

from clouds.data.cityscapes import CATEGORIES, categories, original_id, train_id
from clouds.data.images import read_labels
from clouds.data.labels import LabelMap
from clouds.data.submission import PredictionFiles
from clouds.errors import UsageError

IGNORE = 255


@pytest.mark.parametrize(
    ("form", "item", "file_name"),
    [
        ("labels", "berlin__berlin_000000_000019_leftImg8bit", "berlin__berlin_000000_000019_leftImg8bit.png"),
        ("cityscapes", "berlin__berlin_000000_000019_leftImg8bit", "berlin_000000_000019_labelIds.png"),
        ("cityscapes", "bad-honnef_000000_000019", "bad-honnef_000000_000019_labelIds.png"),
        ("acdc", "fog__test__GOPR0475__GOPR0475_frame_000247_rgb_anon", "GOPR0475_frame_000247_rgb_anon.png"),
        ("acdc", "GP010176_frame_000643", "GP010176_frame_000643_rgb_anon.png"),
    ],
)
def test_files_are_named_as_servers_look_for_them(form, item, file_name):
    assert PredictionFiles.of(form, LabelMap.of("cityscapes19")).name(item) == file_name


@pytest.mark.parametrize(
    ("form", "ids"), [("labels", [0, 4, 8, 255]), ("cityscapes", [23, 21, 26, 0]), ("acdc", [10, 8, 13, 255])]
)
def test_ids_are_those_of_the_servers_whatever_the_runs_order(form, ids, tmp_path):
    prediction_HW = np.array([[0, 4, 8, IGNORE]], np.uint8)
    label_map = LabelMap.of("street11" if form != "labels" else "camvid11")
    names = [label_map.names[id_] for id_ in (0, 8)]
    assert names == ["sky", "car"]
    if form != "labels":
        prediction_HW[0, 1] = label_map.names.index("vegetation")
    item = {"labels": "any", "cityscapes": "berlin_000000_000019", "acdc": "GOPR0475_frame_000247"}[form]
    written = PredictionFiles.of(form, label_map).write(tmp_path, item, prediction_HW)
    assert written.startswith(f"{form}/")
    assert read_labels(tmp_path / written).tolist() == [ids]


def test_original_and_train_ids():
    assert (original_id("road"), original_id("bicycle"), train_id("road"), train_id("bicycle")) == (7, 33, 0, 18)


def test_a_class_no_server_knows_and_names_that_tell_nothing_are_refused():
    with pytest.raises(UsageError, match="class 'lane marking' of the run is none of Cityscapes'"):
        PredictionFiles.of("cityscapes", LabelMap.of(["road", "lane marking"]))
    files = PredictionFiles.of("cityscapes", LabelMap.of("cityscapes19"))
    files.check("val", ["berlin__berlin_000000_000019", "berlin__berlin_000001_000019"])
    with pytest.raises(UsageError, match="data set 'fog' in the form 'cityscapes': the id 'fog-000000' holds no name"):
        files.check("fog", ["fog-000000"])
    with pytest.raises(UsageError, match="would be one file, berlin_000000_000019_labelIds.png"):
        files.check("val", ["a__berlin_000000_000019_x", "b__berlin_000000_000019_y"])


def test_categories_of_a_whole_and_of_a_part():
    whole = categories(LabelMap.of("cityscapes19"))
    assert whole is not None and whole.keys() == CATEGORIES.keys()
    assert sorted(id_ for ids in whole.values() for id_ in ids) == list(range(19))
    assert whole["human"] == (11, 12)
    part = categories(LabelMap.of(["sky", "pavement", "road"]))
    assert part == {"flat": (1, 2), "sky": (0,)}


def test_a_class_is_cityscapes_by_a_synonym_unless_it_stands_for_several():
    assert categories(LabelMap.of([{"name": "Fahrbahn", "synonyms": ["road"]}])) == {"flat": (0,)}
    assert categories(LabelMap.of([{"name": "vehicle", "synonyms": ["car", "truck"]}])) is None
    assert categories(LabelMap.of(["road", "lane marking"])) is None
