"""What `clouds run` does, and every command that brings stages up to date. It knows no particular stage."""

import contextlib
import logging
import os
from collections.abc import Collection, Sequence

import typer

from clouds.assembly import Assembly
from clouds.commands.printing import TERMINAL
from clouds.commands.report import write_report
from clouds.config import dump_yaml
from clouds.engine.atomic import write_atomic
from clouds.engine.lock import hold
from clouds.engine.planning import FORCING, plan_stages
from clouds.engine.stage import Stage
from clouds.errors import CloudsError

_CONFIG = "config.yaml"


def execute(
    assembly: Assembly, stages: Sequence[Stage], force: Collection[str], *, retry: bool, form: str = TERMINAL
) -> None:
    """Bring stages up to date, then write the report and print the table."""
    if bring_up_to_date(assembly, stages, force, retry=retry):
        write_report(assembly, form)


def bring_up_to_date(assembly: Assembly, stages: Sequence[Stage], force: Collection[str], *, retry: bool) -> bool:
    """Do what is not done; without work, nothing heavy is imported. Whether this process is to tell what came of it."""
    if not force and _nothing_to_do(assembly, stages, retry):
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


def _nothing_to_do(assembly: Assembly, stages: Sequence[Stage], retry: bool) -> bool:
    """Whether every stage is up to date; then each says so. Asked by a lone process only: several agree first."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return False
    plans = plan_stages(stages, retry=retry)
    if not all(plan.up_to_date for plan in plans):
        return False
    for plan in plans:
        typer.echo(plan.say_up_to_date(), err=True)
    folder, config = assembly.config.folder, dump_yaml(assembly.config)
    # what a run leaves that was killed at its very end, or that went back to values of before; a folder that cannot be
    # written to is left as it is
    with contextlib.suppress(CloudsError), hold(folder):
        (folder / FORCING).unlink(missing_ok=True)
        if (folder / _CONFIG).read_text(encoding="utf-8") != config:
            write_atomic(folder / _CONFIG, config)
    return True
