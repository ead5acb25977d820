"""The whole method end to end, with the real classes at a tiny size: what it leaves, and what it does not do again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import STAGES, output

from clouds.engine.artifact import Artifact
from clouds.models.segmenter_files import load_segmenter

Clouds = Callable[..., tuple[int, str, str]]

SCORES = {"evaluate-train", "evaluate-adapt", "evaluate-selftrain-1"}
PAINTED = {"generate", "repaint"}
UNTAUGHT = {*PAINTED, "judge-prompt"}
FROM_ADAPT = {*STAGES[STAGES.index("adapt") :]} - UNTAUGHT
LEARNED = {"selftrain-1", "evaluate-selftrain-1"}
FROM_FILTER = {"filter-1", *LEARNED}
FROM_REFINE = {"refine-1", "judge-loss-1", *FROM_FILTER}
FROM_GENERATE = {"generate", "judge-prompt", "label-1", "judge-views-1", *FROM_REFINE}


def plan(clouds: Clouds, run_dir: Path, *changes: str) -> dict[str, str]:
    """What `clouds plan` says of each stage, changes laid over the run's config."""
    options = [part for change in changes for part in ("--set", change)]
    status, out, _ = clouds("plan", run_dir, *options)
    assert status == 0
    return {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in out.splitlines()[1:]}


def test_every_stage_is_complete(finished: Path) -> None:
    for name in STAGES:
        description = Artifact(finished / name).description()
        assert description is not None
        assert description["complete"] is True
    assert (finished / "report" / "index.html").exists()
    assert not (finished / "holder.json").exists()
    assert not list(finished.rglob(".work"))


def test_generated_images_carry_their_provenance(finished: Path) -> None:
    artifact = Artifact(finished / "generate")
    rows = [row for shard in artifact.shard_ids() for row in artifact.rows(shard)]
    assert artifact.shard_ids() == ["00000", "00001", "00002"]
    assert [row["id"] for row in rows] == [f"{index:06d}" for index in range(7)]
    assert len({row["seed"] for row in rows}) == 7
    assert all(row["prompt"].startswith("a street in ") for row in rows)
    assert all(row["model"] == "diffusion" and len(row["weights"]["sha256"]) == 64 for row in rows)


def test_labels_are_plain_class_ids_of_the_images_size(finished: Path) -> None:
    for folder in ("label-1/00000/labels", "refine-1/00000"):
        for path in (finished / folder).glob("*.png"):
            with Image.open(path) as image:
                assert image.mode == "L"
                labels_HW = np.asarray(image)
            assert labels_HW.shape == (32, 64)
            assert set(np.unique(labels_HW)) <= {*range(11), 255}


@pytest.mark.parametrize(
    ("stage", "column", "also"),
    [("generate", "image", "prompt"), ("label-1", "image", "source_image"), ("refine-1", "image", "source_image")],
)
def test_an_artifact_opens_as_a_hugging_face_imagefolder(
    finished: Path, stage: str, column: str, also: str, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(finished / stage), cache_dir=str(tmp_path))["train"]
    artifact = Artifact(finished / stage)
    rows = [(shard, row) for shard in artifact.shard_ids() for row in artifact.rows(shard)]
    files = {row["id"]: artifact.shard_folder(shard) / row["file_name"] for shard, row in rows}
    assert len(loaded) == len(files) == 7
    assert also in loaded.column_names
    for one in loaded:
        assert np.array_equal(np.asarray(one[column]), np.asarray(Image.open(files[one["id"]])))


def test_scores_are_of_the_label_size_with_their_protocol(finished: Path) -> None:
    content = json.loads((finished / "evaluate-train" / "scores.json").read_text())
    assert content["model"] == "train"
    night = content["results"]["night"]
    assert sum(map(sum, night["confusion"])) == 3 * 30 * 50
    assert night["protocol"]["images"] == 3
    assert 0 <= night["mean_iou"] <= night["pixel_accuracy"] <= 1 or night["mean_iou"] <= 1


