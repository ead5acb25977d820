import contextlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from clouds.engine.archive import write_zip
from clouds.engine.atomic import (
    publish_folder,
    read_json,
    subfolders,
    write_atomic,
    write_json,
    write_pieces,
)
from clouds.process import process_start
from clouds.replacing import _place, is_scratch, replacing


def test_a_file_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "é\r\n")
    assert path.read_bytes() == "é\r\n".encode()
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    (path / "inner").touch()
    with pytest.raises(OSError, match="directory"):
        write_atomic(path, "new")
    assert os.listdir(tmp_path) == ["a"]


def killed_while_writing(path: Path) -> None:
    """Leaves what a process leaves that is killed before its file gets its name."""
    pid = os.fork()
    if pid == 0:
        os.fsync = lambda _: os._exit(9)  # type: ignore[assignment]
        write_atomic(path, "half")
    os.waitpid(pid, 0)


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "a.txt")
    assert not (tmp_path / "a.txt").exists()
    [left] = os.listdir(tmp_path)
    assert left.startswith(".") and is_scratch(left, "a.txt") and not is_scratch(left, "txt")
    write_atomic(tmp_path / "a.txt", "whole")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_lives_or_may_live_elsewhere_is_left_and_what_never_grew_is_not(tmp_path: Path) -> None:
    mine = f"{os.getpid()}-{process_start(os.getpid())}"
    here, elsewhere = f".a.{_place()}-{mine}-0123abcd.tmp", f".a.00000000-{mine}-0123abcd.tmp"
    # this process lives, however long it has stood still
    asleep, old = f".b.{_place()}-{mine}-0123abcd.tmp", f".b.00000000-{mine}-0123abcd.tmp"
    for name in (here, elsewhere, asleep, old, ".user.tmp"):
        (tmp_path / name).touch()
    for name in (asleep, old, ".user.tmp"):
        os.utime(tmp_path / name, (0, 0))
    write_atomic(tmp_path / "a", "whole")
    assert sorted(os.listdir(tmp_path)) == sorted([here, elsewhere, asleep, ".user.tmp", "a"])


def test_of_two_writers_at_once_each_writes_whole_and_the_last_to_end_wins(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with replacing(path) as first:
        first.write(b"first, ")
        with replacing(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
        first.write(b"whole")
    assert path.read_bytes() == b"first, whole"
    assert os.listdir(tmp_path) == ["a"]


def test_many_processes_write_one_file_and_none_fails_or_tears_it(tmp_path: Path) -> None:
    path, pids = tmp_path / "a", []
    for number in range(8):
        pid = os.fork()
        if pid == 0:
            status = 1
            with contextlib.suppress(BaseException):
                for _ in range(20):
                    write_pieces(path, [str(number)] * 1000)
                    assert len(set(path.read_text())) == 1 and path.stat().st_size == 1000
                status = 0
            os._exit(status)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
    assert os.listdir(tmp_path) == ["a"]


def test_content_is_flushed_to_disk_before_its_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    def noting(name: str, real: Callable[..., None]) -> Callable[..., None]:
        return lambda *arguments: (events.append(name), real(*arguments))[1]  # type: ignore[func-returns-value]

    for name in ("fsync", "replace", "rename"):
        monkeypatch.setattr(os, name, noting(name, getattr(os, name)))
    write_atomic(tmp_path / "a", "content")
    assert events == ["fsync", "replace", "fsync"]
    events.clear()
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch/file").touch()
    publish_folder(tmp_path / "scratch", tmp_path / "final")
    assert events == ["fsync", "fsync", "rename", "fsync"]


def test_json_is_read_back_with_its_keys_in_order(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": 1, "a": "é"})
    assert (tmp_path / "a").read_text(encoding="utf-8") == '{\n "b": 1,\n "a": "é"\n}\n'
    assert list(read_json(tmp_path / "a").items()) == [("b", 1), ("a", "é")]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a": 1'])
def test_damaged_json_reads_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert read_json(tmp_path / "a") is None
    assert read_json(tmp_path / "missing") is None
    assert read_json(tmp_path) is None


def test_a_folder_takes_its_name_with_all_it_holds_or_fails_where_one_is(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    (scratch / "deep").mkdir(parents=True)
    (scratch / "deep/file").write_text("x", encoding="utf-8")
    publish_folder(scratch, tmp_path / "parent/final")
    assert (tmp_path / "parent/final/deep/file").read_text(encoding="utf-8") == "x"
    assert not scratch.exists()
    scratch.mkdir()
    with pytest.raises(OSError, match="not empty"):
        publish_folder(scratch, tmp_path / "parent/final")


def test_subfolders_are_sorted_and_leave_out_files_and_hidden_ones(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert list(subfolders(tmp_path)) == ["a", "b"]
    assert list(subfolders(tmp_path / "missing")) == []


def test_an_archive_is_whole_or_not_there_and_its_bytes_are_those_of_its_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name * 3)
    files = [(f"{name}.txt", tmp_path / name) for name in ("a", "b")]
    write_zip(tmp_path / "one.zip", files)
    first = (tmp_path / "one.zip").read_bytes()
    os.utime(tmp_path / "a", (1, 1))
    write_zip(tmp_path / "one.zip", files)
    assert (tmp_path / "one.zip").read_bytes() == first
    with pytest.raises(FileNotFoundError):
        write_zip(tmp_path / "one.zip", [*files, ("c.txt", tmp_path / "c")])
    assert (tmp_path / "one.zip").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "one.zip"]
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.testzip() is None and archive.read("b.txt") == b"bbb"
