"""Runs the parts of an export in several processes, few at a time. It does not know what a part is.

A worker ends when its parent does, however that ends: else it would go on writing beside whoever takes over.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for
from typing import TypeVar

from clouds.errors import CloudsError

P = TypeVar("P")
T = TypeVar("T")

# so many parts are handed out per worker: one at work, one waiting
_AHEAD = 2


def default_workers() -> int:
    """One per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(work: Callable[[P], T], parts: Iterable[P], workers: int) -> Generator[T, None, None]:
    """The results of every part, as they come; with one worker in this process, in order.

    Parts are taken from the iterable when there is room for them. An error of a part is raised here, after the parts
    at work have ended; closing the generator waits for them too.
    """
    if workers == 1:
        yield from map(work, parts)
        return
    # spawned, not forked: this process has threads
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    try:
        yield from _bounded(pool, work, iter(parts), workers * _AHEAD)
    except BrokenProcessPool as error:
        raise CloudsError(
            "a worker process died, as when memory runs out",
            "run the same command with fewer --workers: what is done is kept",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _bounded(pool: ProcessPoolExecutor, work: Callable[[P], T], parts: Iterator[P], most: int) -> Iterator[T]:
    at_work: set[Future[T]] = {pool.submit(work, part) for part in islice(parts, most)}
    while at_work:
        ended, at_work = wait(at_work, return_when=FIRST_COMPLETED)
        at_work |= {pool.submit(work, part) for part in islice(parts, len(ended))}
        yield from (future.result() for future in ended)


def _begin() -> None:
    """What a worker does first: leave Ctrl-C to its parent, and watch that it lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)
