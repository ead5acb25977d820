from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.engine.ledger import DONE, FAILED, Ledger, Record, read_records

BATCHES = [
    [Record("0", DONE, "t", {"file_name": "0.png", "prompt": 'a "wet"\r\nstrasse, ü \u2028 \x85'}, 0.5)],
    [Record("1", DONE), Record("2", FAILED, error="ValueError: bad\n  trace"), Record("3", DONE)],
    [Record("4", DONE, row={"deep": {"list": [1, None, True]}}), Record("1", DONE, "new")],
]


def write(path: Path, batches: list[list[Record]]) -> bytes:
    ledger = Ledger(path)
    for batch in batches:
        ledger.append(batch)
    return path.read_bytes()


def prefixes(path: Path) -> list[bytes]:
    """The ledger's bytes after none of its batches, after one, ..."""
    return [b"", *(write(path.with_name(f"prefix{n}"), BATCHES[:n]) for n in range(1, len(BATCHES) + 1))]


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    write(path, BATCHES)
    ledger = Ledger(path)
    assert ledger.records["0"].row == BATCHES[0][0].row
    assert ledger.done("0", "t")
    assert not ledger.done("0", "")
    assert ledger.failed("2", "")
    assert not ledger.failed("1", "")
    assert ledger.done("1", "new"), "a later record replaces an earlier one"
    assert [record.id for record in read_records(path)] == ["0", "1", "2", "3", "4", "1"]


def test_a_ledger_cut_at_any_byte_is_mended_to_whole_batches_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    whole = write(path, BATCHES)
    known = prefixes(tmp_path / "x")
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        ledger = Ledger(path)
        expected = max(prefix for prefix in known if len(prefix) <= cut)
        assert path.read_bytes() == expected, f"cut at byte {cut}"
        for batch in BATCHES[known.index(expected) :]:
            ledger.append(batch)
        assert path.read_bytes() == whole
        assert ledger.records == Ledger(path).records


@given(cut=st.integers(0, 10**6), tail=st.binary(max_size=40))
@settings(max_examples=50)
def test_garbage_behind_any_cut_costs_no_whole_batch(
    tmp_path_factory: pytest.TempPathFactory, cut: int, tail: bytes
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger"
    whole = write(path, BATCHES)
    kept = whole[: cut % (len(whole) + 1)]
    path.write_bytes(kept + b"\0" + tail.replace(b"\n", b""))
    Ledger(path)
    assert path.read_bytes() == max(prefix for prefix in prefixes(path) if kept.startswith(prefix))


def test_a_ledger_that_is_missing_or_empty_holds_nothing(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "none").records == {}
    assert list(read_records(tmp_path / "none")) == []
    (tmp_path / "empty").touch()
    assert Ledger(tmp_path / "empty").records == {}


def test_reading_leaves_a_torn_line_out_and_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    whole = write(path, BATCHES)
    path.write_bytes(whole[:-3])
    assert [record.id for record in read_records(path)] == ["0", "1", "2", "3", "4"]
    assert path.read_bytes() == whole[:-3]
