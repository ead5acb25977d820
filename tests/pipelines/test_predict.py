"""`clouds predict`: what it writes, what it makes again and what it refuses, and that SIGKILL changes nothing."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import output

import clouds as package
from clouds.data.label_maps import LABEL_MAPS
from clouds.models.segmenter import build_segmenter
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, SegmenterConfig
from clouds.models.segmenter_files import save_segmenter
from clouds.models.segmenter_folder import segmenter_classes

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
NAMES = ("road", "sky", "car")
Clouds = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def segmenters(models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two segmenters of one kind with other weights."""
    head = HeadConfig(
        channels=64, queries=6, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2,
        decoder_feedforward=32,
    )  # fmt: skip
    config = SegmenterConfig(backbone=BackboneConfig(weights=str(models / "clip")), head=head)
    folders = [tmp_path_factory.mktemp("segmenter") for _ in range(2)]
    for seed, folder in enumerate(folders):
        save_segmenter(build_segmenter(config, len(NAMES), seed=seed), folder, NAMES)
    return folders


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number, size in enumerate([(40, 60), (32, 64), (40, 60), (50, 31)]):
        write_image(tmp_path / "images" / f"{number}.png", size, number)
    write_image(tmp_path / "images" / "left" / "0.png", (33, 44), 9)
    return tmp_path / "images"


def write_image(path: Path, size: tuple[int, int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def ledger(out: Path) -> list[str]:
    return (out / "predict" / "00000" / "ledger.jsonl").read_text().splitlines()


def rows(out: Path) -> dict[str, dict[str, str]]:
    lines = (out / "predict" / "00000" / "metadata.jsonl").read_text().splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def test_labels_overlays_metadata_and_a_card(segmenters: list[Path], images: Path, tmp_path: Path, clouds: Clouds):
    out = tmp_path / "out"
    status, said, _ = clouds("predict", segmenters[0], images, "--out", out, "--short-edge", 40, "--flip")
    assert status == 0, said
    assert f"5 images labelled: {out / 'predict'}" in said
    segmenter = package.load_segmenter(segmenters[0], short_edge=40, flip=True)
    assert list(rows(out)) == ["0", "1", "2", "3", "left__0"]
    for row in rows(out).values():
        labels_HW = read(out / "predict" / "00000" / row["file_name"])
        assert labels_HW.dtype == np.uint8 and labels_HW.max() < len(NAMES)
        # sums of a batch differ by rounding: a stray pixel may
        assert (labels_HW != segmenter.predict(row["source_image"])).mean() < 0.01
        overlay_HWC = read(out / "predict" / "00000" / row["overlay_file_name"]).astype(float)
        image_HWC = read(Path(row["source_image"]))
        colors_HWC = np.array(segmenter_classes(segmenters[0]).colors)[labels_HW]
        assert np.abs(overlay_HWC - (0.45 * image_HWC + 0.55 * colors_HWC)).mean() < 6
    card = (out / "predict" / "README.md").read_text()
    assert "5 label maps" in card and "short edge 40, whole image, mean with the mirrored image" in card
    assert not (out / "predict" / "00000" / "confidence").exists()


def test_the_same_command_does_nothing_and_more_images_leave_the_others(
    segmenters: list[Path], images: Path, tmp_path: Path, clouds: Clouds
):
    out = tmp_path / "out"
    assert clouds("predict", segmenters[0], images, "--out", out)[0] == 0
    before, records = output(out), ledger(out)
    status, said, err = clouds("predict", segmenters[0], images, "--out", out, "--batch-size", 1, "--device", "cpu")
    assert status == 0 and "up to date" in err and "5 images labelled" in said
    # but for the config, which says what was asked for last
    assert {**output(out), "config.yaml": before["config.yaml"]} == before
    write_image(images / "11.png", (20, 40), 5)
    assert clouds("predict", segmenters[0], images, "--out", out)[0] == 0
    assert ledger(out)[:5] == records and len(ledger(out)) == 6
    assert set(rows(out)) == {"0", "1", "2", "3", "11", "left__0"}
    assert clouds("plan", out)[1].splitlines()[1].split() == ["predict", "up", "to", "date"]


def test_other_predictions_are_refused_and_forced(segmenters: list[Path], images: Path, tmp_path: Path, clouds: Clouds):
    out = tmp_path / "out"
    command = ("predict", segmenters[0], images, "--out", out, "--window", 32, 40)
    assert clouds(*command)[0] == 0
    before = output(out)
    for change, said in {
        ("predict", segmenters[1], *command[2:]): "input segmenter.model.safetensors",
        (*command, "--stride", 20, 20): "config stride.0: (none) -> 20",
        ("predict", segmenters[0], images / "1.png", *command[3:]): "predictions of 4 images that are not given now",
    }.items():
        status, _, err = clouds(*change)
        assert status == 2 and said in err and "--force" in err
        assert output(out) == before
    moved = segmenters[0].rename(segmenters[0].with_name("moved"))
    try:
        assert "up to date" in clouds("predict", moved, *command[2:])[2]
    finally:
        moved.rename(segmenters[0])
    assert clouds("predict", segmenters[1], *command[2:], "--force")[0] == 0
    assert not np.array_equal(read(out / "predict" / "00000" / "labels" / "0.png"), as_labels(before))


def as_labels(files: dict[str, bytes]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(files["predict/00000/labels/0.png"])))


def test_a_broken_image_is_recorded_and_the_rest_goes_on(
    segmenters: list[Path], images: Path, tmp_path: Path, clouds: Clouds
):
    out, command = tmp_path / "out", ("predict", segmenters[0], images, "--out", tmp_path / "out", "--no-overlays")
    whole = (images / "2.png").read_bytes()
    (images / "2.png").write_bytes(whole[:200])
    for _ in range(2):
        status, said, err = clouds(*command)
        assert status == 1 and "4 images labelled" in said
        assert "1 of 5 images could not be labelled" in err and "2.png is damaged or cut off" in err
        assert list(rows(out)) == ["0", "1", "3", "left__0"]
    records = ledger(out)
    (images / "2.png").write_bytes(whole)
    assert clouds(*command)[0] == 0
    assert ledger(out)[: len(records)] == records and len(ledger(out)) == len(records) + 1
    assert list(rows(out)) == ["0", "1", "2", "3", "left__0"]
    assert not (out / "predict" / "00000" / "overlays").exists()


def test_confidence_and_a_folder_that_holds_the_images(segmenters: list[Path], images: Path, clouds: Clouds):
    for _ in range(2):
        assert clouds("predict", segmenters[0], images, "--out", images, "--confidence")[0] == 0
    assert len(rows(images)) == 5
    for row in rows(images).values():
        confidence_HW = read(images / "predict" / "00000" / row["confidence_file_name"])
        assert confidence_HW.shape == read(Path(row["source_image"])).shape[:2]
        assert confidence_HW.mean() / 255 == pytest.approx(row["mean_confidence"], abs=1e-2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--scales", "0.5,x"), "'predict.scales.1' = 'x'"),
        (("--stride", 5, 5), "`stride` goes with a `window`"),
        (("--device", "gpu"), "'runtime.device' = 'gpu'"),
        (("--short-edge", 0), "'predict.short_edge' = 0"),
    ],
)
def test_wrong_use_is_named(
    segmenters: list[Path], images: Path, tmp_path: Path, clouds: Clouds, arguments: tuple[object, ...], said: str
):
    status, _, err = clouds("predict", segmenters[0], images, "--out", tmp_path / "out", *arguments)
    assert status == 2 and said in err
    assert not (tmp_path / "out").exists()


