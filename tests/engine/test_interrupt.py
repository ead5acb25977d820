import os
import signal
import threading
from collections.abc import Iterator

import pytest

from clouds.engine.interrupt import Interrupted, deferred, raise_on_signals


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    former = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    raise_on_signals()
    yield
    for signum, handler in former.items():
        signal.signal(signum, handler)


def send(signum: int) -> None:
    signal.raise_signal(signum)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_and_is_named(signum: signal.Signals) -> None:
    with pytest.raises(Interrupted, match=signum.name) as caught:
        send(signum)
    assert caught.value.signum == signum
    assert not isinstance(caught.value, Exception), "no handler of errors swallows it"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_within_the_block_the_first_signal_waits(signum: signal.Signals) -> None:
    with deferred() as request:
        assert not request
        send(signum)
        assert request
        assert request.signum == signum


def test_the_second_signal_does_not_wait() -> None:
    with pytest.raises(Interrupted), deferred() as request:
        send(signal.SIGTERM)
        assert request
        send(signal.SIGINT)
        pytest.fail("the second signal was not heard")


def test_after_the_block_signals_interrupt_again_even_when_it_raised() -> None:
    with pytest.raises(ValueError, match="x"), deferred():
        raise ValueError("x")
    with pytest.raises(Interrupted):
        send(signal.SIGTERM)


def test_another_thread_can_defer_nothing_and_does_not_fail() -> None:
    heard: list[bool] = []

    def work() -> None:
        with deferred() as request:
            heard.append(bool(request))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [False]


def test_a_signal_from_another_process_ends_it_with_the_signals_number() -> None:
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(tell, b"x")
            signal.pause()
        except Interrupted as error:
            os._exit(128 + error.signum)
        os._exit(0)
    os.read(ready, 1)
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (128 + signal.SIGTERM, -signal.SIGTERM)
    os.close(ready)
    os.close(tell)
