"""Predictions beside the truth: which images, what they say, and what becomes of those that cannot be shown."""

import re

import numpy as np
import pytest
from made_runs import finished_run, log_training, open_run, predict, score, stage_of

from clouds.data.images import write_labels
from clouds.data.labels import LabelMap
from clouds.errors import InputError
from clouds.report.comparison import compare_predictions, read_prediction
from clouds.report.html import write_html


@pytest.fixture
def compared(tmp_path):
    assembly = finished_run(tmp_path, ["a street"] * 3)
    for model, right in (("train", 0.5), ("selftrain-1", 0.6), ("selftrain-2", 0.8)):
        predict(assembly, model, right)
    return assembly


def label_map(assembly):
    return assembly.config.data.label_map()


def test_each_data_set_shows_its_first_images_with_truth_before_and_after(compared):
    found = compare_predictions(compared.stages, label_map(compared))
    assert list(found) == ["fog", "night"]
    assert [image.id for image in found["night"]] == ["night-000000", "night-000001"]
    for image in (image for images in found.values() for image in images):
        captions = [picture.caption for picture in image.pictures]
        assert captions[:2] == ["Image", "Truth"]
        before, after = (re.fullmatch(r"(.*), right on (\d+)%", caption) for caption in captions[2:])
        assert (before[1], after[1]) == ("train", "selftrain-2")
        assert abs(int(before[2]) - 50) <= 3 and abs(int(after[2]) - 80) <= 3
        assert all(re.search(r"\w+ \d+%", picture.alt) for picture in image.pictures[1:])


def test_the_page_has_them_under_their_data_sets(compared):
    names = [stage.name for stage in compared.stages]
    page = write_html(compared.config, compared.stages, names).read_text(encoding="utf-8")
    section = page[page.index('id="predictions"') : page.index('id="training"')]
    assert section.index(">fog</h3>") < section.index(">night</h3>")
    assert section.count("<img") == 2 * 2 * 4
    assert '<a href="#predictions">' in page


def test_one_model_is_shown_alone(tmp_path):
    assembly = open_run(tmp_path)
    log_training(stage_of(assembly, "train"), [1.0], complete=True)
    score(assembly, "train", {"fog": 0.5, "night": 0.4})
    predict(assembly, "train", 0.5, kept=1)
    found = compare_predictions(assembly.stages, label_map(assembly))
    assert [len(images[0].pictures) for images in found.values()] == [3, 3]


def test_without_predictions_scores_or_classes_there_is_nothing(tmp_path, compared):
    assert compare_predictions(compared.stages, None) == {}
    assert compare_predictions(compared.stages[:1], label_map(compared)) == {}
    bare = finished_run(tmp_path / "bare", ["a street"])
    assert compare_predictions(bare.stages, label_map(bare)) == {}
    assert 'id="predictions"' not in write_html(bare.config, bare.stages, []).read_text(encoding="utf-8")


def test_what_cannot_be_shown_says_so(compared):
    folder = stage_of(compared, "evaluate-selftrain-2").artifact.shard_folder("fog-00000")
    (folder / "fog-000000.png").write_bytes(b"no png")
    (folder / "fog-000001.png").write_bytes((folder.with_name("night-00000") / "night-000000.png").read_bytes())
    first, second = compare_predictions(compared.stages, label_map(compared))["fog"]
    assert "no known image format" in first.problem and first.pictures == ()
    assert "fog-000001.png is 100x60 pixels (width x height), its image 128x64" in second.problem


def test_a_prediction_with_ids_of_no_class_is_named_with_them(tmp_path):
    ids_HW = np.array([[0, 10, 255, 11, 200]], np.uint8)
    write_labels(tmp_path / "a.png", ids_HW)
    classes = LabelMap.of("street11")
    with pytest.raises(InputError, match=r"a\.png holds ids that are no class: \[11, 200\]; classes are 0 to 10"):
        read_prediction(tmp_path / "a.png", (1, 5), classes)
    write_labels(tmp_path / "a.png", ids_HW[:, :3])
    assert read_prediction(tmp_path / "a.png", (1, 3), classes).tolist() == [[0, 10, 255]]


def test_a_shard_that_is_just_exchanged_is_passed_over(compared):
    stage_of(compared, "evaluate-train").artifact.shard_folder("fog-00000").joinpath("metadata.jsonl").unlink()
    assert len(compare_predictions(compared.stages, label_map(compared))["fog"][0].pictures) == 3
