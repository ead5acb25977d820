"""The numbers beside the page: the same in JSON and Markdown as in the tables, of finished runs and of others."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from made_runs import begin, finished_run, generate, label, log_training, open_run, publish, stage_of

from clouds.data.images import read_labels
from clouds.engine.session import Device, Host, Place, begin_session, session_of
from clouds.report import provenance
from clouds.report.extremes import ends
from clouds.report.html import write_html
from clouds.report.tables import markdown, scores_of
from clouds.scoring import shares

PROMPTS = [f"street {index} | wet" for index in range(9)]


def written(assembly) -> tuple[dict, str]:
    path = write_html(assembly.config, assembly.stages, [stage.name for stage in assembly.stages])
    return json.loads(path.with_name("report.json").read_text(encoding="utf-8")), path.with_name("report.md").read_text(
        encoding="utf-8"
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assembly = finished_run(folder, PROMPTS)
    return folder, assembly, *written(assembly)


def test_scores_stages_and_curves_are_those_of_the_run(finished):
    _, assembly, content, text = finished
    models = scores_of([stage.artifact for stage in assembly.stages])
    assert [one["model"] for one in content["models"]] == [model.model for model in models]
    assert content["models"][-1]["results"]["fog"]["mean_iou"] == models[-1].mean_iou("fog")
    assert [one["name"] for one in content["stages"]] == [stage.name for stage in assembly.stages]
    assert content["missing"] == []
    train = content["curves"][0]
    assert (train["stage"], train["what"], len(train["points"])) == ("train", "loss", 40)
    assert train["points"][0] == [1.0, 30.0]
    assert content["provenance"]["generator"]["revision"] == "abc123"
    for heading in ("mIoU in percent", "IoU of each class, selftrain-2", "Class pixel shares", "Generated images"):
        assert heading in text
    for heading in ("What was left out", "Training", "Stages", "Models", "Versions and machine"):
        assert f"## {heading}" in text


def test_tables_of_the_markdown_have_as_many_cells_in_each_row(finished):
    blocks = finished[3].split("\n\n")
    tables = [block.strip().splitlines() for block in blocks if block.startswith("| ")]
    assert len(tables) >= 7
    for table in tables:
        cells = {line.replace("\\|", "").count("|") for line in table if line.startswith("|")}
        assert len(cells) == 1


def test_shares_are_those_of_the_files(finished):
    folder, assembly, content, _ = finished
    by_name = {one["name"]: one for one in content["class_shares"]}
    assert list(by_name) == ["source", "generated, pseudo-labels", "generated, refined", "fog", "night"]
    refined = np.concatenate([read_labels(path).ravel() for path in (folder / "refine-2").glob("*/*.png")])
    road = by_name["generated, refined"]
    assert road["by_class"]["road"] == pytest.approx((refined == 3).sum() / (refined != 255).sum())
    assert road["unlabelled"] == pytest.approx(np.mean(refined == 255))
    assert (road["group"], road["counted"]) == ("generated", len(PROMPTS))
    training = stage_of(assembly, "train").datasets["source"]
    truth = np.concatenate([training.labels(index).ravel() for index in range(len(training.ids))])
    assert by_name["source"]["by_class"]["sky"] == pytest.approx((truth == 0).sum() / (truth != 255).sum())
    for one in by_name.values():
        assert sum(one["by_class"].values()) == pytest.approx(1)


def test_a_large_source_is_sampled_and_counted_once(tmp_path, monkeypatch):
    assembly = open_run(tmp_path)
    monkeypatch.setattr(shares, "COUNTED_LABELS", 3)
    content, text = written(assembly)
    [source] = content["class_shares"]
    size = len(stage_of(assembly, "train").datasets["source"].ids)
    assert (source["counted"], source["images"]) == (3, size) and f"3 of {size}" in text
    monkeypatch.setattr(shares, "_count", lambda *given: pytest.fail("counted again"))
    again, _ = written(assembly)
    assert again["class_shares"] == content["class_shares"]


def test_what_was_left_out_is_counted(tmp_path):
    assembly = finished_run(tmp_path, PROMPTS[:4])
    stage = stage_of(assembly, "refine-2")
    rows = [
        {**row, "components": 10, "prompted": 8, "accepted": 5, "rejected": 3} for row in stage.artifact.rows("00000")
    ]
    publish(stage.artifact, "00000", rows, {"000009": "no mask"})
    begin(stage, 5, complete=True)
    content, text = written(assembly)
    found = {(one["stage"], one["why"]): (one["count"], one["of"]) for one in content["dropped"]}
    assert found["refine-2", "failed"] == (1, 5)
    assert found["refine", "component too small to ask for"] == (8, 40)
    assert found["refine", "mask refused, the label kept as it was"] == (12, 32)
    ids = np.concatenate([read_labels(path).ravel() for path in (tmp_path / "refine-2").glob("*/*.png")])
    assert found["refine", "without a label after refinement"] == (int((ids == 255).sum()), ids.size)
    assert content["failures"] == [{"stage": "refine-2", "item": "000009", "error": "no mask"}]
    assert "refine-2/000009: no mask" in text


def test_an_unfinished_run_has_numbers_of_what_is_there(tmp_path):
    content, text = written(open_run(tmp_path))
    assert content["models"] == [] == content["curves"] and content["generated"]["images"] == 0
    assert "train: not begun" in content["missing"] and "## What is missing\n\n- train: not begun" in text
    assembly = open_run(tmp_path)
    log_training(stage_of(assembly, "train"), [3.0, 2.0], complete=False)
    generate(assembly, PROMPTS)
    label(assembly, 1)
    content, text = written(assembly)
    assert (content["generated"]["labelled"], content["generated"]["refined"]) == (9, 0)
    assert content["generated"]["most_changed"] == [] and len(content["generated"]["worst"]) == 5
    assert "9 images, 9 labelled, 0 refined" in text
    assert any(phrase.startswith("evaluate-train: not begun") for phrase in content["missing"])


def test_the_ends_of_a_run_are_its_least_and_most_sure_images():
    rows = [
        [str(number), "p", None, number / 10 if number != 3 else None, abs(5 - number) / 10] for number in range(10)
    ]
    found = ends(iter(rows), 3)
    assert [one.id for one in found["worst"]] == ["0", "1", "2"]
    assert [one.id for one in found["best"]] == ["9", "8", "7"]
    assert [one.id for one in found["most_changed"]] == ["0", "1", "9"]  # 1 and 9 are equal: the first of them first


def test_scored_images_are_ordered_by_how_much_of_them_is_right(tmp_path):
    assembly = finished_run(tmp_path, PROMPTS[:1])
    for model, wrong in (("train", 60), ("selftrain-2", 10)):
        artifact = stage_of(assembly, f"evaluate-{model}").artifact
        for shard in ("fog-00000", "fog-00001"):
            counts = range(0, 40, 10) if shard == "fog-00000" else (5,)
            rows = [
                {"id": f"{shard[-1]}-{more}", "cells": [[0, 0, 100 - more], [0, 3, more // 2], [1, 11, wrong]]}
                for more in counts
            ]
            publish(artifact, shard, [*rows, {"id": f"{shard[-1]}-none", "cells": []}])
    content, text = written(assembly)
    fog = content["scored_images"]["fog"]
    assert [one["id"] for one in fog["worst"]] == ["0-30", "0-20", "0-10"]
    assert [one["id"] for one in fog["best"]] == ["0-0", "1-5", "0-10"]
    assert fog["worst"][0]["after"] == pytest.approx(70 / (70 + 15 + 10))
    assert fog["worst"][0]["before"] == pytest.approx(70 / (70 + 15 + 60))
    assert re.search(r"\| fog +\| +worst \| +0-30 \|", text)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Where selftrain-2 is worst and best" in page


def test_weights_are_named_as_the_config_names_them(tmp_path):
    assembly = open_run(tmp_path, "train.segmenter.backbone.weights=owner/clip")
    document = {"config": {"steps": 3}, "inputs": {"weights.kind": "hub", "weights.revision": "0a1b"}}
    begin(stage_of(assembly, "train"), 3, complete=False, document=document)
    content, text = written(assembly)
    assert content["provenance"]["weights"] == [
        {"stages": ["train"], "name": "owner/clip", "identity": "hub, revision 0a1b"}
    ]
    assert "owner/clip hub, revision 0a1b" in text


def test_the_machine_is_told_as_far_as_the_system_tells_it(tmp_path, monkeypatch):
    for number in range(2):
        card = tmp_path / f"0000:0{number}:00.0" / "information"
        card.parent.mkdir()
        card.write_text("Model: \t\t NVIDIA Imagined 100\nIRQ:   \t\t 97\n", encoding="utf-8")
    monkeypatch.setattr(provenance, "_GPUS", tmp_path)
    facts = dict(provenance.machine(open_run(tmp_path).config))
    assert facts["GPU"] == "2 x NVIDIA Imagined 100"
    monkeypatch.setattr(provenance, "_GPUS", tmp_path / "none")
    assert "GPU" not in dict(provenance.machine(open_run(tmp_path).config))


def test_a_cell_of_a_markdown_table_holds_any_text():
    text = markdown(["a | b", "c"], [["x|y\nz", "1"], ["plain", "2"]])
    assert text.splitlines() == [
        r"| a \| b |   c |",
        "| ------ | --: |",
        r"| x\|y z |   1 |",
        "| plain  |   2 |",
    ]


def test_on_what_each_stage_was_made_is_told_alike_ones_in_one_row(tmp_path):
    assembly = finished_run(tmp_path, PROMPTS[:2])
    cpu = Place("cpu", Host("Imagined CPU", 8, 16 * 2**30), "a")
    gpus = [Place("cuda", cpu.host, "a", Device("Imagined 100", 80 * 2**30), index) for index in (0, 1)]
    versions = {"clouds": "1.0", "torch": "9.1"}
    on_cpu, on_gpus = session_of([cpu], "no", versions, "abc123"), session_of(gpus, "bf16", versions, "abc123")
    begun, ended = "2026-01-01T23:59:00+00:00", "2026-01-02T00:09:30+00:00"
    for stage, found in {
        "train": [replace(on_gpus, begun=begun, ended=ended), replace(on_cpu, begun=begun, ended=ended)],
        "label-1": [replace(on_gpus, begun=begun, ended=ended)] * 2,
        "refine-1": [replace(on_gpus, begun=begun, ended=None)],
        "selftrain-1": [replace(on_gpus, begun=begun, ended=end) for end in (None, ended)],
    }.items():
        for session in found:
            begin_session(tmp_path / stage, session)
    content, text = written(assembly)
    told = {one["name"]: one["sessions"] for one in content["stages"]}
    assert [one["seconds"] for one in told["train"]] == [630, 630]
    assert told["train"][0]["devices"] == [{"name": "Imagined 100", "memory": 80 * 2**30, "count": 2}]
    assert told["train"][1]["hosts"] == [{"cpu": "Imagined CPU", "cores": 8, "memory": 16 * 2**30, "count": 1}]
    assert told["refine-1"][0]["ended"] is None and told["generate"] == []
    table = text.partition("## What the stages were made on\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table if line]
    hosts, with_ = "Imagined CPU, 8 cores, 16 GiB", "clouds 1.0 (abc123), torch 9.1"
    many = "label-1 0:21:00 in 2 sessions, refine-1 (no end on record)"
    many += ", selftrain-1 0:10:30 and more in 2 sessions"
    assert cells[:2] == [
        [f"train 0:10:30, {many}", f"2 x Imagined 100, 80 GiB; {hosts}; 2 processes", "bf16", with_],
        ["train 0:10:30", hosts, "float32", with_],
    ]
    assert cells[2][1:] == ["not recorded", "-", "-"] and cells[2][0].startswith("evaluate-train, generate, ")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    for cell in (f"2 x Imagined 100, 80 GiB; {hosts}; 2 processes", "not recorded", with_):
        assert cell in page
    assert "made on" not in written(open_run(tmp_path / "none"))[1]
