import errno
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clouds.engine import lock
from clouds.engine.lock import DEAD_AFTER_SECONDS, HOLDER, hold, holder
from clouds.errors import CloudsError


def fork(action: Callable[[], None]) -> int:
    """Do something in a child process, whose exit status is 0 where it raised nothing."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        action()
        status = 0
    finally:
        os._exit(status)


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def write_holder(run_dir: Path, **values: Any) -> Path:
    path = run_dir / HOLDER
    path.write_text(json.dumps({**lock._self(), **values}), encoding="utf-8")
    return path


def fork_and_die_holding(run_dir: Path) -> int:
    def killed() -> None:
        with hold(run_dir):
            os.kill(os.getpid(), signal.SIGKILL)

    return fork(killed)


def test_a_folder_is_held_for_the_length_of_the_block(tmp_path: Path) -> None:
    run_dir = tmp_path / "deep/run"
    with hold(run_dir):
        found = holder(run_dir)
        assert found is not None
        assert (found["pid"], found["host"]) == (os.getpid(), socket.gethostname())
        assert os.listdir(run_dir) == [HOLDER]
    assert holder(run_dir) is None
    assert os.listdir(run_dir) == []


def test_the_second_is_told_who_the_first_is_and_disturbs_nothing(tmp_path: Path) -> None:
    with hold(tmp_path):
        before = (tmp_path / HOLDER).read_bytes()

        def second() -> None:
            with pytest.raises(CloudsError) as caught, hold(tmp_path):
                pass
            assert f"process {os.getppid()} on {socket.gethostname()}, since 2" in caught.value.message
            assert str(tmp_path) in caught.value.message

        assert status_of(fork(second)) == 0
        assert (tmp_path / HOLDER).read_bytes() == before
        assert os.listdir(tmp_path) == [HOLDER]


def test_a_holder_that_was_killed_is_recognised(tmp_path: Path) -> None:
    assert status_of(fork_and_die_holding(tmp_path)) == -signal.SIGKILL
    assert (tmp_path / HOLDER).exists()
    assert holder(tmp_path) is None
    with hold(tmp_path):
        assert holder(tmp_path) is not None
    assert os.listdir(tmp_path) == []


def test_a_process_that_was_given_a_dead_ones_number_is_not_taken_for_it(tmp_path: Path) -> None:
    write_holder(tmp_path, started="1")
    assert holder(tmp_path) is None
    with hold(tmp_path):
        pass


def test_a_zombie_holds_nothing(tmp_path: Path) -> None:
    pid = fork_and_die_holding(tmp_path)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{pid}").exists()
    assert holder(tmp_path) is None
    os.waitpid(pid, 0)


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"boot": "before the last start"}])
def test_a_holder_that_cannot_be_asked_lives_as_long_as_its_heart_beats(tmp_path: Path, change: dict[str, str]) -> None:
    path = write_holder(tmp_path, **change)
    with pytest.raises(CloudsError, match="is held by another run"), hold(tmp_path):
        pass
    os.utime(path, (0, time.time() - DEAD_AFTER_SECONDS - 1))
    assert holder(tmp_path) is None
    with hold(tmp_path):
        pass


def test_the_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.01)
    with hold(tmp_path):
        os.utime(tmp_path / HOLDER, (0, 0))
        deadline = time.time() + 10
        while (tmp_path / HOLDER).stat().st_mtime == 0:
            assert time.time() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"pid": 1}'])
def test_a_damaged_holder_file_counts_as_alive_only_while_it_is_fresh(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / HOLDER
    path.write_bytes(content)
    with pytest.raises(CloudsError, match="not named yet"), hold(tmp_path):
        pass
    os.utime(path, (0, 0))
    with hold(tmp_path):
        assert holder(tmp_path) is not None


def test_a_holder_that_lost_the_folder_leaves_the_next_ones_claim_alone(tmp_path: Path) -> None:
    with hold(tmp_path):
        path = write_holder(tmp_path, host="elsewhere")
    assert path.exists()


@pytest.mark.parametrize("dead", [True, False])
def test_of_many_that_race_for_a_folder_one_wins(tmp_path: Path, dead: bool) -> None:
    for number in range(15):
        run_dir = tmp_path / str(number)
        run_dir.mkdir()
        if dead:
            write_holder(run_dir, started="1")
        start, (answers, answer), (wait, end) = time.time() + 0.01, os.pipe(), os.pipe()

        def race(run_dir: Path = run_dir, start: float = start, answer: int = answer, wait: int = wait) -> None:
            while time.time() < start:
                pass
            try:
                with hold(run_dir):
                    os.write(answer, b"1")
                    os.read(wait, 1)
            except CloudsError as error:
                os.write(answer, b"0" if "is held by another run: process" in str(error) else b"?")

        children = [fork(race) for _ in range(4)]
        assert sorted(os.read(answers, 1) for _ in children) == [b"0", b"0", b"0", b"1"]
        os.write(end, b"x" * len(children))
        assert [status_of(pid) for pid in children] == [0] * 4
        assert os.listdir(run_dir) == []
        for handle in (answers, answer, wait, end):
            os.close(handle)


def test_a_claim_killed_at_any_file_operation_does_not_bar_the_next(tmp_path: Path) -> None:
    killed_at = 0
    for operation in range(1, 100):
        run_dir = tmp_path / str(operation)
        run_dir.mkdir()
        write_holder(run_dir, started="1")

        def killed(run_dir: Path = run_dir, operation: int = operation) -> None:
            kill_at(operation)
            with hold(run_dir):
                pass

        if status_of(fork(killed)) == 0:
            break
        killed_at = operation
        with hold(run_dir):
            assert os.listdir(run_dir) == [HOLDER], f"killed at operation {operation}"
        assert os.listdir(run_dir) == []
    assert 5 < killed_at < 99


def kill_at(operation: int) -> None:
    """Kill this process just before its nth file operation."""
    left = [operation]

    def hook(event: str, _: tuple[object, ...]) -> None:
        if event == "open" or event.startswith("os."):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def test_without_links_the_claim_still_goes_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write_holder(tmp_path, started="1")
    with hold(tmp_path):
        assert holder(tmp_path) is not None
        with pytest.raises(CloudsError, match=f"process {os.getpid()}"), hold(tmp_path):
            pass
    assert os.listdir(tmp_path) == []


def test_a_run_folder_that_cannot_be_made_is_named_with_a_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CloudsError, match="file/run: Not a directory") as caught, hold(tmp_path / "file/run"):
        pass
    assert "run_dir" in caught.value.mend
