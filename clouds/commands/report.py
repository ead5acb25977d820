"""What `clouds report` does: the HTML report from what a run has, and its table of scores. It runs no stage."""

import typer

from clouds.assembly import Assembly
from clouds.commands.printing import JSON, TERMINAL, terminal_width
from clouds.engine.planning import current_stages
from clouds.report.html import write_html
from clouds.report.printed import scores_text
from clouds.report.summary import model_notes
from clouds.report.tables import scores_of


def write_report(assembly: Assembly, form: str = TERMINAL) -> None:
    """Write the HTML report and print the table of scores in a format, and the report's path.

    Only a terminal's reader wants both: what Markdown or JSON is printed for takes the table alone.
    """
    current = current_stages(assembly.stages)
    models = scores_of([stage.artifact for stage in assembly.stages if stage.name in current])
    if models or form == JSON:
        text = scores_text(models, model_notes(assembly.stages), form, terminal_width())
        typer.echo(f"\n{text}" if form == TERMINAL else text, nl=form == TERMINAL)
    path = write_html(assembly.config, assembly.stages, current)
    typer.echo(f"report: {path}", err=form != TERMINAL)