def test_what_is_no_segmenter_is_named(images: Path, tmp_path: Path, clouds: Clouds):
    status, _, err = clouds("predict", images, images, "--out", tmp_path / "out")
    assert status == 1 and f"segmenter {images}: holds no segmenter" in err


def test_a_run_predicts_with_its_last_model_in_its_colours(
    finished: Path, images: Path, tmp_path: Path, clouds: Clouds
):
    status, _, err = clouds("predict", finished, images / "3.png", "--out", tmp_path / "out")
    assert status == 0, err
    model = finished / "selftrain-1" / "model"
    assert f"segmenter: {model}" in err
    assert json.loads((model / "config.json").read_text())["extra"]["colors"]
    assert segmenter_classes(model).colors == tuple(row[1] for row in LABEL_MAPS["street11"])


def test_killed_in_the_middle_the_same_command_gives_the_same_bytes(
    segmenters: list[Path], tmp_path: Path, clouds: Clouds
):
    for number in range(14):
        write_image(tmp_path / "images" / f"{number:02d}.png", (40, 60), number)
    command = ("predict", segmenters[0], tmp_path / "images", "--batch-size", 2, "--device", "cpu", "--out")
    assert clouds(*command, tmp_path / "straight")[0] == 0
    expected, out = output(tmp_path / "straight"), tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # killed with a batch half written, with some whole, and while the last is written
    program = [sys.executable, HERE / "killed_at_files.py", out, "labels/*.png", "1,6,14", *command, out]
    done = subprocess.run(
        list(map(str, program)), env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = output(out)
    assert found.pop("config.yaml") != expected.pop("config.yaml")
    assert found == expected
