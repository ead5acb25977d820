"""What `clouds export` does: finds what kind of folder it was given, and has it written. It knows no format."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from clouds.export.run import Options


def export_folder(folder: Path, format_: str, out: Path, options: "Options") -> None:
    """Write what a folder of a run holds in a format of its kind, saying what is lost and where it went."""
    from clouds.engine.interrupt import raise_on_signals
    from clouds.export.registry import kind_of

    kind = kind_of(folder, format_)
    raise_on_signals()
    typer.echo(kind.export(folder, format_, out.absolute(), options, lambda line: typer.echo(line, err=True)))
