"""What `clouds report` does: the report of what a run has, and its table of scores. It runs no stage."""

import typer

from clouds.assembly import Assembly
from clouds.commands.printing import TERMINAL, terminal_width
from clouds.engine.planning import outdated_reasons
from clouds.errors import UsageError
from clouds.report.html import write_html
from clouds.report.left_out import left_out
from clouds.report.printed import scores_text
from clouds.report.summary import model_notes
from clouds.report.tables import scores_of


def write_report(assembly: Assembly, form: str = TERMINAL) -> None:
    """Write the report and print the table of scores and the report's path; as Markdown or JSON all of its numbers."""
    folder, stages = assembly.config.folder, assembly.stages
    if not any(stage.artifact.description() for stage in stages):
        raise UsageError(
            f"run {folder} has not begun: there is nothing to report",
            "start it with `clouds run`, or correct the config's `name` or `run_dir`",
        )
    reasons = outdated_reasons(stages)
    current = [stage.name for stage in stages if not reasons[stage.name]]
    models = scores_of([stage.artifact for stage in stages if stage.name in current])
    stale = left_out(folder, stages, reasons)
    if (models or stale) and form == TERMINAL:
        typer.echo(f"\n{scores_text(models, model_notes(stages), form, terminal_width(), stale)}")
    path = write_html(assembly.config, stages, current, stale)
    if form != TERMINAL:
        typer.echo(path.with_name(f"report.{form}").read_text(encoding="utf-8"), nl=False)
    typer.echo(f"report: {path}", err=form != TERMINAL)
