"""Repainting labelled images: each keeps its labels, says where it came from, and fails alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_run import small_config, write_config

from clouds.data.images import read_image, read_labels, write_image, write_labels
from clouds.data.world import render_scene
from clouds.engine.artifact import Artifact

Clouds = Callable[..., tuple[int, str, str]]


def rows_of(run_dir: Path) -> list[dict[str, Any]]:
    artifact = Artifact(run_dir / "repaint")
    return [{**row, "folder": artifact.shard_folder(id_)} for id_ in artifact.shard_ids() for row in artifact.rows(id_)]


def number_of(row: dict[str, Any]) -> int:
    """The number of the image it was."""
    return int(row["source"].rpartition("-")[2])


def test_each_image_keeps_the_labels_of_the_one_it_was(finished: Path) -> None:
    rows = rows_of(finished)
    assert [row["id"] for row in rows] == [f"{number:06d}" for number in range(5)]
    # each of the six images once, before any comes twice
    assert len({row["source"] for row in rows}) == 5
    assert len({row["seed"] for row in rows}) == 5
    for row in rows:
        scene = render_scene("source", number_of(row), height=32, width=64)
        assert row["source"] == f"source-{number_of(row):06d}"
        assert np.array_equal(read_labels(row["folder"] / row["labels_file_name"]), scene.labels_HW)
        painted_HWC = read_image(row["folder"] / row["file_name"])
        assert painted_HWC.shape == scene.image_HWC.shape
        assert not np.array_equal(painted_HWC, scene.image_HWC)
        assert row["prompt"].startswith("a street in ")
        assert (row["strength"], row["pipeline"]) == (0.65, "StableDiffusionImg2ImgPipeline")
        assert len(row["weights"]["sha256"]) == 64


def test_more_images_leave_those_that_are_made(copy_of_finished: Path, clouds: Clouds) -> None:
    before = {row["id"]: (row["folder"] / row["file_name"]).read_bytes() for row in rows_of(copy_of_finished)}
    assert clouds("repaint", copy_of_finished, "--set", "repaint.count=7")[0] == 0
    rows = rows_of(copy_of_finished)
    assert len(rows) == 7
    assert len({row["source"] for row in rows[:6]}) == 6
    assert rows[6]["source"] in {row["source"] for row in rows[:6]}
    for row in rows[:5]:
        assert (row["folder"] / row["file_name"]).read_bytes() == before[row["id"]]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four labelled images of twice the generator's size."""
    for folder in ("images", "labels"):
        (tmp_path / "pictures" / folder).mkdir(parents=True)
    for number in range(4):
        scene = render_scene("source", number, height=64, width=128)
        write_image(tmp_path / f"pictures/images/{number}.png", scene.image_HWC)
        write_labels(tmp_path / f"pictures/labels/{number}.png", scene.labels_HW)
    return tmp_path / "pictures"


def of_pictures(models: Path, pictures: Path, tmp_path: Path) -> Path:
    tree = small_config(models, tmp_path / "run")
    tree["data"]["sets"]["mine"] = {"type": "folder", "root": str(pictures), "classes": "street11"}
    tree["repaint"] = {"data": "mine", "count": 4, "strength": 0.5}
    return write_config(tmp_path / "mine.yaml", tree)


def test_labels_come_to_the_size_of_the_image(models: Path, pictures: Path, tmp_path: Path, clouds: Clouds) -> None:
    assert clouds("repaint", of_pictures(models, pictures, tmp_path))[0] == 0
    for row in rows_of(tmp_path / "run"):
        labels_HW = read_labels(row["folder"] / row["labels_file_name"])
        assert labels_HW.shape == read_image(row["folder"] / row["file_name"]).shape[:2] == (32, 64)
        with Image.open(pictures / "labels" / f"{number_of(row)}.png") as whole:
            expected_HW = np.array(whole.resize((64, 32), Image.Resampling.NEAREST))
        assert np.array_equal(labels_HW, expected_HW)


