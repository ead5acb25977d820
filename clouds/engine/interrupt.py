"""Ctrl-C and SIGTERM, heard at a moment the work chooses. It does not know what is interrupted."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupted(BaseException):
    """The process was asked to stop by a signal; `signum` says which."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum


class StopRequest:
    """Whether a signal has asked to stop since the block began."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def __bool__(self) -> bool:
        return self.signum is not None


def raise_on_signals() -> None:
    """From now on SIGTERM, like Ctrl-C, raises `Interrupted` in the main thread."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum)

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, interrupt)


@contextlib.contextmanager
def deferred() -> Iterator[StopRequest]:
    """Within the block the first signal only sets the request, so that a step ends whole; the second one raises."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def remember(signum: int, frame: FrameType | None) -> None:
        if request:
            raise Interrupted(signum)
        request.signum = signum

    former = {signum: signal.signal(signum, remember) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)
