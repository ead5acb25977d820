"""Every command that prints a table prints it as Markdown and as JSON, too, alone on standard output."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_run import STAGES

Clouds = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("run", "models"),
        ("retry", "models"),
        ("evaluate", "models"),
        ("label", "models"),
        ("report", "models"),
        ("compare", "models"),
        ("plan", "stages"),
        ("status", "stages"),
        ("doctor", "weights"),
    ],
)
def test_json_and_markdown(copy_of_finished: Path, clouds: Clouds, command: str, key: str) -> None:
    status, out, _ = clouds(command, copy_of_finished, "--json")
    assert status == 0 and len(json.loads(out)[key]) > 0
    status, out, _ = clouds(command, copy_of_finished, "--format", "md")
    assert status == 0 and any(line.startswith("| --- |") or line.startswith("| ---") for line in out.splitlines())
    status, _, err = clouds(command, copy_of_finished, "--format", "md", "--json")
    assert status == 2 and "contradict each other" in err


def test_what_a_program_reads_of_a_run(copy_of_finished: Path, clouds: Clouds) -> None:
    told = json.loads(clouds("status", copy_of_finished, "--json")[1])
    assert [stage["name"] for stage in told["stages"]] == list(STAGES)
    assert told["begun"] and told["running"] is None and told["failures"] == []
    assert {stage["state"] for stage in told["stages"]} == {"complete"}
    of_generate = next(stage for stage in told["stages"] if stage["name"] == "generate")
    assert (of_generate["done"], of_generate["size"], of_generate["unit"]) == (7, 7, "image")
    plan = json.loads(clouds("plan", copy_of_finished, "--json", "--set", "label.threshold=0.5")[1])
    stages = {stage["stage"]: stage for stage in plan["stages"]}
    assert stages["generate"]["up_to_date"] and stages["generate"]["reasons"] == []
    assert not stages["label-1"]["up_to_date"] and stages["label-1"]["pending"] == stages["label-1"]["shards"] == 3
    assert any("label.threshold" in reason or "threshold" in reason for reason in stages["label-1"]["reasons"])


@pytest.mark.parametrize("width", [40, 60, 200])
def test_tables_fit_the_terminal(
    copy_of_finished: Path, clouds: Clouds, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("clouds.commands.printing.terminal_width", lambda: width)
    status, out, _ = clouds("status", copy_of_finished)
    assert status == 0
    table = [line for line in out.splitlines() if not line.startswith("run:")]
    assert max(map(len, table)) <= width
    for stage in STAGES:
        assert any(line.startswith(stage) for line in table)


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is not None, reason="detectron2 is installed")
def test_detectron2_as_labeller_is_planned_without_it_and_asked_for_before_work(
    copy_of_finished: Path, clouds: Clouds, tmp_path: Path
) -> None:
    (tmp_path / "model.yaml").write_text("MODEL: {}\n")
    torch.save({"model": {}}, tmp_path / "model.pth")
    files = {"config": str(tmp_path / "model.yaml"), "weights": str(tmp_path / "model.pth")}
    labeller = {**files, "classes": ["road", "sky"]}
    # filters that ask who labelled again cannot ask a model of detectron2
    status, _, err = clouds("plan", copy_of_finished, "--set", f"label.detectron2={json.dumps(labeller)}")
    assert status == 2 and "cannot be asked" in err
    given = ("--set", "filter=null", "--set", f"label.detectron2={json.dumps(labeller)}")
    plan = json.loads(clouds("plan", copy_of_finished, "--json", *given)[1])
    stages = {stage["stage"]: stage for stage in plan["stages"]}
    assert any("detectron2" in reason for reason in stages["label-1"]["reasons"])
    assert stages["train"]["up_to_date"] and stages["generate"]["up_to_date"]
    status, _, err = clouds("label", copy_of_finished, *given)
    assert status == 1 and "detectron2 is not installed; it is built from source: pip install" in err
    labeller["classes"] = ["road", "lighthouse"]
    status, _, err = clouds("plan", copy_of_finished, *given[:3], f"label.detectron2={json.dumps(labeller)}")
    assert status == 2 and "'label.detectron2.classes' has 'lighthouse'" in err
