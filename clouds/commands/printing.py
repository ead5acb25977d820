"""How a table is printed: folded to the terminal it goes to, as Markdown, or as JSON. It knows no table."""

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import typer

from clouds.report.printed import JSON, MARKDOWN, TERMINAL, folded
from clouds.report.tables import markdown

__all__ = ["JSON", "MARKDOWN", "TERMINAL", "paragraph", "print_json", "table_text", "terminal_width"]


def table_text(header: Sequence[str], rows: Sequence[Sequence[str]], form: str) -> str:
    """A table as Markdown, or in the width of the terminal."""
    return markdown(header, rows) if form == MARKDOWN else folded(header, rows, terminal_width())


def print_json(value: Any) -> None:
    """A value for a program to read, alone on standard output."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


def paragraph(text: str) -> str:
    """A text in lines of the terminal's width."""
    width = terminal_width()
    return text if width is None else textwrap.fill(text, width)


def terminal_width() -> int | None:
    """Characters in a line of the terminal that is written to; None where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