def test_predictions_of_the_first_images_are_kept_and_shown(finished: Path) -> None:
    for stage in ("evaluate-train", "evaluate-selftrain-1"):
        artifact = Artifact(finished / stage)
        kept = {
            row["id"]: row.get("prediction_file_name") for shard in artifact.shard_ids() for row in artifact.rows(shard)
        }
        assert [id_ for id_, name in kept.items() if name] == [
            f"{domain}-00000{n}" for domain in ("fog", "night") for n in range(3)
        ]
        matrix = np.zeros((11, 12), dtype=int)
        for row in artifact.rows("night-00000"):
            with Image.open(artifact.shard_folder("night-00000") / row["prediction_file_name"]) as image:
                assert image.mode == "L" and image.size == (50, 30)
                assert np.bincount(np.ravel(image), minlength=11).sum() == 30 * 50
            for truth, predicted, count in row["cells"]:
                matrix[truth, predicted] += count
        assert sum(path.suffix == ".png" for path in artifact.folder.rglob("*")) == 6
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("Prediction of train, right on ") == page.count("Prediction of selftrain-1, right on ") == 6


def test_the_trained_model_loads_without_the_weights_it_came_from(finished: Path) -> None:
    model, info = load_segmenter(finished / "selftrain-1" / "model")
    assert len(info.class_names) == 11
    assert not model.training


def test_the_same_command_does_nothing_and_changes_nothing(copy_of_finished: Path, clouds: Clouds) -> None:
    before = output(copy_of_finished)
    status, out, err = clouds("run", copy_of_finished)
    assert status == 0
    assert err.count("up to date") == len(STAGES)
    assert "selftrain-1" in out
    after = output(copy_of_finished)
    before.pop("config.yaml"), after.pop("config.yaml")
    assert after == before


def test_on_what_each_stage_was_made_is_told_also_of_one_that_went_on(copy_of_finished: Path, clouds: Clouds) -> None:
    before = {
        one["name"]: one["sessions"] for one in json.loads(clouds("status", copy_of_finished, "--json")[1])["stages"]
    }
    assert before.keys() == set(STAGES) and all(len(sessions) == 1 for sessions in before.values())
    [session] = before["train"]
    assert (session["kind"], session["processes"], session["precision"]) == ("cpu", 1, "no")
    assert session["seconds"] > 0 and session["hosts"][0]["cores"] and "diffusers" in session["versions"]
    # a shard is gone, and another was never made on record
    shutil.rmtree(copy_of_finished / "label-1" / "00001")
    (copy_of_finished / "refine-1" / "sessions.json").unlink()
    assert clouds("run", copy_of_finished)[0] == 0
    report = json.loads((copy_of_finished / "report" / "report.json").read_text())
    after = {one["name"]: one["sessions"] for one in report["stages"]}
    assert after["label-1"][:1] == before["label-1"] and len(after["label-1"]) == 2
    assert after.pop("refine-1") == [] and before.pop("refine-1")
    assert {name: after[name] for name in before if name != "label-1"} == {
        name: sessions for name, sessions in before.items() if name != "label-1"
    }
    for name in ("index.html", "report.md"):
        text = (copy_of_finished / "report" / name).read_text(encoding="utf-8")
        assert " in 2 sessions" in text and "not recorded" in text and f"torch {session['versions']['torch']}" in text


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ("label.batch_size=5", set()),
        ("generate.batch_size=1", set()),
        ("evaluate.batch_size=1", set()),
        ("train.images_at_once=1", set()),
        ("train.checkpoint_every=1", set()),
        ("refine.sam.prompts_per_call=3", set()),
        ("refine.batch_size=3", set()),
        ("refine.sam.cache=false", set()),
        ("refine.sam.features=float32", FROM_REFINE),
        ("runtime.workers=1", set()),
        ("runtime.trackers=[tensorboard]", set()),
        ("train.validation={data: [fog], every: 2}", set()),
        ("train.validation={data: [fog], every: 2, keep_best: true}", set(STAGES) - UNTAUGHT),
        ("adapt.frozen_steps=1", FROM_ADAPT),
        ("selftrain.rare_classes={min_pixels: 20}", LEARNED),
        ("evaluate.short_edge=24", SCORES),
        ("evaluate.keep_predictions=0", SCORES),
        ("evaluate.save_predictions=labels", SCORES),
        ("evaluate.scoring.resamples=0", SCORES),
        ("generate.prompts.balance=[place]", FROM_GENERATE),
        ("repaint.batch_size=1", set()),
        ("repaint.strength=1", {"repaint", *FROM_ADAPT}),
        ("repaint.count=6", {"repaint", *FROM_ADAPT}),
        ("adapt.steps=2", FROM_ADAPT),
        ("selftrain.steps=3", LEARNED),
        ("filter.batch_size=1", set()),
        ("filter.harder.most=2", FROM_FILTER),
        ("filter.filters=[{type: confidence, least: 0.2}]", FROM_FILTER),
        ("filter.views.scales=[0.5]", {"judge-views-1", *FROM_FILTER}),
        ("label.flip=true", {"label-1", "judge-views-1", *FROM_REFINE}),
        ("refine.rule.passes=1", FROM_REFINE),
        ("label.threshold=0.2", {"label-1", *FROM_REFINE}),
        ("generate.guidance=3", FROM_GENERATE),
        ("train.loss.num_points=65", set(STAGES) - UNTAUGHT),
        ("data.sets.fog.seed=1", SCORES),
        ("evaluate.data=[fog]", SCORES),
        ("generate.count=8", FROM_GENERATE),
        ("runtime.mixed_precision=bf16", set(STAGES) - UNTAUGHT),
        ("data.sets.source.count=7", {*STAGES} - {"generate", "judge-prompt"}),
        ("seed=1", set(STAGES)),
    ],
)
def test_a_changed_value_reruns_what_it_can_affect(
    finished: Path, clouds: Clouds, change: str, changed: set[str]
) -> None:
    said = plan(clouds, finished, change)
    assert {name for name, line in said.items() if not line.startswith("up to date")} == changed


