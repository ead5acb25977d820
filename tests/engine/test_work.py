import errno
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from clouds.engine.ledger import DONE, FAILED, Ledger
from clouds.engine.progress import Progress
from clouds.engine.shard import Item, Shard
from clouds.engine.work import Row, ShardWork, Tally, explain_os_error, is_out_of_memory
from clouds.errors import CloudsError, InputError

Outcome = Row | Exception


class Bench:
    """A shard's work whose batches are remembered, and whose items do as `behaviour` says."""

    def __init__(self, folder: Path, behaviour: Callable[[Item], Outcome] | None = None, **options: Any) -> None:
        self.folder = folder
        self.batches: list[list[str]] = []
        self.behaviour = behaviour or (lambda item: {"id": item.id})
        self.options = options
        self.tally = Tally(options.pop("max_failures", 20))
        self.memory = options.pop("memory", 1000)
        self.items = [Item(str(number)) for number in range(options.pop("count", 8))]
        self.reopen()

    def reopen(self) -> None:
        progress = Progress("work", len(self.items), 0, "item", shown=False)
        ledger = Ledger(self.folder / "ledger")
        self.work = ShardWork(Shard("0", 8), self.folder, ledger, progress, self.tally, **self.options)

    def process(self, batch: Sequence[Item]) -> list[Outcome]:
        self.batches.append([item.id for item in batch])
        if len(batch) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return [self.behaviour(item) for item in batch]

    def map(self, batch_size: int = 4) -> dict[str, str]:
        self.work.map(self.items, self.process, batch_size)
        return {record.id: record.status for record in self.work.result()[0]}


def bad(*ids: str, error: type[Exception] = ValueError, raises: bool = True) -> Callable[[Item], Outcome]:
    def behave(item: Item) -> Outcome:
        if item.id not in ids:
            return {"id": item.id}
        if raises:
            raise error(f"{item.id} is bad")
        return error(f"{item.id} is bad")

    return behave


def joined(batches: list[list[str]]) -> list[str]:
    return ["".join(batch) for batch in batches]


def test_batches_have_the_boundaries_of_the_shard_whatever_is_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path, count=10)
    assert set(bench.map().values()) == {DONE}
    assert joined(bench.batches) == ["0123", "4567", "89"]
    lines = (tmp_path / "ledger").read_bytes().splitlines(keepends=True)
    (tmp_path / "ledger").write_bytes(b"".join(lines[:6]))  # killed within the second batch
    again = Bench(tmp_path, count=10)
    again.map()
    assert joined(again.batches) == ["4567", "89"]
    assert again.work.result() == (list(again.work.ledger.records.values()), bench.work.result()[1])


def test_out_of_memory_halves_the_batch_for_good_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(tmp_path, memory=2, count=8)
    assert list(bench.map(8).values()) == [DONE] * 8
    assert joined(bench.batches) == ["01234567", "0123", "01", "23", "45", "67"]
    said = capsys.readouterr().err
    assert "out of memory with a batch of 8: going on with 4" in said
    assert "out of memory with a batch of 4: going on with 2" in said
    (tmp_path / "ledger").unlink()
    bench.reopen()
    bench.batches.clear()
    bench.map(8)
    assert joined(bench.batches) == ["01", "23", "45", "67"], "the size that fits is remembered in the next shard"


def test_out_of_memory_keeps_what_is_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path, memory=2)
    bench.behaviour = lambda item: {"known": len(Ledger(tmp_path / "ledger").records)}
    bench.map()
    assert [bench.work.ledger.records[item.id].row["known"] for item in bench.items] == [0, 0, 2, 2, 4, 4, 6, 6]


def test_an_item_too_big_alone_fails_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bad("2", error=torch.OutOfMemoryError))
    statuses = bench.map()
    assert [name for name, status in statuses.items() if status == FAILED] == ["2"]


@pytest.mark.parametrize("fails", ["out of memory", "otherwise"])
def test_the_tensors_of_a_batch_that_failed_are_free_before_the_next_try(tmp_path: Path, fails: str) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def process(batch: Sequence[Item]) -> list[Outcome]:
        assert not any(reference() is not None for reference in alive)
        big = torch.zeros(10)
        alive.append(weakref.ref(big))
        if len(batch) > 1:
            raise RuntimeError("CUDA out of memory" if fails == "out of memory" else "a bad item")
        return [{"id": item.id} for item in batch]

    bench = Bench(tmp_path)
    bench.work.map(bench.items, process, 4)
    assert len(bench.work.result()[0]) == 8


@pytest.mark.parametrize("raises", [True, False])
def test_a_bad_item_fails_alone_with_its_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], raises: bool
) -> None:
    bench = Bench(tmp_path, bad("1", "6", raises=raises))
    statuses = bench.map()
    assert [name for name, status in statuses.items() if status == FAILED] == ["1", "6"]
    error = bench.work.result()[0][1].error
    assert error.startswith("ValueError: 1 is bad\n")
    assert ("in behave" in error) == raises, "an error that was raised comes with its traceback"
    assert "failed: 1: ValueError: 1 is bad\n" in capsys.readouterr().err


