"""Online self-training through the command line: in the place of label and refine, on photographs, on bad input."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file
from small_run import online_config, small_config, write_config

from clouds.config import validate
from clouds.engine.artifact import Artifact
from clouds.engine.runtime import Runtime
from clouds.engine.settings import RuntimeConfig
from clouds.models.segmenter_files import load_segmenter
from pipelines.full import Config, build

Clouds = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(RuntimeConfig(device="cpu"))


@pytest.fixture
def before_rounds(finished: Path, tmp_path: Path) -> Path:
    """A run that has everything up to the generated images."""
    run_dir = Path(shutil.copytree(finished, tmp_path / "run"))
    for name in ("label-1", "refine-1", "selftrain-1", "evaluate-selftrain-1", "report"):
        shutil.rmtree(run_dir / name)
    return run_dir


def photographs(folder: Path, count: int = 3) -> dict[str, Any]:
    """A data set of images in a folder, without labels."""
    (folder / "photos").mkdir(parents=True)
    for number in range(count):
        Image.radial_gradient("L").resize((64, 32)).convert("RGB").rotate(17 * number).save(
            folder / "photos" / f"{number}.png"
        )
    return {"type": "folder", "root": str(folder), "images": "photos", "labels": None}


def test_a_teacher_takes_the_place_of_two_stages(
    models: Path, before_rounds: Path, tmp_path: Path, clouds: Clouds
) -> None:
    config = write_config(tmp_path / "c.yaml", online_config(models, before_rounds))
    status, out, _ = clouds("plan", config)
    assert status == 0
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert [name for name in names if name[-1] == "1"] == ["selftrain-1", "evaluate-selftrain-1"]
    assert "generate" in names
    status, _, err = clouds("run", config)
    assert status == 0, err
    assert Artifact(before_rounds / "selftrain-1").description()["complete"] is True  # type: ignore[index]
    folder = before_rounds / "selftrain-1" / "model"
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert lines[-1].keys() >= {"loss", "contrast", "trusted"}
    assert any(line["trusted"] > 0 for line in lines)
    assert {path.name for path in folder.glob("checkpoints/*/*")} >= {"follower.safetensors", "average.safetensors"}
    # what weighs the contrast is no part of the segmenter
    assert not any("weigher" in name for name in load_file(folder / "model.safetensors"))
    load_segmenter(folder)
    assert (before_rounds / "evaluate-selftrain-1" / "scores.json").is_file()
    assert "selftrain-1" in (before_rounds / "report" / "index.html").read_text()
    assert clouds("plan", config)[1].count("up to date") == len(names)


def test_another_sam_rule_or_threshold_trains_again(
    models: Path, before_rounds: Path, tmp_path: Path, clouds: Clouds
) -> None:
    config = write_config(tmp_path / "c.yaml", online_config(models, before_rounds))
    assert clouds("run", config, "--until", "selftrain-1")[0] == 0

    def said(*changes: str) -> str:
        options = [part for change in changes for part in ("--set", change)]
        lines = clouds("plan", config, *options)[1].splitlines()
        return next(line for line in lines if line.startswith("selftrain-1"))

    assert "up to date" in said("refine.batch_size=4", "selftrain.checkpoint_every=1")
    assert "min_agreement" in said("refine.rule.min_agreement=0.9")
    assert "threshold" in said("selftrain.online.threshold=0.5")
    assert "up to date" not in said("selftrain.online.teacher.every=100")


NO_PAINT = {"repaint": None, "adapt": None, "generate": None}


def test_photographs_alone_need_neither_a_generator_nor_a_sam(
    models: Path, before_rounds: Path, tmp_path: Path, clouds: Clouds
) -> None:
    tree = online_config(models, before_rounds, refine_every=None, unlabelled={"photos": 1.0})
    tree["data"]["sets"]["photos"] = photographs(tmp_path / "bare")
    config = write_config(tmp_path / "c.yaml", {**tree, **NO_PAINT, "refine": None})
    status, _, err = clouds("selftrain", config)
    assert status == 0, err
    assert "photos" in (before_rounds / "selftrain-1" / "stage.json").read_text()
    # another photograph is another training
    shutil.copy(tmp_path / "bare" / "photos" / "0.png", tmp_path / "bare" / "photos" / "9.png")
    line = next(line for line in clouds("plan", config)[1].splitlines() if line.startswith("selftrain-1"))
    assert "up to date" not in line


@pytest.mark.parametrize("make", [small_config, online_config])
def test_the_dice_factor_is_for_guessed_labels_only(
    models: Path, copy_of_finished: Path, runtime: Runtime, make: Callable[..., dict[str, Any]]
) -> None:
    tree = make(models, copy_of_finished)
    tree["selftrain"]["generated_dice"] = 0.25
    [stage] = [stage for stage in build(validate(Config, tree, "small")) if stage.name == "selftrain-1"]
    worker: Any = stage.prepare(runtime)
    sources = [*worker.sources, *(worker.online.sources if worker.online else ())]
    assert {source.dataset.name: source.dice for source in sources} == {
        "source": 1.0, "repainted": 1.0, "generated": 0.25
    }  # fmt: skip


NOTHING = {"unlabelled": {}, "refine_every": None}


@pytest.mark.parametrize(
    ("online", "changes", "status", "said"),
    [
        (NOTHING, NO_PAINT, 2, ["nothing unlabelled", "give `generate`", "`selftrain.online.unlabelled`"]),
        ({"refine_every": 3}, {"refine": None}, 2, ["selftrain.online.refine_every", "asks for a SAM", "`refine`"]),
        (
            {},
            {"filter": {"filters": [{"type": "sam_agreement"}]}},
            2,
            ["`filter` judges the labels of a round", "`threshold` and `weighting`"],
        ),
        ({"unlabelled": {"fogg": 1.0}}, {}, 2, ["selftrain.online.unlabelled", "'fogg'", "fog"]),
        ({"weighting": "image", "threshold": 0}, {}, 2, ["selftrain.online", "`threshold` above 0"]),
        ({"weightin": "image"}, {}, 2, ["selftrain.online.weightin", "did you mean 'weighting'"]),
        ({"teacher": {"every": 0}}, {}, 2, ["'selftrain.online.teacher.every' = 0"]),
        ({"contrast": {"temperature": 0}}, {}, 2, ["'selftrain.online.contrast.temperature' = 0"]),
    ],
)
def test_what_cannot_be_is_named(
    models: Path, tmp_path: Path, clouds: Clouds, online: Any, changes: Any, status: int, said: list[str]
) -> None:
    tree = online_config(models, tmp_path / "run", **online)
    found, _, err = clouds("plan", write_config(tmp_path / "c.yaml", {**tree, **changes}))
    assert found == status, err
    assert "Traceback" not in err
    for part in said:
        assert part in err


@pytest.mark.parametrize("name", ["generate", "refine"])
def test_rounds_without_what_they_need_name_it(models: Path, tmp_path: Path, clouds: Clouds, name: str) -> None:
    tree = small_config(models, tmp_path / "run", repaint=None, adapt=None)
    del tree[name]
    found, _, err = clouds("plan", write_config(tmp_path / "c.yaml", tree))
    assert found == 2 and f"'{name}' is missing" in err and "selftrain.online" in err


def test_a_contrast_in_parts_of_a_batch_is_refused(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    tree = online_config(models, tmp_path / "run")
    tree["selftrain"]["images_at_once"] = 1
    found, _, err = clouds("plan", write_config(tmp_path / "c.yaml", tree))
    assert found == 2 and "online.contrast" in err and "set `images_at_once` to null" in err


def test_a_target_folder_without_images_is_named(models: Path, tmp_path: Path, clouds: Clouds) -> None:
    tree = online_config(models, tmp_path / "run", unlabelled={"photos": 1.0})
    tree["data"]["sets"]["photos"] = photographs(tmp_path / "bare", count=0)
    found, _, err = clouds("run", write_config(tmp_path / "c.yaml", tree))
    assert found == 1
    assert "data set 'photos'" in err and "no files of kind" in err and str(tmp_path / "bare" / "photos") in err
