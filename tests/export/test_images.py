"""Which folders hold labelled images, and what is known of them."""

import json

import pytest
from made_images import CLASSES, describe, made_repaint, made_run, opened

from clouds.engine.artifact import Artifact
from clouds.errors import CloudsError, UsageError
from clouds.export.images import open_images


def test_a_run_means_what_it_labelled_last(tmp_path):
    run = made_run(tmp_path / "run", 3)
    made_repaint(run)
    assert open_images(run).artifact.name == "refine-1"
    assert [open_images(run / name).total for name in ("label-1", "refine-1", "repaint")] == [3, 3, 4]


def test_facts_come_from_image_labels_and_refinement(run):
    refined, labelled = (next(opened(run, stage).samples()) for stage in ("refine-1", "label-1"))
    assert refined.facts == {
        "prompt": "a “street” 0",
        "seed": 2**62,
        "model": "owner/diffuser",
        "revision": "abc123",
        "steps": 4,
        "guidance": 7.0,
        "source_image": "generate/00000/000000.png",
        "labelled_by": "train/model",
        "mean_confidence": 0.5,
        "refined_by": "local, sha256 feed",
    }
    assert labelled.facts == {key: value for key, value in refined.facts.items() if key != "refined_by"}
    assert refined.place.mask != labelled.place.mask


def test_facts_that_are_gone_are_left_out(tmp_path):
    run = made_run(tmp_path / "run", 1)
    (run / "generate" / "00000" / "metadata.jsonl").unlink()
    facts = next(opened(run).samples()).facts
    assert "prompt" not in facts and facts["labelled_by"] == "train/model"


def test_classes_are_those_on_record_in_the_configs_colours(tmp_path):
    run = made_run(tmp_path / "run", 1)
    text = (run / "config.yaml").read_text()
    assert "- 128\n" in text
    (run / "config.yaml").write_text(text.replace("- 128\n", "- 129\n"))
    images = opened(run)
    assert images.label_map.names == CLASSES and images.label_map.classes[0].color == (129, 64, 129)
    (run / "config.yaml").unlink()
    assert opened(run).label_map.names == CLASSES


def test_classes_are_the_configs_where_none_are_on_record(tmp_path):
    run = made_run(tmp_path / "run", 1)
    describe(run / "label-1", 1)
    assert opened(run).label_map.names == CLASSES
    (run / "config.yaml").unlink()
    with pytest.raises(UsageError, match="its classes are on record neither"):
        opened(run)


@pytest.mark.parametrize("name", ["generate", "train"])
def test_a_stage_without_labels(tmp_path, name):
    run = made_run(tmp_path / "run", 1)
    describe(run / "train", 1)
    with pytest.raises(UsageError, match=r"(?s)holds no labelled images.*in this run these do: label-1, refine-1"):
        open_images(run / name)


def test_an_artifact_that_is_not_finished_says_how_far_it_is(tmp_path):
    run = made_run(tmp_path / "run", 7)
    describe(run / "refine-1", 9, complete=False, upstream={"label-1": ""})
    with pytest.raises(CloudsError, match=r"(?s)refine-1 is not finished: 7 of 9 images.*`clouds run"):
        open_images(run)


def test_a_shard_at_work_is_not_finished_either(tmp_path):
    run = made_run(tmp_path / "run", 3)
    artifact = Artifact(run / "refine-1")
    [shard] = artifact.shard_ids()
    (artifact.work_folder / shard).mkdir(parents=True)
    with pytest.raises(CloudsError, match="is not finished"):
        open_images(run)


def test_folders_that_are_none_of_a_runs(tmp_path):
    run = made_run(tmp_path / "run", 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="is no artifact of a run"):
        open_images(tmp_path / "empty")
    with pytest.raises(UsageError, match=r"(?s)is a part of an artifact.*give all of it"):
        open_images(run / "refine-1" / "00000")
    with pytest.raises(UsageError, match=r"(?s)refine-2 does not exist.*did you mean 'refine-1'"):
        open_images(run / "refine-2")


def test_a_run_without_labels_yet(tmp_path):
    describe(tmp_path / "run" / "train", 1)
    with pytest.raises(UsageError, match="has no labelled images yet, only: train"):
        open_images(tmp_path / "run")


def test_an_id_that_cannot_name_a_file(tmp_path):
    run = made_run(tmp_path / "run", 1)
    rows = run / "refine-1" / "00000" / "metadata.jsonl"
    rows.write_text(json.dumps({**json.loads(rows.read_text()), "id": "../../escape"}) + "\n")
    with pytest.raises(CloudsError, match="cannot name a file"):
        list(opened(run).places())
