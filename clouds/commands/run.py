"""What the commands around a run do once a config is read, and what they print. It knows no particular stage."""

import contextlib
import json
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from clouds.assembly import Assembly, read_config
from clouds.config import dump_yaml, validate
from clouds.data.survey import Survey, spread, survey
from clouds.data.table import DataTable
from clouds.engine.lock import hold, holder
from clouds.engine.planning import FORCING, current_stages, plan_stages
from clouds.engine.progress import Progress
from clouds.engine.stage import Stage
from clouds.engine.status import failures, format_duration, stage_status
from clouds.errors import CloudsError, UsageError
from clouds.report.data_check import data_check
from clouds.report.filtered import filter_sentence, filter_summaries
from clouds.report.html import write_html
from clouds.report.printed import TERMINAL, scores_text
from clouds.report.runs import runs_text
from clouds.report.summary import model_notes
from clouds.report.tables import ModelScores, scores_of, terminal

if TYPE_CHECKING:
    from clouds.export.run import Options

_SHOWN_FAILURES = 5


def execute(
    assembly: Assembly, stages: Sequence[Stage], force: Collection[str], *, retry: bool, form: str = TERMINAL
) -> None:
    """Bring stages up to date, then write the report and print the table."""
    if bring_up_to_date(assembly, stages, force, retry=retry):
        write_report(assembly, form)


def bring_up_to_date(assembly: Assembly, stages: Sequence[Stage], force: Collection[str], *, retry: bool) -> bool:
    """Do what is not done; without work, nothing heavy is imported. Whether this process is to tell what came of it."""
    if not force and _nothing_to_do(assembly.config.folder, stages, retry):
        return True
    from clouds.engine.interrupt import raise_on_signals
    from clouds.engine.runner import Orders, run_stages
    from clouds.engine.runtime import Runtime
    from clouds.models.quiet import silence_libraries

    silence_libraries()
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    config = assembly.config
    runtime = Runtime(config.runtime)
    raise_on_signals()
    orders = Orders(frozenset(force), retry, config.max_failures)
    if runtime.is_main:
        typer.echo(f"{config.name}: {runtime.world_size} process(es), {runtime.device.type}, {config.folder}", err=True)
    try:
        run_stages(stages, config.folder, runtime, orders, dump_yaml(config))
        return runtime.is_main
    finally:
        runtime.close()


def _nothing_to_do(folder: Path, stages: Sequence[Stage], retry: bool) -> bool:
    """Whether every stage is up to date; then each says so. Asked by a lone process only: several agree first."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return False
    plans = plan_stages(stages, retry=retry)
    if not all(plan.up_to_date for plan in plans):
        return False
    for plan in plans:
        typer.echo(plan.say_up_to_date(), err=True)
    # what a run leaves that was killed at its very end; a folder that cannot be written to is left as it is
    with contextlib.suppress(CloudsError), hold(folder):
        (folder / FORCING).unlink(missing_ok=True)
    return True


def print_plan(assembly: Assembly) -> None:
    """A line per stage: up to date, or how many shards and why."""
    typer.echo(f"run: {assembly.config.folder}")
    plans = plan_stages(assembly.stages)
    width = max(len(plan.name) for plan in plans)
    for plan in plans:
        if plan.up_to_date:
            failed = f", {plan.failed} failed" if plan.failed else ""
            typer.echo(f"{plan.name:<{width}}  up to date{failed}")
            continue
        count = "" if plan.shards is None else f"{len(plan.pending)} of {len(plan.shards)} shards: "
        typer.echo(f"{plan.name:<{width}}  would run  {count}{'; '.join(plan.reasons)}")


def print_status(assembly: Assembly) -> None:
    """A line per stage: n of N, failures, pace, time left; then the first failures."""
    folder = assembly.config.folder
    typer.echo(f"run: {folder}" if folder.exists() else f"run: {folder} (not begun)")
    at_work = holder(folder)
    if at_work is not None:
        typer.echo(f"running: process {at_work['pid']} on {at_work['host']}, since {at_work['since']}")
    current = current_stages(assembly.stages)
    statuses = [stage_status(stage.artifact, stage.name, current=stage.name in current) for stage in assembly.stages]
    rows = []
    for status in statuses:
        size = "?" if status.size is None else str(status.size)
        pace = "-" if status.pace is None else f"{status.pace:.3g}/s"
        state = "complete" if status.complete else "stale" if status.stale else "begun" if status.size else "-"
        left = format_duration(status.seconds_left)
        rows.append([status.name, f"{status.done} of {size}", status.unit, str(status.failed), pace, left, state])
    typer.echo(terminal(["stage", "done", "unit", "failed", "pace", "left", "state"], rows), nl=False)
    for name, summary in filter_summaries([stage for stage in assembly.stages if stage.name in current]).items():
        typer.echo(f"{name}: {filter_sentence(summary)}")
    failed = [failure for stage in assembly.stages for failure in failures(stage.artifact, stage.name, _SHOWN_FAILURES)]
    for failure in failed[:_SHOWN_FAILURES]:
        typer.echo(f"failed: {failure.stage}/{failure.item}: {failure.error}")
    if failed:
        typer.echo("`clouds retry` takes up the failed items")


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


def terminal_width() -> int | None:
    """Characters in a line of the terminal that is written to; None where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def export_folder(folder: Path, format_: str, out: Path, options: "Options") -> None:
    """Write what a folder of a run holds in a format of its kind, saying what is lost and where it went."""
    from clouds.engine.interrupt import raise_on_signals
    from clouds.export.registry import check_format, kind_of

    kind = kind_of(folder)
    check_format(kind, format_)
    raise_on_signals()
    typer.echo(kind.export(folder, format_, out.absolute(), options, lambda line: typer.echo(line, err=True)))


