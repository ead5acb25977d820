"""Brings stages up to date, in order, on one process or many. It does not know what any stage makes.

Each stage is planned on the main process and broadcast; its shards are split between the processes; an error on one
of them stops them all, with what is done kept.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from clouds.engine.artifact import Artifact
from clouds.engine.atomic import read_json, write_atomic, write_json
from clouds.engine.lock import hold
from clouds.engine.planning import FORCING, StagePlan, plan_stage, plan_stages
from clouds.engine.progress import Progress
from clouds.engine.runtime import Runtime
from clouds.engine.session import begin_session, end_session
from clouds.engine.shard import Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import ShardWork, Tally, explain_os_error
from clouds.errors import CloudsError

T = TypeVar("T")


@dataclass(frozen=True)
class Orders:
    """What the user asked of a run: `force` names stages to discard and make anew, `retry` takes up failed items."""

    force: frozenset[str] = frozenset()
    retry: bool = False
    max_failures: int = 20


def run_stages(
    stages: Sequence[Stage], run_dir: Path, runtime: Runtime, orders: Orders, resolved_config: str = ""
) -> None:
    """Bring every stage up to date, in the order given; a stage comes after those it needs.

    Raises `CloudsError` when another run holds the folder, when it cannot be written, or when more items fail than
    the budget allows. Whatever happens, the same command goes on from there.
    """
    try:
        _together(runtime, lambda: _look_ahead(stages, orders), main_only=True)
        with ExitStack() as holding:
            _together(runtime, lambda: holding.enter_context(hold(run_dir)), main_only=True)
            _together(runtime, lambda: write_atomic(run_dir / "config.yaml", resolved_config), main_only=True)
            editions = _together(runtime, lambda: _pin_editions(stages, run_dir, orders.force), main_only=True) or {}
            prints: dict[str, str] = {}
            for stage in stages:
                prints[stage.name] = _run_stage(stage, prints, runtime, orders, editions.get(stage.name, 0))
    except OSError as error:
        raise explain_os_error(error, run_dir) from error
    if runtime.is_main:
        # last of all: until here the same command means the same editions
        (run_dir / FORCING).unlink(missing_ok=True)


def _look_ahead(stages: Sequence[Stage], orders: Orders) -> None:
    """Plan all, and fetch weights: what cannot be had is told before hours of work, not after."""
    for stage, plan in zip(stages, plan_stages(stages, retry=orders.retry), strict=True):
        if stage.name in orders.force or not plan.up_to_date:
            stage.fetch()


def _pin_editions(stages: Sequence[Stage], run_dir: Path, force: frozenset[str]) -> dict[str, int]:
    """Which edition of each forced stage this run is to make.

    It is on record until the run is through, so that the same command, interrupted, goes on and discards nothing twice.
    """
    if not force:
        return {}
    pinned = read_json(run_dir / FORCING)
    if isinstance(pinned, dict) and pinned.keys() == force:
        return {name: int(edition) for name, edition in pinned.items()}
    editions = {stage.name: stage.artifact.edition() + 1 for stage in stages if stage.name in force}
    write_json(run_dir / FORCING, editions)
    return editions


def _run_stage(stage: Stage, prints: Mapping[str, str], runtime: Runtime, orders: Orders, edition: int) -> str:
    """Bring one stage up to date, and to this edition at least; its fingerprint."""
    plan = runtime.agree(_together(runtime, lambda: _begin(stage, prints, orders, edition), main_only=True))
    assert plan is not None
    if plan.up_to_date:
        if runtime.is_main:
            Progress(stage.name, 0, 0, stage.unit, shown=False).say(plan.say_up_to_date())
        return plan.fingerprint
    if plan.pending:
        with _on_record(stage, runtime):
            _work_together(stage, plan, runtime, orders)
    _together(runtime, lambda: _end(stage, plan), main_only=True)
    return plan.fingerprint


def _begin(stage: Stage, prints: Mapping[str, str], orders: Orders, edition: int) -> StagePlan:
    """Plan the stage and make its folder ready: superseded output set aside, former output of this config restored.

    Nothing is touched before the stage's weights and data are known to be there.
    """
    artifact = stage.artifact
    artifact.recover()
    plan = plan_stage(stage, prints, retry=orders.retry)
    forced = artifact.edition() < edition
    if forced or not plan.up_to_date:
        stage.fetch()
        plan = plan_stage(stage, prints, retry=orders.retry)
    if plan.changed:
        former = (artifact.description() or {}).get("fingerprint", "unknown")
        artifact.set_aside(f"{stage.name}-{former[:8]}")
    if forced:
        artifact.discard()
        artifact.describe({**_description(stage, plan, complete=False), "edition": edition})
        return replace(plan, pending=plan.shards or (), reasons=("forced",), changed=False, failed=0)
    if not artifact.folder.exists() and _restore(artifact, plan.fingerprint):
        plan = plan_stage(stage, prints, retry=orders.retry)
    if not plan.up_to_date:
        _check_budget(stage, plan, orders)
        artifact.describe(_description(stage, plan, complete=False))
    return plan


def _check_budget(stage: Stage, plan: StagePlan, orders: Orders) -> None:
    """A run that stopped at its failure budget stops there again, until the failures are taken up."""
    if not orders.retry and plan.failed > orders.max_failures:
        raise CloudsError(
            f"{stage.name}: {plan.failed} items have failed, more than the budget of {orders.max_failures} "
            "('max_failures')",
            "mend the cause and run `clouds retry`, or raise max_failures; what is done is kept",
        )


def _restore(artifact: Artifact, fingerprint: str) -> bool:
    """Bring back output that an earlier config change set aside, when it is what the config asks for again."""
    replaced = artifact.find_replaced(fingerprint)
    if replaced is None:
        return False
    os.rename(replaced, artifact.folder)
    artifact.recover()
    return True


@contextmanager
def _on_record(stage: Stage, runtime: Runtime) -> Iterator[None]:
    """Say in the stage's folder on what it is made, and from when to when."""
    session, folder = runtime.session(), stage.artifact.folder
    _together(runtime, lambda: begin_session(folder, session), main_only=True)
    try:
        yield
    finally:
        if runtime.is_main:
            # what ended the work is what the user has to hear of, not that this cannot be noted
            with suppress(OSError):
                end_session(folder)


