"""What `clouds status` prints: how far a run has come. It reads the run's folder and changes nothing."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import typer

from clouds.assembly import Assembly
from clouds.commands.printing import JSON, TERMINAL, paragraph, print_json, table_text
from clouds.engine.lock import holder
from clouds.engine.planning import current_stages
from clouds.engine.status import Failure, StageStatus, failures, format_duration, stage_status
from clouds.report.filtered import filter_sentence, filter_summaries

_SHOWN_FAILURES = 5
_HEADER = ("stage", "done", "unit", "failed", "pace", "left", "state")


def print_status(assembly: Assembly, form: str = TERMINAL) -> None:
    """A line per stage: n of N, failures, pace, time left; then the first failures."""
    folder = assembly.config.folder
    at_work = holder(folder)
    current = current_stages(assembly.stages)
    statuses = [stage_status(stage.artifact, stage.name, current=stage.name in current) for stage in assembly.stages]
    failed = [failure for stage in assembly.stages for failure in failures(stage.artifact, stage.name, _SHOWN_FAILURES)]
    failed = failed[:_SHOWN_FAILURES]
    filters = filter_summaries([stage for stage in assembly.stages if stage.name in current])
    if form == JSON:
        begun = {"run": str(folder), "begun": folder.exists(), "running": at_work}
        print_json({**begun, **_content(statuses, failed), "filters": filters})
        return
    typer.echo(f"run: {folder}" if folder.exists() else f"run: {folder} (not begun)")
    if at_work is not None:
        typer.echo(f"running: process {at_work['pid']} on {at_work['host']}, since {at_work['since']}")
    text = table_text(_HEADER, [_row(status) for status in statuses], form)
    typer.echo(text if form == TERMINAL else f"\n{text}", nl=False)
    for name, summary in filters.items():
        typer.echo(paragraph(f"{name}: {filter_sentence(summary)}"))
    for failure in failed:
        typer.echo(f"failed: {failure.stage}/{failure.item}: {failure.error}")
    if failed:
        typer.echo("`clouds retry` takes up the failed items")


def _row(status: StageStatus) -> list[str]:
    size = "?" if status.size is None else str(status.size)
    pace = "-" if status.pace is None else f"{status.pace:.3g}/s"
    left = format_duration(status.seconds_left)
    return [status.name, f"{status.done} of {size}", status.unit, str(status.failed), pace, left, status.state]


def _content(statuses: Sequence[StageStatus], failed: Sequence[Failure]) -> dict[str, Any]:
    return {"stages": [one.content() for one in statuses], "failures": [asdict(failure) for failure in failed]}