def build_stand_ins(folder: Path, seed: int) -> None:
    """Build the tiny models, saying what they are."""
    from clouds.models.quiet import silence_libraries
    from clouds.models.tiny import build_tiny_models

    silence_libraries()
    if build_tiny_models(folder, seed):
        typer.echo(f"built tiny stand-ins for the foundation models in {folder} (random weights: they know nothing)")


def print_environment() -> None:
    """A line per package and device."""
    from clouds.engine.environment import environment

    for what, which in environment():
        typer.echo(f"{what:<18}{which}")


def check_data(config: str, overrides: Sequence[str], items: int | None) -> None:
    """Look through the data sets of a config and print what was found.

    Raises `CloudsError` when something is wrong with one, once all is printed; `UsageError` for a config without data.
    """
    path, tree = read_config(config, overrides)
    if "data" not in tree:
        raise UsageError(f"{path} has no `data`", "name a config with data sets")
    table = validate(DataTable, tree["data"], f"{path}, data")
    surveys = [_survey(table, name, items) for name in table.sets]
    typer.echo(data_check(surveys, table.label_map()), nl=False)
    wrong = [found.name for found in surveys if not found.sound]
    if wrong:
        raise CloudsError(f"something is wrong with {len(wrong)} of {len(surveys)} data sets: {', '.join(wrong)}")


def _survey(table: DataTable, name: str, items: int | None) -> Survey:
    """A look through one data set, with a progress bar."""
    try:
        dataset = table.open(name)
    except CloudsError as error:
        return Survey(name, problem=error)
    indices = spread(len(dataset.ids), items)
    progress = Progress(name, len(indices), 0, "item", shown=True)
    try:
        return survey(dataset, indices, progress.advance)
    finally:
        progress.close()


def run_dir_override(folder: Path | None) -> list[str]:
    """Where a run goes, if it was said."""
    return [] if folder is None else [f"run_dir={json.dumps(str(folder.resolve()))}"]


def hand_over(assembly: Assembly, package: Stage, *, install: bool) -> None:
    """Say where the packed miniature lies and how it takes the place of the one that ships; or put it there."""
    if int(os.environ.get("RANK", "0")) > 0:
        return
    from clouds.models.miniature import install_miniature, miniature_folder

    [shard] = package.artifact.shard_ids()
    folder = package.artifact.shard_folder(shard)
    typer.echo(f"packed: {folder}")
    if install:
        install_miniature(folder, miniature_folder())
        typer.echo(f"installed: {miniature_folder()}")
    else:
        run_folder = shlex.quote(str(assembly.config.folder))
        typer.echo(f"to put it in place of the weights that ship: clouds pretrain {run_folder} --install")


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
