"""What `clouds compare` does: the scores of several runs as one. It scores nothing."""

from collections.abc import Sequence

import typer

from clouds.assembly import Assembly
from clouds.commands.printing import terminal_width
from clouds.engine.planning import current_stages
from clouds.errors import UsageError
from clouds.report.runs import runs_text
from clouds.report.tables import ModelScores, scores_of


def print_comparison(assemblies: Sequence[Assembly], form: str) -> None:
    """Print the mean and the spread over runs of what is scored in them."""
    scores: dict[str, list[ModelScores]] = {}
    for assembly in assemblies:
        folder, current = assembly.config.folder, current_stages(assembly.stages)
        found = scores_of([stage.artifact for stage in assembly.stages if stage.name in current])
        if not found:
            raise UsageError(f"run {folder}: no model has been scored yet", "bring it up to date with `clouds run`")
        if str(folder) in scores:
            raise UsageError(f"run {folder} is given twice", "leave it out once: it would count for two")
        scores[str(folder)] = found
    typer.echo(runs_text(scores, form, terminal_width()), nl=False)
