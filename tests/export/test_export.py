"""What holds for every format: it goes on where it was stopped, overwrites nothing, and says what cannot be."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from made_images import content, export, made_run, opened

from clouds.data.images import write_labels
from clouds.engine.atomic import read_json
from clouds.engine.lock import hold
from clouds.errors import CloudsError, InputError, UsageError
from clouds.export.parts import Splits, survey
from clouds.export.registry import FORMATS

ROOT = Path(__file__).parents[2]


class Crash(BaseException):
    """What no code catches."""


@pytest.fixture
def crash(monkeypatch):
    """Lets so many files appear under their final name, and no more."""
    rename = os.replace

    def allow(count: int) -> None:
        left = [count]

        def rename_or_crash(source, target):
            if left[0] == 0:
                raise Crash
            left[0] -= 1
            rename(source, target)

        monkeypatch.setattr("os.replace", rename_or_crash)

    yield allow
    monkeypatch.setattr("os.replace", rename)


def without_paths(folder):
    """Every file but the one that names the folder it lies in."""
    return {name: data for name, data in content(folder).items() if name != "dataset.py"}


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_stopped_anywhere_ends_with_the_same_bytes(tmp_path, crash, monkeypatch, name):
    monkeypatch.setattr("clouds.export.run.TREE_ITEMS", 2)
    monkeypatch.setattr("clouds.export.run.SHARD_ITEMS", 2)
    images = opened(made_run(tmp_path / "run", 5))
    export(images, name, tmp_path / "whole", share=0.4)
    crashes = 0
    for allowed in range(100):
        crash(allowed)
        try:
            export(images, name, tmp_path / "stopped", share=0.4)
            break
        except Crash:
            crashes += 1
            assert not (read_json(tmp_path / "stopped" / "export.json") or {}).get("complete")
    assert crashes >= 4
    assert without_paths(tmp_path / "stopped") == without_paths(tmp_path / "whole")
    assert ".export" not in os.listdir(tmp_path / "stopped")


def test_what_is_whole_is_not_written_again(tmp_path, crash, monkeypatch, images):
    monkeypatch.setattr("clouds.export.run.TREE_ITEMS", 2)
    # what the export is; five of the first part, two of the second
    crash(8)
    with pytest.raises(Crash):
        export(images, "imagefolder", tmp_path / "out")
    done = {json.loads(line)["id"] for line in (tmp_path / "out/.export/parts.jsonl").read_text().splitlines()}
    before = {path: path.stat().st_ino for path in (tmp_path / "out" / "train" / "images").rglob("*.png")}
    assert done == {"train-00000"} and len(before) == 3
    crash(1000)
    export(images, "imagefolder", tmp_path / "out")
    for path, inode in before.items():
        assert (path.stat().st_ino == inode) == (path.stem in ("000000", "000001"))


def test_several_processes_killed_in_the_middle(tmp_path):
    """With SIGKILL: no worker is left, and going on in one process gives the bytes of one that never stopped."""
    run = made_run(tmp_path / "run", 140, shard_items=100)
    export(opened(run), "coco-panoptic", tmp_path / "one", share=0.2)
    command = [sys.executable, "-m", "clouds", "export", str(run), "--format", "coco-panoptic"]
    command += ["--out", str(tmp_path / "two"), "--val-share", "0.2", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    records = tmp_path / "two" / ".export" / "parts.jsonl"
    deadline = time.monotonic() + 60
    while not (records.exists() and records.stat().st_size) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (read_json(tmp_path / "two" / "export.json") or {}).get("complete")
    while group_lives(process.pid):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.02)
    export(opened(run), "coco-panoptic", tmp_path / "two", share=0.2)
    assert content(tmp_path / "two") == content(tmp_path / "one")


def group_lives(group):
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            return True
    return False


def test_ctrl_c_says_that_the_same_command_goes_on(clouds, run, tmp_path, monkeypatch):
    monkeypatch.setattr("clouds.export.run.parts_of", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    status, _, err = clouds("export", run, "--format", "mmseg", "--out", tmp_path / "out")
    assert status == 130 and "the same command goes on from here" in err


def test_a_finished_export_is_up_to_date(clouds, run, tmp_path):
    arguments = ("export", run, "--format", "imagefolder", "--out", tmp_path / "out")
    assert clouds(*arguments)[:2] == (0, f"exported: {tmp_path / 'out'} (7 train)\n")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert clouds(*arguments)[:2] == (0, f"up to date: {tmp_path / 'out'} (7 train)\n")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_another_export_is_overwritten_with_force_only(images, tmp_path):
    export(images, "imagefolder", tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(UsageError, match="holds another export: val_share was 0.0, now 0.5"):
        export(images, "imagefolder", tmp_path / "out", share=0.5)
    with pytest.raises(UsageError, match="format was 'imagefolder', now 'mmseg'"):
        export(images, "mmseg", tmp_path / "out")
    assert content(tmp_path / "out") == before
    export(images, "mmseg", tmp_path / "out", force=True)
    assert {name.split("/")[0] for name in content(tmp_path / "out")} == {
        *("README.md", "export.json", "metadata.jsonl", "dataset.py", "img_dir", "ann_dir")
    }


def test_a_crash_while_discarding_leaves_nothing_that_counts(images, tmp_path, monkeypatch):
    export(images, "imagefolder", tmp_path / "out")

    def fail(path):
        raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr("clouds.export.folder._remove", fail)
        export(images, "mmseg", tmp_path / "out", force=True)
    export(images, "mmseg", tmp_path / "out")
    assert "train" not in os.listdir(tmp_path / "out")


def test_an_artifact_that_changed_is_another_export(tmp_path):
    run = made_run(tmp_path / "run", 3)
    export(opened(run), "mmseg", tmp_path / "out")
    content_of_stage = read_json(run / "refine-1" / "stage.json")
    (run / "refine-1" / "stage.json").write_text(json.dumps({**content_of_stage, "edition": 1}))
    with pytest.raises(UsageError, match="holds another export: content was"):
        export(opened(run), "mmseg", tmp_path / "out")


def test_what_no_export_made_is_never_discarded(images, tmp_path):
    out = tmp_path / "out"
    export(images, "imagefolder", out)
    (out / "notes").mkdir()
    (out / "notes" / "thesis.txt").write_text("mine")
    for again in ("mmseg", "imagefolder"):
        with pytest.raises(UsageError, match="notes is in it, which no export made"):
            export(images, again, out, force=True)
    assert export(images, "imagefolder", out) == []
    assert (out / "notes" / "thesis.txt").read_text() == "mine"


def test_an_export_that_lost_something_is_not_up_to_date(images, tmp_path):
    out = tmp_path / "out"
    export(images, "imagefolder", out)
    whole = {path.relative_to(out) for path in out.rglob("*")}
    lost = next(path for path in sorted(out.iterdir()) if path.is_dir() and not path.name.startswith("."))
    shutil.rmtree(lost)
    with pytest.raises(UsageError, match=f"{lost.name} of the export is gone"):
        export(images, "imagefolder", out)
    export(images, "imagefolder", out, force=True)
    assert {path.relative_to(out) for path in out.rglob("*")} == whole


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_someone_elses_is_refused(images, tmp_path, force):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not empty, and not an export of this tool"):
        export(images, "imagefolder", tmp_path / "out", force=force)
    assert content(tmp_path / "out") == {"thesis.txt": b"years of work"}
    with pytest.raises(UsageError, match="is a file"):
        export(images, "imagefolder", tmp_path / "out" / "thesis.txt", force=force)
    with pytest.raises(UsageError, match=r"thesis.txt/more: (Not a directory|File exists)"):
        export(images, "imagefolder", tmp_path / "out" / "thesis.txt" / "more", force=force)
    with pytest.raises(UsageError, match=r"lies in the artifact .*refine-1"):
        export(images, "imagefolder", images.artifact.folder / "exported" / "here", force=force)


def test_two_exports_to_one_folder(images, tmp_path):
    with hold(tmp_path / "out" / ".export"), pytest.raises(CloudsError, match=f"process {os.getpid()} on"):
        export(images, "imagefolder", tmp_path / "out")
    export(images, "imagefolder", tmp_path / "out")


def test_an_export_that_came_in_between_is_kept(images, tmp_path, monkeypatch):
    def survey_slowly(*arguments):
        monkeypatch.setattr("clouds.export.run.survey", survey)
        export(images, "mmseg", tmp_path / "out")
        return survey(*arguments)

    monkeypatch.setattr("clouds.export.run.survey", survey_slowly)
    with pytest.raises(UsageError, match="holds another export: format was 'mmseg'"):
        export(images, "imagefolder", tmp_path / "out")
    export(images, "mmseg", tmp_path / "other")
    kept = {name: data for name, data in without_paths(tmp_path / "out").items() if not name.startswith(".export/")}
    assert kept == without_paths(tmp_path / "other")


def test_missing_images_are_counted_before_anything_is_written(tmp_path):
    run = made_run(tmp_path / "run", 7)
    for index in (1, 4, 5, 6):
        (run / "generate" / f"{index // 3:05d}" / f"{index:06d}.png").unlink()
    with pytest.raises(InputError, match=r"4 of its files are missing: .*000001.png, .*000004.png, .* and 1 more"):
        export(opened(run), "imagefolder", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_id_that_is_no_class_stops_the_export_and_is_named(tmp_path, monkeypatch, workers):
    monkeypatch.setattr("clouds.export.run.TREE_ITEMS", 2)
    run = made_run(tmp_path / "run", 5)
    labels = run / "refine-1" / "00001" / "000003.png"
    whole = labels.read_bytes()
    labels_HW = np.zeros((17, 31), np.uint8)
    labels_HW[3, 4] = 77
    write_labels(labels, labels_HW)
    with pytest.raises(InputError, match=r"000003.png hold ids that are no class .*: 77 \(1 pixels\)"):
        export(opened(run), "ade20k", tmp_path / "out", workers=workers)
    labels.write_bytes(whole)
    export(opened(run), "ade20k", tmp_path / "out", workers=workers)
    export(opened(run), "ade20k", tmp_path / "other")
    assert content(tmp_path / "out") == content(tmp_path / "other")


def test_labels_of_another_size_than_their_image(tmp_path):
    run = made_run(tmp_path / "run", 2)
    write_labels(run / "refine-1" / "00000" / "000001.png", np.zeros((5, 6), np.uint8))
    with pytest.raises(InputError, match=r"000001.png are 6x5 pixels"):
        export(opened(run), "imagefolder", tmp_path / "out")


def test_an_id_that_comes_twice(tmp_path):
    run = made_run(tmp_path / "run", 5)
    rows = run / "refine-1" / "00001" / "metadata.jsonl"
    rows.write_text(rows.read_text().replace('"id": "000003"', '"id": "000001"'))
    with pytest.raises(CloudsError, match="an item id comes twice"):
        export(opened(run), "imagefolder", tmp_path / "out")


def test_a_package_that_is_missing_is_named_with_its_command(images, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"(?s)parquet needs pyarrow, which is not.*pip install 'clouds-segmentation\[export\]'"
    ):
        export(images, "parquet", tmp_path / "out")


def test_a_full_disk_is_told_with_what_to_do(images, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("shutil.copyfile", full)
    monkeypatch.setattr("clouds.export.files._reflinked", lambda *_: False)
    with pytest.raises(CloudsError, match=r"(?s)No space left on device.*what is done is kept"):
        export(images, "imagefolder", tmp_path / "out")


def test_failed_images_are_left_out_and_counted(tmp_path):
    run = made_run(tmp_path / "run", 5, failed=2)
    export(opened(run), "imagefolder", tmp_path / "out")
    assert len((tmp_path / "out/train/metadata.jsonl").read_text().splitlines()) == 3
    assert "2 more failed in the run" in (tmp_path / "out/README.md").read_text()


def test_splits_depend_on_the_id_alone(tmp_path):
    few, many = (made_run(tmp_path / str(count), count) for count in (4, 8))
    splits = Splits(val_share=0.3)
    of = [{sample.id: splits.of(sample.id) for sample in opened(run).samples()} for run in (few, many)]
    assert of[0].items() <= of[1].items()
    shares = [Splits(val_share=0.1).of(f"{index:06d}") == "val" for index in range(10_000)]
    assert 0.09 < np.mean(shares) < 0.11


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "parquett"], ["'parquett'", "did you mean 'parquet'?", "yolo-seg", "fiftyone"]),
        (["--format", "xyz"], ["no such format", "formats of labelled images: imagefolder, parquet"]),
        (["--format", "detectron2"], ["there is nothing to write", "from clouds.export.detectron2 import register"]),
        (["--format", "mmseg", "--val-share", "1.5"], ["--val-share 1.5"]),
        (["--format", "mmseg", "--split", "a/b"], ["--split 'a/b'"]),
        (["--format", "mmseg", "--split", "val", "--val-share", "0.1"], ["both would be named val"]),
        (["--format", "mmseg", "--workers", "-1"], ["--workers"]),
        (["--format", "coco-rle", "--things", "persn"], ["--things persn", "did you mean 'person'?"]),
    ],
)
def test_wrong_use(clouds, run, tmp_path, arguments, said):
    status, _, err = clouds("export", run, "--out", tmp_path / "out", *arguments)
    assert status == 2 and "Traceback" not in err
    assert all(text in err for text in said)
    assert not (tmp_path / "out").exists()
