import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from toy_stages import Double, Make, ToyConfig

from clouds.engine.checkpoint import Checkpoint, Checkpointer
from clouds.engine.runner import Orders, run_stages
from clouds.engine.runtime import Runtime
from clouds.errors import CloudsError


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 640 KiB, and a file of 256 KiB in it that can be deleted to make space."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=640k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    (folder / "ballast").write_bytes(b"x" * 2**18)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def run(folder: Path, runtime: Runtime) -> Make:
    # a page of disk for each file: 60 of them and what belongs to them do not fit beside the ballast
    make = Make(folder, ToyConfig(count=60))
    run_stages([make, Double(folder, make, ToyConfig())], folder, runtime, Orders())
    return make


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.txt")}


def test_a_full_disk_names_the_folder_and_the_same_command_finishes_once_there_is_space(
    disk: Path, tmp_path: Path, runtime: Runtime
) -> None:
    with pytest.raises(CloudsError) as caught:
        run(disk / "run", runtime)
    assert str(disk / "run") in caught.value.message
    assert "No space left on device" in caught.value.message
    assert "free space" in caught.value.mend
    assert not (disk / "run/holder.json").exists()
    with pytest.raises(CloudsError, match="No space left on device"):
        run(disk / "run", runtime)
    done = len(list((disk / "run/make").glob("*/metadata.jsonl")))
    (disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
    again = run(disk / "run", runtime)
    assert len(again.batches) <= 2 * (12 - done), "what was done is not done again"
    run(tmp_path / "straight", runtime)
    assert files(disk / "run") == files(tmp_path / "straight")


def test_a_disk_that_is_full_from_the_start_is_said_to_be(disk: Path, runtime: Runtime) -> None:
    with pytest.raises(OSError, match="No space"), (disk / "more").open("wb") as file:
        file.write(b"x" * 2**20)
    with pytest.raises(CloudsError, match=f"{disk / 'run'}.*: No space left on device"):
        run(disk / "run", runtime)


def test_a_checkpoint_that_does_not_fit_names_its_folder_and_leaves_the_one_before(
    disk: Path, runtime: Runtime
) -> None:
    checkpointer = Checkpointer(disk / "run", runtime)
    checkpointer.save(Checkpoint(1, {"model": {"w": torch.zeros(10)}}, {}))
    with pytest.raises(CloudsError, match=f"{disk / 'run'}") as caught:
        checkpointer.save(Checkpoint(2, {"model": {"w": torch.ones(200_000)}}, {}))
    assert "free space" in caught.value.mend
    found = checkpointer.latest()
    assert found is not None
    assert found.step == 1
    checkpointer.save(Checkpoint(2, {"model": {"w": torch.ones(10)}}, {}))
    assert [path.name for path in (disk / "run").iterdir()] == ["step-00000002"]


def as_nobody(action: Callable[[], None]) -> int:
    """Do something in a child that may write only where anybody may; its exit status, 0 where it raised nothing."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            action()
            status = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def reachable(folder: Path) -> None:
    for parent in [folder, *folder.parents][:4]:
        if parent.stat().st_uid == os.getuid():
            parent.chmod(0o755)


@pytest.mark.parametrize("where", ["run", "run/new", "run/make"])
def test_a_read_only_folder_is_named(tmp_path: Path, runtime: Runtime, where: str) -> None:
    run_dir = tmp_path / "run"
    (run_dir / "make").mkdir(parents=True)
    reachable(tmp_path)
    run_dir.chmod(0o777 if where == "run/make" else 0o555)
    (run_dir / "make").chmod(0o555)

    def attempt() -> None:
        with pytest.raises(CloudsError) as caught:
            run(run_dir / "new" if where == "run/new" else run_dir, runtime)
        assert str(tmp_path / where) in caught.value.message
        assert "Permission denied" in caught.value.message
        assert "writ" in caught.value.mend

    assert as_nobody(attempt) == 0
    for folder in (run_dir, run_dir / "make"):
        folder.chmod(0o755)
    shutil.rmtree(run_dir)


def test_a_file_system_that_is_read_only_is_named(disk: Path, runtime: Runtime) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(CloudsError, match=f"run folder {disk / 'run'}: Read-only file system"):
        run(disk / "run", runtime)