def _work_together(stage: Stage, plan: StagePlan, runtime: Runtime, orders: Orders) -> None:
    """Make the pending shards, all processes on each of them, or each process its own."""
    if stage.collective:
        # every process is inside the same computation: an error on one must end it, not wait for the others
        _work(stage, plan, plan.pending, runtime, orders)
    else:
        mine = plan.pending[runtime.rank :: runtime.world_size]
        _together(runtime, lambda: _work(stage, plan, mine, runtime, orders))


def _work(stage: Stage, plan: StagePlan, shards: Sequence[Shard], runtime: Runtime, orders: Orders) -> None:
    """Make this process's shards, models loaded once."""
    if not shards:
        return
    pending = {shard.id for shard in plan.pending}
    finished = [shard for shard in plan.shards or () if shard.id not in pending]
    total = sum(shard.size for shard in (*shards, *finished))
    worker = stage.prepare(runtime)
    done = sum(shard.size for shard in finished)
    progress = Progress(stage.name, total, done, stage.unit, shown=runtime.is_main)
    tally = Tally(orders.max_failures, failures=0 if orders.retry else plan.failed)
    try:
        for shard in shards:
            _work_on_shard(stage, shard, worker, progress, tally, runtime, orders.retry)
    finally:
        progress.close()


def _work_on_shard(
    stage: Stage, shard: Shard, worker: Worker, progress: Progress, tally: Tally, runtime: Runtime, retry: bool
) -> None:
    artifact = stage.artifact
    writes = runtime.is_main or not stage.collective
    if writes:
        ledger = artifact.open_shard(shard, keep_items=not stage.collective)
    if stage.collective:
        runtime.wait()
    if not writes:
        ledger = artifact.observe_shard(shard)
    work = ShardWork(shard, artifact.scratch_folder(shard.id), ledger, progress, tally, writes=writes, retry=retry)
    worker(shard, work)
    if writes:
        records, made = work.result()
        edition = artifact.edition()
        made = digest([made, str(edition)]) if edition else made
        artifact.publish(shard, records, made, keep_items=not stage.collective)
    if stage.collective:
        runtime.wait()


def _end(stage: Stage, plan: StagePlan) -> None:
    """Set aside shards that are no longer listed, write the summary files and mark the stage complete."""
    artifact = stage.artifact
    listed = {shard.id for shard in plan.shards or ()}
    folders = [artifact.shard_folder(shard) for shard in artifact.shard_ids()]
    folders += [artifact.scratch_folder(shard) for shard in artifact.unfinished()]
    for folder in folders:
        if folder.name not in listed:
            artifact.set_aside(f"{stage.name}-{folder.name}", folder)
    _check_made_any(stage, plan)
    stage.finish()
    artifact.close()
    artifact.describe(_description(stage, plan, complete=True))


def _check_made_any(stage: Stage, plan: StagePlan) -> None:
    size = sum(shard.size for shard in plan.shards or ())
    summaries = (stage.artifact.summary(shard.id) for shard in plan.shards or ())
    if size and not any(summary.done for summary in summaries if summary is not None):
        raise CloudsError(
            f"{stage.name}: every one of its {size} items failed",
            "see `clouds status`, mend the cause and run `clouds retry`",
        )


def _description(stage: Stage, plan: StagePlan, *, complete: bool) -> dict[str, object]:
    return {
        "stage": stage.name,
        "kind": stage.kind,
        "unit": stage.unit,
        "fingerprint": plan.fingerprint,
        "document": plan.document,
        "size": sum(shard.size for shard in plan.shards or ()),
        "complete": complete,
        "edition": stage.artifact.edition(),
    }


def _together(runtime: Runtime, action: Callable[[], T], *, main_only: bool = False) -> T | None:
    """Do something on every process, or the main one, and raise on all of them when it fails on any."""
    result: T | None = None
    error: Exception | None = None
    if runtime.is_main or not main_only:
        try:
            result = action()
        except Exception as caught:
            error = caught
    if runtime.world_size == 1:
        if error is not None:
            raise error
        return result
    found = [text for text in runtime.gather(str(error) if error is not None else None) if text]
    if error is not None:
        raise error
    if found:
        raise CloudsError(f"another process failed: {found[0]}")
    return result
