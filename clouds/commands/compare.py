"""What `clouds compare` does: the scores of several runs as one. It scores nothing."""

from collections.abc import Sequence

import typer

from clouds.assembly import Assembly
from clouds.commands.printing import terminal_width
from clouds.engine.planning import outdated_reasons
from clouds.errors import UsageError
from clouds.report.differing import differing_values
from clouds.report.left_out import LeftOut, left_out
from clouds.report.runs import runs_text
from clouds.report.tables import ModelScores, scores_of


def print_comparison(assemblies: Sequence[Assembly], form: str) -> None:
    """Print the mean and the spread over runs of what is scored in them."""
    scores: dict[str, list[ModelScores]] = {}
    stale: dict[str, list[LeftOut]] = {}
    for assembly in assemblies:
        folder, reasons = assembly.config.folder, outdated_reasons(assembly.stages)
        found = scores_of([stage.artifact for stage in assembly.stages if not reasons[stage.name]])
        stale[str(folder)] = left_out(folder, assembly.stages, reasons)
        if not found:
            why = [one.line for one in stale[str(folder)]] or ["no model has been scored yet"]
            raise UsageError(f"run {folder}: {'; '.join(why)}", "bring it up to date with `clouds run`")
        if str(folder) in scores:
            raise UsageError(f"run {folder} is given twice", "leave it out once: it would count for two")
        scores[str(folder)] = found
    configs = {str(assembly.config.folder): assembly.config for assembly in assemblies}
    typer.echo(runs_text(scores, form, terminal_width(), stale, differing_values(configs)), nl=False)
