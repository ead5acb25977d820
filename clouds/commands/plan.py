"""What `clouds plan` prints: what `run` would do, and why. It loads no model and runs nothing."""

import typer

from clouds.assembly import Assembly
from clouds.commands.printing import JSON, MARKDOWN, TERMINAL, print_json, table_text
from clouds.engine.planning import StagePlan, plan_stages


def print_plan(assembly: Assembly, form: str = TERMINAL) -> None:
    """A line per stage: up to date, or how many shards and why.

    Raises `CloudsError` where that cannot be told of a stage that is not complete.
    """
    plans = plan_stages(assembly.stages, looking=True)
    for plan in plans:
        if plan.problem is not None and not plan.up_to_date:
            raise plan.problem
    if form == JSON:
        print_json({"run": str(assembly.config.folder), "stages": [_row(plan) for plan in plans]})
        return
    typer.echo(f"run: {assembly.config.folder}")
    if form == MARKDOWN:
        rows = [[plan.name, *_told(plan)] for plan in plans]
        typer.echo("\n" + table_text(["stage", "state", "why"], rows, form), nl=False)
        return
    # reasons are sentences, which a table's columns would cut
    width = max(len(plan.name) for plan in plans)
    for plan in plans:
        typer.echo("  ".join(filter(None, [f"{plan.name:<{width}}", *_told(plan)])))


def _told(plan: StagePlan) -> tuple[str, str]:
    """The state of a stage and why."""
    if plan.problem is not None:
        return "complete", f"whether it is up to date cannot be told: {plan.problem.message}"
    if plan.up_to_date:
        return "up to date" + (f", {plan.failed} failed" if plan.failed else ""), ""
    count = "" if plan.shards is None else f"{len(plan.pending)} of {len(plan.shards)} shards: "
    return "would run", f"{count}{'; '.join(plan.reasons)}"


def _row(plan: StagePlan) -> dict[str, object]:
    return {
        "stage": plan.name,
        "up_to_date": plan.up_to_date,
        "failed": plan.failed,
        "shards": None if plan.shards is None else len(plan.shards),
        "pending": None if plan.shards is None else len(plan.pending),
        "reasons": [] if plan.up_to_date else list(plan.reasons),
        "problem": None if plan.problem is None else plan.problem.message,
    }
