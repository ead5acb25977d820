"""One shard's work in the making: batches with fixed boundaries, failures kept apart, memory that runs out, records.

It knows items and what became of them, not what a stage makes of them.
"""

import errno
import gc
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clouds.engine.ledger import DONE, FAILED, Ledger, Record
from clouds.engine.progress import Progress
from clouds.engine.shard import Item, Shard, digest
from clouds.errors import CloudsError, InputError

Row = dict[str, Any]
Process = Callable[[Sequence[Item]], Sequence["Row | Exception"]]
"""Makes a batch's files in the scratch folder; returns per item its metadata row, or why it failed."""

_ENVIRONMENT_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}


@dataclass(frozen=True)
class _Failure:
    """Why an item, or a whole batch, was not made."""

    text: str
    out_of_memory: bool


@dataclass
class Tally:
    """What one stage's run counts over all its shards: new failures, and the batch size that fits memory."""

    max_failures: int
    failures: int = 0
    first_error: str = ""
    batch_size: int | None = None


@dataclass
class ShardWork:
    """What a worker is given to do one shard: the scratch folder to write in, and the means to record.

    `writes` is false on the processes that only compute, where several work on one shard together.
    """

    shard: Shard
    folder: Path
    ledger: Ledger
    progress: Progress
    tally: Tally
    writes: bool = True
    retry: bool = False
    _records: list[Record] = field(default_factory=list)

    def map(self, items: Sequence[Item], process: Process, batch_size: int) -> None:
        """Make every item that is not made yet, in batches whose boundaries depend on the shard alone.

        A batch that fails is tried item by item, and the items that fail alone are recorded with their error. What
        became of a batch is recorded at once, so that a restart meets the same batches. Out of memory halves the
        batch for good. Raises `CloudsError` when more items fail than the budget allows.
        """
        self.progress.skip(sum(not self._pending(item) for item in items))
        for start in range(0, len(items), batch_size):
            pending = [item for item in items[start : start + batch_size] if self._pending(item)]
            position = 0
            while position < len(pending):
                size = min(batch_size, self.tally.batch_size or batch_size)
                position += self._attempt(pending[position : position + size], process)
        self._records = [self.ledger.records[item.id] for item in items if item.id in self.ledger.records]

    def record(self, item: Item, row: Row, seconds: float) -> None:
        """Record the one thing that an indivisible shard makes."""
        if self.writes:
            if not self.ledger.done(item.id, item.token):
                self.ledger.append([Record(id=item.id, status=DONE, token=item.token, row=row, seconds=seconds)])
            self._records = [self.ledger.records[item.id]]

    def result(self) -> tuple[list[Record], str]:
        """The records of the shard's items in order, and a digest of what was made of which input."""
        made = [f"{record.id} {record.token}" for record in self._records if record.status == DONE]
        return self._records, digest(made)

    def _pending(self, item: Item) -> bool:
        if self.ledger.done(item.id, item.token):
            return False
        return self.retry or not self.ledger.failed(item.id, item.token)

    def _attempt(self, batch: Sequence[Item], process: Process) -> int:
        """Do one batch; the number of items it settled: none where memory ran out and a smaller one is to be tried."""
        begun = time.perf_counter()
        results = _try(process, batch)
        if isinstance(results, _Failure) and results.out_of_memory and len(batch) > 1:
            self._halve(len(batch))
            return 0
        if isinstance(results, _Failure):
            results = [_try_alone(process, item) for item in batch] if len(batch) > 1 else [results]
        seconds = (time.perf_counter() - begun) / len(batch)
        records = [_record(item, result, seconds) for item, result in zip(batch, results, strict=True)]
        self.ledger.append(records)
        self.progress.advance(len(batch))
        self._count_failures(records)
        return len(batch)

    def _halve(self, size: int) -> None:
        self.tally.batch_size = size // 2
        self.progress.say(f"out of memory with a batch of {size}: going on with {self.tally.batch_size}")
        _free_memory()

    def _count_failures(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.status == FAILED:
                self.tally.failures += 1
                why = f"{record.id}: {record.error.splitlines()[0]}"
                self.tally.first_error = self.tally.first_error or why
                self.progress.say(f"failed: {why}")
        if self.tally.failures > self.tally.max_failures:
            raise CloudsError(
                f"{self.tally.failures} items failed, more than the budget of {self.tally.max_failures} "
                f"('max_failures'); the first: {self.tally.first_error}",
                "mend the cause and run `clouds retry`; what is done is kept",
            )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, told without importing torch: the CPU, CUDA and MPS name it differently."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(text in str(error).lower() for text in ("out of memory", "can't allocate memory"))


def explain_os_error(error: OSError, folder: Path) -> CloudsError:
    """What a full disk, a read-only folder or the like means for a run, and that nothing is lost."""
    if error.errno in {*_ENVIRONMENT_ERRORS, errno.EACCES, errno.EPERM}:
        return CloudsError(
            f"{error.filename or folder}: {error.strerror}",
            "free space or make it writable, and run the same command: what is done is kept",
        )
    return CloudsError(str(error), "mend that and run the same command: what is done is kept")


def _raise_if_not_the_items_fault(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in _ENVIRONMENT_ERRORS:
        raise error
    if isinstance(error, CloudsError) and not isinstance(error, InputError):
        raise error


def _try(process: Process, batch: Sequence[Item]) -> "list[Row | _Failure] | _Failure":
    """What a batch gave, or why all of it failed."""
    try:
        return [_failure(result) if isinstance(result, Exception) else result for result in process(batch)]
    except Exception as error:
        return _failure(error)


def _try_alone(process: Process, item: Item) -> "Row | _Failure":
    results = _try(process, [item])
    return results if isinstance(results, _Failure) else results[0]


def _failure(error: Exception) -> _Failure:
    """An item's error as text: its traceback would keep the tensors that filled the memory."""
    _raise_if_not_the_items_fault(error)
    if isinstance(error, CloudsError):
        return _Failure(str(error) or type(error).__name__, False)
    trace = "".join(traceback.format_exception(error))
    return _Failure(f"{type(error).__name__}: {error}\n{trace}", is_out_of_memory(error))


def _record(item: Item, result: Row | _Failure, seconds: float) -> Record:
    if isinstance(result, _Failure):
        return Record(item.id, FAILED, item.token, seconds=seconds, error=result.text)
    return Record(item.id, DONE, item.token, row=result, seconds=seconds)


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
