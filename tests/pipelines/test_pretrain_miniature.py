"""The making of the miniature end to end, with the real classes at a tiny size: what is packed, and that it loads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from small_miniature import STAGES, miniature_config
from small_run import output, write_config

from clouds.cli import main
from clouds.engine.artifact import Artifact
from clouds.errors import CloudsError
from clouds.models.backbones import load_backbone
from clouds.models.diffusion import DiffusionConfig, DiffusionGenerator
from clouds.models.miniature import check_miniature
from clouds.models.sam_checkpoint import load_sam
from clouds.models.segmenter_config import BackboneConfig
from clouds.pretraining.recognition import THINGS

Clouds = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, with its config in `config.yaml`."""
    run_dir = tmp_path_factory.mktemp("made") / "run"
    config = write_config(run_dir.parent / "small.yaml", miniature_config(run_dir))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["clouds", "--debug", "pretrain", str(config)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return run_dir


@pytest.fixture
def copy_of_made(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def packed(made: Path) -> Path:
    return made / "package" / "miniature"


def quality(made: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made / f"appraise-{name}" / "quality" / "quality.json").read_text())
    return found


def test_every_stage_is_complete(made: Path) -> None:
    for name in STAGES:
        description = Artifact(made / name).description()
        assert description is not None and description["complete"] is True, name


def test_the_package_is_whole_and_holds_nothing_of_the_trainings(packed: Path) -> None:
    check_miniature(packed)
    listed = set(json.loads((packed / "checksums.json").read_text())["files"])
    assert {"README.md", "quality.json", "samples.png", "sam.safetensors", "diffusion/model_index.json"} <= listed
    assert {"clip/open_clip_config.json", "clip/open_clip_model.safetensors", "clip/tokenizer.json"} <= listed
    assert not any("checkpoints" in name or name.endswith(".jsonl") or "shard.json" in name for name in listed)


def test_the_packed_models_open_as_the_big_ones_do(packed: Path) -> None:
    generator = DiffusionGenerator(DiffusionConfig(weights=str(packed / "diffusion"), steps=2), "cpu")
    [image_HWC] = generator.generate(["a street at night"], [1])
    assert getattr(image_HWC, "shape", None) == (32, 64, 3)
    backbone = load_backbone(BackboneConfig(weights=str(packed / "clip")))
    assert backbone.channels == (24, 32, 48, 64)
    assert load_sam(packed / "sam.safetensors").image_encoder.img_size == 64


def test_weights_are_stored_in_half_precision_and_computed_with_in_full(packed: Path) -> None:
    from safetensors.torch import load_file

    for name in ("diffusion/unet/diffusion_pytorch_model", "clip/open_clip_model", "sam"):
        tensors = load_file(packed / f"{name}.safetensors").values()
        assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float16}, name
    generator = DiffusionGenerator(DiffusionConfig(weights=str(packed / "diffusion"), steps=2), "cpu")
    assert generator.describe()["dtype"] == "float32"


def test_the_models_that_are_packed_name_no_class(made: Path) -> None:
    for stage in ("corpus", "heldout"):
        artifact = Artifact(made / stage)
        for shard in artifact.shard_ids():
            for row in artifact.rows(shard):
                assert row.keys() == {"file_name", "id", "caption", "instances_file_name"}


def test_samples_are_of_the_first_held_out_captions(made: Path) -> None:
    samples, heldout = (
        [row for shard in Artifact(made / name).shard_ids() for row in Artifact(made / name).rows(shard)]
        for name in ("samples", "heldout")
    )
    assert len(samples) == 5
    assert [(row["id"], row["caption"]) for row in samples] == [(row["id"], row["caption"]) for row in heldout[:5]]


def test_each_model_has_its_quality(made: Path, packed: Path) -> None:
    assert quality(made, "autoencoder").keys() == {"psnr_db"}
    assert quality(made, "clip")["candidates"] == 3
    assert {"point", "points", "box"} <= quality(made, "sam").keys()
    generator = quality(made, "generator")
    assert generator.keys() == {"generated", "real", "brightness"}
    assert generator["generated"]["things"].keys() == {thing.name for thing in THINGS}
    for kind in ("generated", "real"):
        assert generator[kind]["pictures"] == 5
    named = [[one["named"] for one in generator[kind]["things"].values()] for kind in ("generated", "real")]
    assert named[0] == named[1]
    together = json.loads((packed / "quality.json").read_text())
    assert together == {name: quality(made, name) for name in ("autoencoder", "clip", "sam", "generator")}


def test_the_grid_has_a_row_per_prompt(packed: Path) -> None:
    with Image.open(packed / "samples.png") as image:
        assert image.size == (4 + 2 * 68, 4 + 2 * 50)


def test_the_card_tells_what_it_must(packed: Path) -> None:
    card = (packed / "README.md").read_text()
    for text in (
        "24 scenes of the domain `web`, numbers 0 to 23 of seed 0, 32 x 64 pixels",
        "9 scenes of the domain `web`, numbers 1000 to 1008",
        "renderer version",
        "| autoencoder |     2 |     4 |",
        "cores",
        "- sam: loss ",
        "PSNR in dB",
        "retrieval at 1",
        "mask IoU from one point",
        "traffic sign",
        "at night",
        "clouds pretrain",
        "Apache-2.0",
    ):
        assert text in card, text


