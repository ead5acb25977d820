"""A folder's list of files: intact or not, and which file is to blame."""

from pathlib import Path

import pytest

from clouds.models.checksums import CHECKSUMS, file_sha256, find_damage, listed_files, write_checksums

NAMES = ["a.txt", "b/c.bin"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b" / "c.bin").write_bytes(bytes(range(256)))
    write_checksums(tmp_path, NAMES)
    return tmp_path


def test_a_folder_that_was_left_alone_is_intact(folder: Path) -> None:
    assert find_damage(folder) == ""
    assert list(listed_files(folder)) == NAMES
    (folder / "another").write_text("not listed")
    assert find_damage(folder) == ""


def test_the_missing_and_the_altered_file_is_named(folder: Path) -> None:
    (folder / "a.txt").write_text("test")
    assert find_damage(folder) == "a.txt is not what was written (its SHA-256 differs)"
    (folder / "b" / "c.bin").write_bytes(b"short")
    assert find_damage(folder) == "b/c.bin has 5 bytes, not 256"
    (folder / "b" / "c.bin").unlink()
    assert find_damage(folder) == "b/c.bin is missing"


def test_no_file_is_read_where_sizes_tell_already(folder: Path) -> None:
    (folder / "b" / "c.bin").write_bytes(b"short")

    def read(file: Path) -> str:
        raise AssertionError(f"{file} was read")

    assert "5 bytes" in find_damage(folder, read)


@pytest.mark.parametrize("content", ["{", "[]", '{"files": []}', '{"files": {"a.txt": 3}}', '{"files": {"a": {}}}'])
def test_a_list_that_cannot_be_read_is_damage(folder: Path, content: str) -> None:
    (folder / CHECKSUMS).write_text(content)
    assert find_damage(folder) == f"{CHECKSUMS} is damaged"
    (folder / CHECKSUMS).unlink()
    assert CHECKSUMS in find_damage(folder) and "No such file" in find_damage(folder)


def test_a_hash_is_of_the_whole_file(tmp_path: Path) -> None:
    long = tmp_path / "long"
    long.write_bytes(b"x" * (3 << 20))
    before = file_sha256(long)
    with long.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"y")
    assert file_sha256(long) != before