def test_the_digest_of_a_shard_stamps_the_items_it_holds(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bad("1"))
    bench.map()
    retried = Bench(tmp_path, retry=True)
    retried.map()
    assert bench.work.result()[1] != retried.work.result()[1]


def test_what_a_broken_batch_became_is_recorded_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bad("0", "2"))
    bench.map()
    assert joined(bench.batches) == ["0123", "0", "1", "2", "3", "4567"]
    assert [record.left for record in bench.work.ledger.records.values()] == [3, 2, 1, 0, 3, 2, 1, 0]


def test_failed_items_wait_for_a_retry(tmp_path: Path) -> None:
    Bench(tmp_path, bad("1")).map()
    idle = Bench(tmp_path)
    assert idle.map()["1"] == FAILED
    assert idle.batches == []
    retried = Bench(tmp_path, retry=True)
    assert set(retried.map().values()) == {DONE}
    assert joined(retried.batches) == ["1"]


def test_an_item_whose_input_changed_is_made_again(tmp_path: Path) -> None:
    Bench(tmp_path, bad("2")).map()
    bench = Bench(tmp_path)
    before = bench.work.result()[1]
    bench.items[1], bench.items[2] = Item("1", "changed"), Item("2", "changed")
    bench.map()
    assert joined(bench.batches) == ["12"]
    assert bench.work.result()[1] != before


def test_more_failures_than_the_budget_stop_the_run_and_keep_what_is_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bad("0", "5", "6"), max_failures=2)
    with pytest.raises(CloudsError, match="3 items failed, more than the budget of 2") as caught:
        bench.map()
    assert "the first: 0: ValueError: 0 is bad" in caught.value.message
    assert "clouds retry" in caught.value.mend
    assert len(Ledger(tmp_path / "ledger").records) == 8


def test_the_budget_counts_over_shards(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bad("0"), max_failures=1)
    bench.map()
    (tmp_path / "ledger").unlink()
    bench.reopen()
    with pytest.raises(CloudsError, match="2 items failed"):
        bench.map()


@pytest.mark.parametrize(
    ("error", "is_items_fault"),
    [
        (InputError("x.png is damaged", "replace it"), True),
        (FileNotFoundError(errno.ENOENT, "gone", "x.png"), True),
        (ValueError(), True),
        (InputError(""), True),
        (CloudsError("the model does not fit the labels"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (OSError(errno.EROFS, "Read-only file system"), False),
    ],
)
@pytest.mark.parametrize("raises", [True, False])
def test_only_an_items_own_fault_is_recorded(
    tmp_path: Path, error: Exception, is_items_fault: bool, raises: bool
) -> None:
    def behave(item: Item) -> Outcome:
        if item.id == "5" and raises:
            raise error
        return error if item.id == "5" else {"id": item.id}

    bench = Bench(tmp_path, behave)
    if is_items_fault:
        assert bench.map()["5"] == FAILED
        return
    with pytest.raises(type(error)):
        bench.map()
    assert list(Ledger(tmp_path / "ledger").records) == list("0123")


def test_an_input_error_is_recorded_as_its_message_and_mend(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda item: InputError("x.png is damaged", "replace it"), count=1)
    bench.map()
    assert bench.work.result()[0][0].error == "x.png is damaged\n  mend: replace it"


def test_results_that_do_not_match_the_batch_are_an_error(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(ValueError, match="zip"):
        bench.work.map(bench.items, lambda batch: [{}], 4)
    assert not (tmp_path / "ledger").exists()


def test_the_one_thing_of_an_indivisible_shard_is_recorded_once_and_by_the_writer(tmp_path: Path) -> None:
    for writes, lines in ((False, 0), (True, 1), (True, 1)):
        bench = Bench(tmp_path, writes=writes)
        bench.work.record(Item("model", "t"), {"steps": 3}, 1.0)
        assert len(bench.work.result()[0]) == writes
        assert len(Ledger(tmp_path / "ledger").records) == lines


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), True),
        (MemoryError(), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("memory"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_real_allocation_that_is_too_large_counts_as_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_an_os_error_names_the_file_or_else_the_folder(tmp_path: Path) -> None:
    full = explain_os_error(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert str(tmp_path) in full.message
    assert "free space" in full.mend
    denied = explain_os_error(PermissionError(errno.EACCES, "Permission denied", "/a/b"), tmp_path)
    assert denied.message == "/a/b: Permission denied"
    other = explain_os_error(OSError("cannot reach the hub"), tmp_path)
    assert other.message == "cannot reach the hub"
    assert "free space" not in other.mend