def test_the_same_command_does_nothing_and_says_what_to_do(copy_of_made: Path, clouds: Clouds) -> None:
    before = output(copy_of_made)
    status, out, err = clouds("pretrain", copy_of_made)
    assert status == 0
    assert err.count("up to date") == len(STAGES)
    assert f"packed: {copy_of_made / 'package' / 'miniature'}" in out
    assert f"clouds pretrain {copy_of_made} --install" in out
    after = output(copy_of_made)
    assert {name for name in before if before[name] != after.get(name)} <= {"config.yaml"}


def test_the_package_is_installed_where_the_shipped_weights_are(
    made: Path, clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "assets" / "miniature"
    monkeypatch.setattr("clouds.models.miniature.miniature_folder", lambda: shipped)
    status, out, _ = clouds("pretrain", made, "--install")
    assert status == 0
    assert f"installed: {shipped}" in out
    check_miniature(shipped)
    assert not {"shard.json", "ledger.jsonl", "metadata.jsonl"} & {path.name for path in shipped.iterdir()}


def test_one_model_can_be_made_alone(tmp_path: Path, clouds: Clouds) -> None:
    config = write_config(tmp_path / "small.yaml", miniature_config(tmp_path / "elsewhere"))
    status, out, err = clouds("pretrain", config, "--only", "clip", "--run-dir", tmp_path / "run")
    assert status == 0, err
    assert "packed" not in out
    assert {path.name for path in (tmp_path / "run").iterdir() if path.is_dir()} == {"corpus", "clip", "report"}


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ("appraisal.sam.count=1", {"appraise-sam", "package"}),
        ("appraisal.generator.columns=1", {"appraise-generator", "package"}),
        ("samples.guidance=3", {"samples", "appraise-generator", "package"}),
        ("samples.count=4", {"samples", "appraise-generator", "package"}),
        ("judge.steps=3", {"judge", "appraise-generator", "package"}),
        ("sam_encoder.steps=3", {"sam-encoder", "sam", "appraise-sam", "package"}),
        ("clip.steps=3", {"clip", "appraise-clip", "package"}),
        ("heldout.seed=1", {*STAGES[STAGES.index("heldout") :]} - {"judge"}),
        ("package.largest_mb=30", set()),
    ],
)
def test_a_changed_value_reruns_what_it_can_affect(made: Path, clouds: Clouds, change: str, stages: set[str]) -> None:
    status, out, _ = clouds("plan", made, "--set", change)
    assert status == 0
    said = dict(line.split(maxsplit=1) for line in out.splitlines()[1:])
    assert {name for name, line in said.items() if not line.startswith("up to date")} == stages


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("heldout.first=10", "corpus and heldout share scenes"),
        ("data.sets.web.first=1003", "heldout and data.sets.web share scenes"),
        ("appraisal.clip.count=9", "appraisal.clip.count = 9"),
        ("appraisal.generator.prompts=[]", "'appraisal.generator.prompts'"),
        ("judge.data={wbe: 1}", "judge.data names the data set 'wbe'"),
    ],
)
def test_a_config_that_cannot_be(made: Path, clouds: Clouds, change: str, said: str) -> None:
    status, _, err = clouds("pretrain", made, "--set", change)
    assert status == 2
    assert said in err


def test_scenes_of_another_seed_or_domain_are_others(made: Path, clouds: Clouds) -> None:
    for change in ("heldout={first: 10, count: 9, seed: 7}", "data.sets.web={domain: fog, first: 0}"):
        status, _, err = clouds("plan", made, "--set", change)
        assert status == 0, err


def test_a_training_that_was_interrupted_tells_all_the_time_it_took(copy_of_made: Path, clouds: Clouds) -> None:
    artifact = Artifact(copy_of_made / "autoencoder")
    summary = artifact.summary("model")
    assert summary is not None
    # as a kill leaves it after the last checkpoint
    scratch = artifact.scratch_folder("model")
    scratch.parent.mkdir()
    artifact.shard_folder("model").rename(scratch)
    for name in ("shard.json", "ledger.jsonl", "metadata.jsonl"):
        (scratch / name).unlink()
    (scratch / "inputs.txt").write_text(summary.inputs)
    (scratch / "progress.json").write_text(json.dumps({"done": 2, "seconds": 5000}))
    status, _, err = clouds("pretrain", copy_of_made, "--only", "autoencoder")
    assert status == 0, err
    again = artifact.summary("model")
    assert again is not None and again.seconds > 5000
    assert again.digest == summary.digest


def test_a_package_that_is_too_large_is_refused(copy_of_made: Path, clouds: Clouds) -> None:
    change = ("--set", "package.largest_mb=0.1", "--force", "package")
    status, _, err = clouds("pretrain", copy_of_made, *change)
    assert status == 1
    assert "more than 0.1 ('package.largest_mb')" in err and "the largest file is" in err


def test_a_run_without_a_package_and_wrong_use_are_refused(clouds: Clouds, made: Path) -> None:
    status, _, err = clouds("pretrain", "demo")
    assert status == 2
    assert "no stage 'package'" in err
    assert clouds("pretrain", made, "--only", "clipp")[0] == 2
    assert clouds("pretrain", made, "--only", "clip", "--install")[0] == 2


def test_a_damaged_package_is_not_installed(copy_of_made: Path, clouds: Clouds) -> None:
    (copy_of_made / "package" / "miniature" / "sam.safetensors").write_bytes(b"cut")
    status, _, err = clouds("pretrain", copy_of_made, "--install")
    assert status == 1
    assert "sam.safetensors has 3 bytes" in err
    with pytest.raises(CloudsError):
        check_miniature(copy_of_made / "package" / "miniature")
