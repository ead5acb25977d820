"""The cache of files that can be made again."""

from pathlib import Path

import pytest

from clouds.engine.file_cache import FileCache

MADE_WITH = {"weights": "a"}


def test_what_is_put_is_found_by_the_next_process(tmp_path: Path) -> None:
    FileCache(tmp_path / "cache", MADE_WITH, 1e6).put({"abc": b"one", "abd": b"two"})
    assert FileCache(tmp_path / "cache", MADE_WITH, 1e6).get(["abd", "abc"]) == [b"two", b"one"]


def test_one_that_is_missing_makes_all_missing(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, MADE_WITH, 1e6)
    assert cache.get(["abc"]) is None
    cache.put({"abc": b"one"})
    assert cache.get(["abc", "abd"]) is None
    assert cache.get(["abc"]) == [b"one"]


def test_what_was_made_with_something_else_is_not_found_and_dropped_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FileCache(tmp_path, MADE_WITH, 1e6).put({"abc": b"one"})
    other = FileCache(tmp_path, {"weights": "b"}, 1e6)
    assert other.get(["abc"]) is None
    other.drop_others()
    assert "other weights" in caplog.text
    assert FileCache(tmp_path, MADE_WITH, 1e6).get(["abc"]) is None
    caplog.clear()
    other.put({"abc": b"two"})
    other.drop_others()
    assert not caplog.text and other.get(["abc"]) == [b"two"]


def test_it_stays_within_its_limit_and_says_once_that_it_is_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FileCache(tmp_path, MADE_WITH, 2000)
    for key in ("aa", "ab", "ac", "ad"):
        cache.put({key: bytes(900)})
    assert [cache.get([key]) is not None for key in ("aa", "ab", "ac", "ad")] == [True, True, False, False]
    assert caplog.text.count("is full") == 1
    # what lies there already counts, with what describes it
    again = FileCache(tmp_path, MADE_WITH, 2000)
    again.put({"ae": bytes(900)})
    assert again.get(["ae"]) is None
    # together or not at all
    shared = FileCache(tmp_path / "two", MADE_WITH, 2000, share=0.5)
    shared.put({"aa": bytes(600), "ab": bytes(600)})
    assert shared.get(["aa"]) is None
