"""What `clouds report` does: the report of what a run has, and its table of scores. It runs no stage."""

import typer

from clouds.assembly import Assembly
from clouds.commands.printing import TERMINAL, terminal_width
from clouds.engine.planning import current_stages
from clouds.report.html import write_html
from clouds.report.printed import scores_text
from clouds.report.summary import model_notes
from clouds.report.tables import scores_of


def write_report(assembly: Assembly, form: str = TERMINAL) -> None:
    """Write the report and print the table of scores and the report's path; as Markdown or JSON all of its numbers."""
    current = current_stages(assembly.stages)
    models = scores_of([stage.artifact for stage in assembly.stages if stage.name in current])
    if models and form == TERMINAL:
        typer.echo(f"\n{scores_text(models, model_notes(assembly.stages), form, terminal_width())}")
    path = write_html(assembly.config, assembly.stages, current)
    if form != TERMINAL:
        typer.echo(path.with_name(f"report.{form}").read_text(encoding="utf-8"), nl=False)
    typer.echo(f"report: {path}", err=form != TERMINAL)