def test_the_plan_names_the_key_and_both_values(finished: Path, clouds: Clouds) -> None:
    said = plan(clouds, finished, "refine.rule.passes=1")
    assert "config rule.passes: 2 -> 1" in said["refine-1"]
    assert "upstream refine-1 changed" in said["judge-loss-1"] and "upstream refine-1 changed" in said["filter-1"]
    assert "upstream filter-1 changed" in said["selftrain-1"]


def test_the_plan_names_changed_weights(copy_of_finished: Path, models: Path, clouds: Clouds, tmp_path: Path) -> None:
    from clouds.models.tiny_sam import build_tiny_sam

    build_tiny_sam(tmp_path / "other.safetensors", seed=5)
    said = plan(clouds, copy_of_finished, f"refine.sam.weights={tmp_path / 'other.safetensors'}")
    assert "input weights.sha256" in said["refine-1"]
    assert said["label-1"] == "up to date"


def test_moved_weights_are_the_same_weights(finished: Path, models: Path, clouds: Clouds, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes((models / "sam.safetensors").read_bytes())
    assert set(plan(clouds, finished, f"refine.sam.weights={moved}").values()) == {"up to date"}


def test_status_counts_every_stage(finished: Path, clouds: Clouds) -> None:
    status, out, _ = clouds("status", finished)
    assert status == 0
    *table, filtered = out.splitlines()[3:]
    assert [line.split()[0] for line in table] == list(STAGES)
    assert filtered.startswith("filter-1: Of the labelled pixels of refine-1, ")
    assert "7 of 7" in out
    assert out.count("complete") == len(STAGES)


def test_one_stage_runs_with_what_it_needs_and_no_more(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    from small_run import small_config, write_config

    config = write_config(tmp_path / "c.yaml", small_config(models, tmp_path / "run"))
    status, _, _ = clouds("generate", config)
    assert status == 0
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.is_dir()) == ["generate", "report"]


def test_labels_do_not_depend_on_the_batch_but_for_stray_pixels(finished: Path, clouds: Clouds, tmp_path: Path) -> None:
    """The tolerance: at most one grey level in an image, and at most 0.1% of the pixels of a label map."""
    import shutil

    other = Path(shutil.copytree(finished, tmp_path / "other"))
    for name in ("generate", "label-1"):
        shutil.rmtree(other / name)
    arguments = ("--set", "generate.batch_size=5", "--set", "label.batch_size=1")
    status, _, _ = clouds("label", other, *arguments)
    assert status == 0
    for path in (finished / "generate").rglob("*.png"):
        same = np.asarray(Image.open(other / path.relative_to(finished)), dtype=int)
        assert np.abs(same - np.asarray(Image.open(path), dtype=int)).max() <= 1
    for path in (finished / "label-1").glob("*/labels/*.png"):
        same = np.asarray(Image.open(other / path.relative_to(finished)))
        assert (same != np.asarray(Image.open(path))).mean() <= 0.001


def test_more_images_leave_those_that_are_made(copy_of_finished: Path, clouds: Clouds) -> None:
    before = {path: path.stat().st_mtime_ns for path in (copy_of_finished / "generate" / "00000").glob("*.png")}
    status, _, _ = clouds("label", copy_of_finished, "--set", "generate.count=8")
    assert status == 0
    assert before == {path: path.stat().st_mtime_ns for path in (copy_of_finished / "generate" / "00000").glob("*.png")}
    assert [row["id"] for row in Artifact(copy_of_finished / "label-1").rows("00002")] == ["000006", "000007"]
    status, _, _ = clouds("label", copy_of_finished, "--set", "generate.count=4")
    assert status == 0
    assert [path.name for path in sorted((copy_of_finished / "label-1" / "00001" / "labels").iterdir())] == [
        "000003.png"
    ]


def test_scores_of_a_model_that_was_replaced_are_not_shown(copy_of_finished: Path, clouds: Clouds) -> None:
    status, out, _ = clouds("train", copy_of_finished, "--set", "train.steps=4")
    assert status == 0
    assert "mIoU" not in out
    status, out, _ = clouds("status", copy_of_finished)
    lines = {line.split()[0]: line.split()[-1] for line in out.splitlines()[3:]}
    assert lines["train"] == "complete"
    assert lines["evaluate-train"] == "stale"
    status, out, _ = clouds("report", copy_of_finished)
    assert status == 0 and "mIoU" not in out
    # what is missing is told with its cause, however far back that lies
    foot = {line.split()[2]: line for line in out.splitlines() if line.startswith("left out: ")}
    assert list(foot) == ["train,", "adapt,", "selftrain-1,"]
    assert "upstream train changed" in foot["train,"]
    assert "waits for selftrain-1; adapt: upstream train changed" in foot["selftrain-1,"]
    told = json.loads(clouds("report", copy_of_finished, "--json")[1])
    assert told["models"] == [] and [one["model"] for one in told["left_out"]] == ["train", "adapt", "selftrain-1"]
    assert told["left_out"][0]["stage"] == "evaluate-train"
    status, _, err = clouds("compare", copy_of_finished)
    assert status == 2 and "left out: train" in err and "upstream train changed" in err


def test_forcing_a_stage_remakes_what_follows_from_it(copy_of_finished: Path, clouds: Clouds) -> None:
    status, _, err = clouds("run", copy_of_finished, "--force", "generate")
    assert status == 0
    kept = STAGES[: STAGES.index("generate")]
    for name in kept:
        assert f"{name}: up to date" in err
    assert err.count("up to date") == len(kept)


def test_forcing_touches_nothing_when_the_weights_are_not_there(copy_of_finished: Path, clouds: Clouds) -> None:
    before = output(copy_of_finished)
    arguments = ("--force", "generate", "--set", "generate.weights=/no/such/folder")
    assert clouds("generate", copy_of_finished, *arguments)[0] == 1
    assert output(copy_of_finished) == before


def test_no_round_generates_nothing(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    from small_run import small_config, write_config

    config = write_config(tmp_path / "c.yaml", small_config(models, tmp_path / "run", rounds=0))
    assert list(plan(clouds, config)) == ["train", "evaluate-train", "repaint", "adapt", "evaluate-adapt"]
