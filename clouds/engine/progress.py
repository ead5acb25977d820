"""A progress bar with rate and time left, on the main process only. It does not know what it counts."""

import sys
from typing import TextIO

from tqdm import tqdm

_LINE = "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
"""Of a log: what a bar says without the bar."""


class Progress:
    """A bar that can be advanced; without a terminal it prints a line at most every half minute."""

    def __init__(self, name: str, total: int, done: int, unit: str, *, shown: bool) -> None:
        interactive = sys.stderr.isatty()
        self._bar: tqdm = tqdm(
            desc=name,
            total=total,
            initial=done,
            unit=unit,
            disable=not shown,
            file=sys.stderr if interactive else _Lines(sys.stderr),
            bar_format=None if interactive else _LINE,
            mininterval=0.2 if interactive else 30.0,
            maxinterval=1.0 if interactive else 60.0,
            dynamic_ncols=interactive,
            leave=True,
        )

    def advance(self, count: int = 1, note: str = "") -> None:
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(count)

    def skip(self, count: int) -> None:
        """Count what was done before, without it entering the rate."""
        if count and not self._bar.disable:
            self._bar.initial += count
            self._bar.n += count
            self._bar.refresh()

    def say(self, text: str) -> None:
        """Print a line without breaking the bar; processes that show no bar speak too."""
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    """Makes lines of what tqdm writes over itself: a log cannot be written over."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        line = text.strip()
        if line:
            self._file.write(f"{line}\n")

    def flush(self) -> None:
        self._file.flush()
