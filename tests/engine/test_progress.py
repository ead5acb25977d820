import io
import re

import pytest

from clouds.engine.progress import Progress


class Terminal(io.StringIO):
    """Says that it is one."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def run_bar(shown: bool) -> None:
    progress = Progress("label", 10, 2, "image", shown=shown)
    progress.skip(3)
    progress.advance(2, note="loss 1.0")
    progress.advance()
    progress.close()


def test_the_bar_counts_what_was_done_before(capsys: pytest.CaptureFixture[str]) -> None:
    run_bar(shown=True)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "label:  80%" in last
    assert "8/10" in last
    assert "image" in last
    assert "loss 1.0" in last


def test_other_processes_show_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    run_bar(shown=False)
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "")


@pytest.mark.parametrize("shown", [True, False])
def test_a_line_is_said_on_any_process(shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("label", 10, 0, "image", shown=shown)
    progress.say("failed: 000042: bad")
    progress.close()
    output = capsys.readouterr()
    assert "failed: 000042: bad\n" in output.err
    assert output.out == ""


def test_without_a_terminal_there_are_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("label", 10_000, 0, "image", shown=True)
    for _ in range(10_000):
        progress.advance()
    progress.say("warning: here")
    progress.close()
    written = capsys.readouterr().err
    assert "\r" not in written and "█" not in written
    lines = written.splitlines()
    assert 2 <= len(lines) <= 4 and lines[-2] == "warning: here"
    # rate and time taken and left
    assert re.fullmatch(r"label: 100% 10000/10000 \[\d\d:\d\d<\d\d:\d\d, .*image/s\]", lines[-1])


def test_a_terminal_gets_a_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    run_bar(shown=True)
    assert "\r" in terminal.getvalue() and "image" in terminal.getvalue() and "█" in terminal.getvalue()
