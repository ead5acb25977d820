"""The stages `judge` and `filter`: what they leave, what is learned from it, and what a changed threshold costs."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import STAGES, output, small_config, write_config

from clouds.assembly import assemble
from clouds.config import validate
from clouds.data.labels import LabelMap
from clouds.data.samples import Dataset
from clouds.data.world_set import WorldConfig, open_world
from clouds.engine.artifact import Artifact
from clouds.engine.ledger import latest_records
from clouds.engine.runner import Orders, run_stages
from clouds.engine.runtime import Runtime
from clouds.engine.settings import RuntimeConfig
from clouds.errors import UsageError
from clouds.models.segmenter import MaskSegmenter
from clouds.models.segmenter_files import load_segmenter
from clouds.ops.filters import times_by_hardness
from pipelines.filter import Filter, FilterConfig, Judges
from pipelines.full import Config, build
from pipelines.judge_source import JudgeSource

Clouds = Callable[..., tuple[int, str, str]]
Rows = dict[str, dict[str, Any]]


def rows(run_dir: Path, stage: str) -> Rows:
    """The rows of a stage by id, each with its shard."""
    artifact = Artifact(run_dir / stage)
    return {row["id"]: {**row, "shard": shard} for shard in artifact.shard_ids() for row in artifact.rows(shard)}


def ids(run_dir: Path, stage: str, row: dict[str, Any], key: str = "file_name") -> np.ndarray:
    with Image.open(run_dir / stage / row["shard"] / row[key]) as image:
        return np.asarray(image)


def run(clouds: Clouds, run_dir: Path, *changes: str, until: str = "filter-1") -> tuple[int, str]:
    options = [part for change in changes for part in ("--set", change)]
    status, _, err = clouds("run", run_dir, "--until", until, *options)
    return status, err


def test_the_loss_of_labels_adds_up_by_class(finished: Path) -> None:
    refined = rows(finished, "refine-1")
    for id_, row in rows(finished, "judge-loss-1").items():
        labels_HW = ids(finished, "refine-1", refined[id_])
        loss_HW = ids(finished, "judge-loss-1", row, "loss_file_name")
        assert loss_HW.dtype == np.uint16 and loss_HW.max() > 0 and not loss_HW[labels_HW == 255].any()
        for class_id, pixels, loss_sum in row["classes"]:
            of_class = loss_HW[labels_HW == class_id].astype(np.int64)
            assert (len(of_class), of_class.sum()) == (pixels, loss_sum)


def test_views_and_prompts_are_measured_of_every_image(finished: Path) -> None:
    for row in rows(finished, "judge-views-1").values():
        votes_HW = ids(finished, "judge-views-1", row, "votes_file_name")
        assert row["views"] == 4 and votes_HW.min() >= 1 and votes_HW.max() <= 4
        assert row["agreement"] == pytest.approx(votes_HW.mean() / 4, abs=1e-6)
    scores = [row["clip_score"] for row in rows(finished, "judge-prompt").values()]
    assert len(scores) == 7 and len(set(scores)) > 1 and all(-1 <= score <= 1 for score in scores)


def test_what_is_kept_follows_from_what_was_measured(finished: Path) -> None:
    """The rules again, plainly, from the files."""
    refined, loss = rows(finished, "refine-1"), rows(finished, "judge-loss-1")
    views, prompt = rows(finished, "judge-views-1"), rows(finished, "judge-prompt")
    pseudo = rows(finished, "label-1")
    every = [entry for row in loss.values() for entry in row["classes"]]
    mean = {
        one: sum(e[2] for e in every if e[0] == one) / sum(e[1] for e in every if e[0] == one) for one, _, _ in every
    }
    limit = sorted(row["clip_score"] for row in prompt.values())[1]
    hard = [
        sum(pixels * mean[one] for one, pixels, _ in row["classes"]) / sum(pixels for _, pixels, _ in row["classes"])
        for row in loss.values()
    ]
    times = dict(zip(loss, times_by_hardness(np.array(hard), 3).tolist(), strict=True))
    for id_, row in rows(finished, "filter-1").items():
        labels_HW = ids(finished, "refine-1", refined[id_])
        loss_HW = ids(finished, "judge-loss-1", loss[id_], "loss_file_name")
        masks = {
            "confidence": ids(finished, "label-1", pseudo[id_], "confidence_file_name") >= 0.1 * 255,
            "class_loss": loss_HW <= 1.25 * np.vectorize(lambda one: mean.get(one, np.inf))(labels_HW),
            "sam_agreement": labels_HW == ids(finished, "label-1", pseudo[id_]),
            "view_agreement": ids(finished, "judge-views-1", views[id_], "votes_file_name") >= 2,
            "clip_score": np.full(labels_HW.shape, prompt[id_]["clip_score"] >= limit),
        }
        expected_HW = np.where(np.logical_and.reduce(list(masks.values())), labels_HW, 255)
        np.testing.assert_array_equal(ids(finished, "filter-1", row), expected_HW)
        for name, mask_HW in masks.items():
            assert row["dropped"][name]["alone"] == np.count_nonzero((labels_HW != 255) & ~mask_HW)
        assert row["kept_pixels"] == np.count_nonzero(expected_HW != 255)
        assert row["times"] == (times[id_] if row["kept_pixels"] else 0)
        assert row["labels"] == f"label-1/{row['shard']}/labels/{id_}.png" and row["sam"] == refined[id_]["sam"]


def test_the_mean_of_a_class_can_be_that_of_the_sources_true_labels(copy_of_finished: Path, clouds: Clouds) -> None:
    """As published; it is measured once for a segmenter, so that a margin costs no model."""
    over_source = "filters: [{type: class_loss, mean_over: source, margin: 1.25}]"
    status, err = run(clouds, copy_of_finished, f"filter={{{over_source}, harder: {{mean_over: source, most: 3}}}}")
    assert status == 0, err
    assert "judge-source-1: 100%" in err and "judge-loss-1: up to date" in err
    measured, refined, loss = (rows(copy_of_finished, name) for name in ("judge-source-1", "refine-1", "judge-loss-1"))
    every = [entry for row in measured.values() for entry in row["classes"]]
    sums = {one: np.sum([entry[1:] for entry in every if entry[0] == one], axis=0) for one, _, _ in every}
    source = WorldConfig.model_validate(small_config(Path(), Path())["data"]["sets"]["source"])
    scenes = open_world("source", source, LabelMap.of("street11"))
    pixels = Counter(int(one) for index in range(6) for one in scenes.labels(index).ravel())
    assert {one: count for one, (count, _) in sums.items()} == {one: pixels[one] for one in sums}
    assert set(pixels) - {255} == set(sums) and set(measured) == set(scenes.ids)
    # the losses themselves, again and plainly, of one scene
    segmenter, _ = load_segmenter(copy_of_finished / "adapt" / "model")
    scores_KHW = segmenter.predict(torch.from_numpy(scenes.image(4)).permute(2, 0, 1)[None])[0]
    share_KHW = scores_KHW / scores_KHW.sum(0).clamp(min=1)
    for class_id, count, loss_sum in measured[scenes.ids[4]]["classes"]:
        own_HW = torch.from_numpy(scenes.labels(4) == class_id)
        expected = -share_KHW[class_id][own_HW].log().sum() * 4096
        assert count == own_HW.sum() and loss_sum == pytest.approx(float(expected), rel=1e-2)
    mean = {one: loss_sum / count for one, (count, loss_sum) in sums.items()}
    of_all = [(mean[one], count) for one, (count, _) in sums.items()]
    known = [[(mean[one], count) for one, count, _ in row["classes"] if one in mean] or of_all for row in loss.values()]
    hard = [sum(loss * count for loss, count in one) / sum(count for _, count in one) for one in known]
    times = dict(zip(loss, times_by_hardness(np.array(hard), 3).tolist(), strict=True))
    for id_, row in rows(copy_of_finished, "filter-1").items():
        labels_HW = ids(copy_of_finished, "refine-1", refined[id_])
        loss_HW = ids(copy_of_finished, "judge-loss-1", loss[id_], "loss_file_name")
        usual_HW = loss_HW <= 1.25 * np.vectorize(lambda one: mean.get(one, np.inf))(labels_HW)
        np.testing.assert_array_equal(ids(copy_of_finished, "filter-1", row), np.where(usual_HW, labels_HW, 255))
        assert row["times"] == (times[id_] if row["kept_pixels"] else 0)
    # another margin runs no model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MaskSegmenter, "predict", None)
        status, err = run(clouds, copy_of_finished, f"filter={{{over_source.replace('1.25', '2.0')}}}")
    assert status == 0 and "judge-source-1: up to date" in err, err


@dataclass(frozen=True)
class Cropped:
    """A data set, the labels of whose second image lack a row."""

    whole: Dataset

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    def labels(self, index: int) -> np.ndarray:
        return self.whole.labels(index)[1:] if index == 1 else self.whole.labels(index)


def test_true_labels_of_another_size_fail_alone(
    copy_of_finished: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = small_config(models, copy_of_finished)
    tree["filter"] |= {"harder": {"mean_over": "source"}, "batch_size": 3}
    stages = build(validate(Config, tree, "small"))
    [judge] = [stage for stage in stages if isinstance(stage, JudgeSource)]
    odd = replace(judge, datasets={"source": Cropped(judge.datasets["source"])})
    shown: list[int] = []
    predict = MaskSegmenter.predict
    monkeypatch.setattr(
        MaskSegmenter, "predict", lambda self, images: shown.append(len(images)) or predict(self, images)
    )
    run_stages([*stages[: stages.index(judge)], odd], copy_of_finished, Runtime(RuntimeConfig(device="cpu")), Orders())
    first, bad, last = latest_records(odd.artifact.shard_folder("source-00000") / "ledger.jsonl").values()
    assert (first.status, bad.status, last.status) == ("done", "failed", "done")
    assert f"data set 'source', {bad.id}: the labels are 64x31, the image is 64x32" in bad.error
    assert "mend the labels" in bad.error and "Traceback" not in bad.error
    assert shown == [2, 3], "the others of its batch are shown once, together"


def test_the_counts_are_told_wherever_one_looks(finished: Path, clouds: Clouds) -> None:
    found = list(rows(finished, "filter-1").values())
    summary = json.loads((finished / "filter-1" / "filters.json").read_text())
    assert summary["kept_pixels"] == sum(row["kept_pixels"] for row in found) > 0
    assert summary["dropped_images"] == sum(row["times"] == 0 for row in found) > 0
    assert summary["drawn_in_a_round"] == sum(row["times"] for row in found)
    assert [one["type"] for one in summary["filters"]] == list(found[0]["dropped"])
    card = (finished / "filter-1" / "README.md").read_text()
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    status, out, _ = clouds("report", finished, "--json")
    assert status == 0 and json.loads(out)["filters"] == {"filter-1": summary}
    kept = f"{summary['kept_pixels'] / summary['labelled_pixels']:.1%} are kept"
    for text in (card, page, clouds("status", finished)[1]):
        assert kept in text
    assert "Which labels were learned from" in page and "view_agreement" in page and "view_agreement" in card


def test_a_threshold_reruns_no_model(copy_of_finished: Path, clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MaskSegmenter, "predict", None)
    before = {name: content for name, content in output(copy_of_finished).items() if name.startswith("judge")}
    status, err = run(clouds, copy_of_finished, "filter.filters=[{type: view_agreement, least: 0.25}]")
    assert status == 0, err
    assert err.count("filter-1: 100%") and "judge-loss-1: up to date" in err
    after = output(copy_of_finished)
    assert {name: after[name] for name in before} == before
    row = next(iter(rows(copy_of_finished, "filter-1").values()))
    assert row["dropped"].keys() == {"view_agreement"} and row["kept_pixels"] == row["labelled_pixels"]


def test_the_order_changes_counts_only(copy_of_finished: Path, clouds: Clouds) -> None:
    before = {path.name: path.read_bytes() for path in (copy_of_finished / "filter-1").glob("*/*.png")}
    config = json.dumps(list(reversed(small_config(Path(), Path())["filter"]["filters"])))
    assert run(clouds, copy_of_finished, f"filter.filters={config}")[0] == 0
    after = {path.name: path.read_bytes() for path in (copy_of_finished / "filter-1").glob("*/*.png")}
    assert after == before


def test_what_an_interrupted_stage_left_is_gone_on_with(finished: Path, clouds: Clouds, tmp_path: Path) -> None:
    """A shard that was being made stays as it is, and what follows has the bytes of an uninterrupted run."""
    run_dir = Path(shutil.copytree(finished, tmp_path / "run"))
    for name in ("judge-loss-1", "judge-views-1", "judge-prompt", "filter-1"):
        artifact = Artifact(run_dir / name)
        artifact.work_folder.mkdir()
        scratch = artifact.scratch_folder("00000")
        (run_dir / name / "00000").rename(scratch)
        # the records of the first batch, and a torn one
        lines = (scratch / "ledger.jsonl").read_text().splitlines(keepends=True)
        (scratch / "ledger.jsonl").write_text("".join(lines[:2]) + lines[2][:20])
        (scratch / "inputs.txt").write_text(json.loads((scratch / "shard.json").read_text())["inputs"])
        for path in ("shard.json", "metadata.jsonl"):
            (scratch / path).unlink()
        shutil.rmtree(run_dir / name / "00001")
        description = json.loads((run_dir / name / "stage.json").read_text())
        (run_dir / name / "stage.json").write_text(json.dumps({**description, "complete": False}))
    assert run(clouds, run_dir, until="evaluate-selftrain-1")[0] == 0
    alone, resumed = output(finished), output(run_dir)
    for found in (alone, resumed):
        found.pop("config.yaml")
        for name in [name for name in found if name.endswith("ledger.jsonl")]:
            found.pop(name)
    assert resumed == alone


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ("[{type: confidence, least: 1.0}]", ["'confidence' (least: 1.0)", "the highest confidence seen is 0."]),
        ("[{type: class_loss, margin: 0.001}]", ["'class_loss' (margin: 0.001)", "its class' mean, seen is 0.", "1"]),
        ("[{type: clip_score, least: 0.99}]", ["'clip_score' (least: 0.99)", "the highest score seen is 0."]),
    ],
)
def test_a_filter_that_would_drop_everything_stops_the_run(
    copy_of_finished: Path, clouds: Clouds, filters: str, said: list[str]
) -> None:
    status, err = run(clouds, copy_of_finished, f"filter.filters={filters}", until="selftrain-1")
    assert status == 1
    for text in ("filter-1: the filter", "would drop every labelled pixel of 7 images", "filter.filters", *said):
        assert text in err
    assert "Traceback" not in err and "selftrain-1" not in err
    # and once it is loosened, it goes on
    assert run(clouds, copy_of_finished, "filter.filters=[{type: confidence, least: 0.0}]")[0] == 0


def test_labels_that_are_all_ignored_pass_through_and_are_not_learned_from(
    copy_of_finished: Path, clouds: Clouds
) -> None:
    status, err = run(clouds, copy_of_finished, "label.threshold=1.0", until="selftrain-1")
    assert status == 1
    assert "'generated' has no images to train on: each of its 7 is to be drawn 0 times" in err
    assert "filter-1: 100%" in err and "Traceback" not in err
    assert all(row["labelled_pixels"] == row["times"] == 0 for row in rows(copy_of_finished, "filter-1").values())
    assert json.loads((copy_of_finished / "filter-1" / "filters.json").read_text())["dropped_images"] == 7


def test_an_image_that_was_not_measured_fails_and_is_named(copy_of_finished: Path, clouds: Clouds) -> None:
    metadata = copy_of_finished / "judge-loss-1" / "00002" / "metadata.jsonl"
    metadata.write_text("")
    status, err = run(clouds, copy_of_finished, "filter.filters=[{type: class_loss, margin: 1.5}]")
    assert status == 0
    assert "failed: 000006: judge-loss-1 has nothing on 000006" in err


def test_without_a_filter_nothing_is_measured(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    config = write_config(tmp_path / "c.yaml", small_config(models, tmp_path / "run", filter=None))
    status, out, _ = clouds("plan", config)
    stages = [line.split()[0] for line in out.splitlines()[1:]]
    assert status == 0 and stages == [name for name in STAGES if not name.startswith(("judge", "filter"))]


def test_rounds_share_the_scores_of_prompts_and_are_compared(copy_of_finished: Path, clouds: Clouds) -> None:
    changes = ("rounds=2", "filter.filters=[{type: clip_score, lowest: 0.2}]", "filter.harder=null")
    status, err = run(clouds, copy_of_finished, *changes, until="filter-2")
    assert status == 0, err
    assert "judge-prompt: up to date" in err and "judge-loss" not in err and "judge-views" not in err
    options = [part for change in changes for part in ("--set", change)]
    status, out, _ = clouds("report", copy_of_finished, "--json", *options)
    [change] = json.loads(out)["rounds"]
    assert (change["before"], change["after"], change["images"]) == ("refine-1", "refine-2", 7)
    first, second = (
        np.stack([ids(copy_of_finished, stage, row) for row in rows(copy_of_finished, stage).values()])
        for stage in ("refine-1", "refine-2")
    )
    assert change["changed"] == pytest.approx(np.mean(first != second))
    page = (copy_of_finished / "report" / "index.html").read_text(encoding="utf-8")
    assert "From refine-1 to refine-2" in page


def test_a_clip_of_its_own_is_asked(copy_of_finished: Path, models: Path, clouds: Clouds, tmp_path: Path) -> None:
    from clouds.models.tiny_clip import build_tiny_clip

    other = build_tiny_clip(tmp_path / "clip", seed=9)
    before = rows(copy_of_finished, "judge-prompt")
    assert run(clouds, copy_of_finished, f"filter.clip={{weights: {other}}}", until="judge-prompt")[0] == 0
    after = rows(copy_of_finished, "judge-prompt")
    assert all(before[id_]["clip_score"] != after[id_]["clip_score"] for id_ in before)
    same = f"filter.clip={{weights: {models / 'clip'}}}"
    status, out, _ = clouds("plan", copy_of_finished, "--set", same)
    assert status == 0 and "weights" not in out.split("judge-prompt")[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clip": {"weights": "/no/such/clip"}}, ["'filter.clip.weights'", "/no/such/clip"]),
        ({"filters": [{"type": "clip_scor"}]}, ["filter.filters.0", "'clip_score'"]),
    ],
)
def test_a_filter_that_cannot_be_is_named(
    models: Path, tmp_path: Path, clouds: Clouds, changes: dict[str, Any], said: list[str]
) -> None:
    tree = small_config(models, tmp_path / "run")
    tree["filter"] |= changes
    status, _, err = clouds("plan", write_config(tmp_path / "c.yaml", tree))
    assert status in (1, 2)
    for text in said:
        assert text in err


def test_a_backbone_that_is_no_clip_needs_one_by_name(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    tree = small_config(models, tmp_path / "run")
    tree["train"]["segmenter"]["backbone"] = {"weights": "timm:test_resnet", "pretrained": "r160_in1k"}
    status, _, err = clouds("plan", write_config(tmp_path / "c.yaml", tree))
    assert status == 2 and "filter.clip" in err and "timm:test_resnet" in err


def test_pseudo_labels_are_filtered_where_nothing_refines_them(copy_of_finished: Path) -> None:
    assembly = assemble(str(copy_of_finished))
    [label], [loss] = assembly.find("label-1"), [stage for stage in assembly.stages if stage.name == "judge-loss-1"]
    config = FilterConfig.model_validate({"filters": [{"type": "confidence", "least": 0.13}]})
    artifact = Artifact(copy_of_finished / "filter-raw")
    filter_ = Filter(artifact, config, label, label, Judges(loss=loss), LabelMap.of("street11"))
    assert filter_.needs == (label,)
    run_stages([*assembly.until("label-1"), filter_], copy_of_finished, Runtime(assembly.config.runtime), Orders())
    raw = rows(copy_of_finished, "label-1")
    for id_, row in rows(copy_of_finished, "filter-raw").items():
        sure_HW = ids(copy_of_finished, "label-1", raw[id_], "confidence_file_name") >= 0.13 * 255
        expected_HW = np.where(sure_HW, ids(copy_of_finished, "label-1", raw[id_]), 255)
        np.testing.assert_array_equal(ids(copy_of_finished, "filter-raw", row), expected_HW)
        assert row["labels"] == row["filtered"] == f"label-1/{row['shard']}/labels/{id_}.png"


def test_agreement_with_a_refinement_that_is_not_there_is_refused(copy_of_finished: Path) -> None:
    [label] = assemble(str(copy_of_finished)).find("label-1")
    config = FilterConfig.model_validate({"filters": [{"type": "sam_agreement"}]})
    with pytest.raises(UsageError, match="nothing refines them"):
        Filter(Artifact(copy_of_finished / "filter-raw"), config, label, label, Judges(), LabelMap.of("street11"))


def test_a_share_that_is_none_of_so_few_images_says_so(
    copy_of_finished: Path, clouds: Clouds, caplog: pytest.LogCaptureFixture
) -> None:
    for lowest, said in ((0.1, 1), (0.2, 0)):
        caplog.clear()
        changes = ("--set", f"filter.filters=[{{type: clip_score, lowest: {lowest}}}]", "--set", "filter.harder=null")
        with caplog.at_level("WARNING"):
            assert clouds("filter", copy_of_finished, *changes)[0] == 0
        told = [record.getMessage() for record in caplog.records if "less than one image" in record.getMessage()]
        assert len(told) == said
        assert all(one.startswith("filter-1: clip_score: lowest 0.1 of 7 images") for one in told)
        dropped = json.loads((copy_of_finished / "filter-1" / "filters.json").read_text())["dropped_images"]
        assert dropped == 1 - said