@pytest.mark.parametrize("broken", ["images", "labels"])
def test_a_broken_file_is_recorded_and_retried_alone(
    models: Path, pictures: Path, tmp_path: Path, clouds: Clouds, broken: str
) -> None:
    path = pictures / broken / "2.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    config = of_pictures(models, pictures, tmp_path)
    assert clouds("repaint", config)[0] == 0
    rows = rows_of(tmp_path / "run")
    assert sorted(number_of(row) for row in rows) == [0, 1, 3]
    _, out, _ = clouds("status", config)
    assert "failed: repaint/" in out and "2.png" in out
    path.write_bytes(whole)
    made = {row["id"]: (row["folder"] / row["file_name"]).read_bytes() for row in rows}
    assert clouds("repaint", config)[0] == 0
    again = rows_of(tmp_path / "run")
    assert sorted(number_of(row) for row in again) == [0, 1, 2, 3]
    kept = {row["id"]: (row["folder"] / row["file_name"]).read_bytes() for row in again if row["id"] in made}
    assert kept == made


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"repaint": {"data": "sauce"}}, ["repaint.data", "'sauce'", "source"]),
        ({"repaint": {"data": "source", "strength": 0}}, ["repaint.strength", "0"]),
        ({"repaint": {"data": "source", "strength": 0.3}}, ["strength (0.3)", "2 steps"]),
        ({"repaint": None}, ["adapt", "repaint"]),
        ({"rounds": 0, "adapt": None}, ["nothing learns from repainted images"]),
        ({"adapt": {"data": {"source": 1.0}, "steps": 2, "generated_weight": 7}}, ["adapt.generated_weight"]),
    ],
)
def test_bad_values_are_explained(
    models: Path, tmp_path: Path, clouds: Clouds, changes: dict[str, Any], said: list[str]
) -> None:
    config = write_config(tmp_path / "bad.yaml", small_config(models, tmp_path / "run", **changes))
    status, _, err = clouds("plan", config)
    assert status == 2
    assert all(part in err for part in said), err


def test_a_set_without_labels_is_refused_before_anything_is_painted(
    models: Path, pictures: Path, tmp_path: Path, clouds: Clouds
) -> None:
    config = of_pictures(models, pictures, tmp_path)
    status, _, err = clouds("repaint", config, "--set", "data.sets.mine.labels=null")
    assert status == 2
    assert "has no labels" in err
    assert not (tmp_path / "run" / "repaint").exists()


def test_a_balance_of_its_own_keeps_the_grammar(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    config = write_config(tmp_path / "some.yaml", small_config(models, tmp_path / "run"))
    assert clouds("repaint", config, "--set", "repaint.prompts.balance=[place]", "--set", "repaint.count=6")[0] == 0
    prompts = sorted(row["prompt"] for row in rows_of(tmp_path / "run"))
    assert prompts == sorted([f"a street in {place}" for place in ("fog", "rain", "town")] * 2)


def test_a_file_of_its_own_takes_the_place_of_the_grammar(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    (tmp_path / "prompts.txt").write_text("a lane in fog\n")
    config = write_config(tmp_path / "some.yaml", small_config(models, tmp_path / "run"))
    assert clouds("repaint", config, "--set", f"repaint.prompts.file={tmp_path / 'prompts.txt'}")[0] == 0
    assert {row["prompt"] for row in rows_of(tmp_path / "run")} == {"a lane in fog"}


def test_the_report_shows_before_after_and_labels(copy_of_finished: Path, clouds: Clouds) -> None:
    report = copy_of_finished / "report" / "index.html"
    for picture in ("Labelled image", "Repainted image", "Labels of both"):
        assert report.read_text(encoding="utf-8").count(f'alt="{picture}') == 5
    (copy_of_finished / "repaint" / "00000" / "000001.png").write_bytes(b"cut")
    assert clouds("report", copy_of_finished)[0] == 0
    page = report.read_text(encoding="utf-8")
    assert page.count('alt="Repainted image') == 4
    assert "No picture: " in page


def test_its_card_tells_what_it_is(finished: Path) -> None:
    card = (finished / "repaint" / "README.md").read_text(encoding="utf-8")
    assert "labelled images painted anew" in card and "- strength: 0.65" in card and "| bicycle |" in card


def test_without_it_the_rounds_begin_at_once(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    tree = small_config(models, tmp_path / "run", repaint=None, adapt=None)
    _, out, _ = clouds("plan", write_config(tmp_path / "plain.yaml", tree))
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert names[:5] == ["train", "evaluate-train", "generate", "judge-prompt", "label-1"]


def test_what_it_does_not_say_is_as_generated(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    changes = {"repaint": {"data": "source", "guidance": 3.5, "count": 2}, "adapt": None}
    config = write_config(tmp_path / "some.yaml", small_config(models, tmp_path / "run", **changes))
    assert clouds("repaint", config)[0] == 0
    rows = rows_of(tmp_path / "run")
    assert {(row["guidance"], row["steps"], row["model"]) for row in rows} == {(3.5, 2, "diffusion")}
