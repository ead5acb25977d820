"""What `clouds predict` does around its one stage: which folder may be written to, and what came of it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import typer

from clouds.api import obtain_segmenter
from clouds.assembly import Assembly, assemble_tree
from clouds.commands.run import bring_up_to_date
from clouds.engine.artifact import LEDGER, Artifact
from clouds.engine.ledger import DONE, latest_records
from clouds.engine.planning import plan_stages
from clouds.engine.stage import Stage
from clouds.engine.status import failures, stage_status
from clouds.errors import CloudsError, UsageError

_NO_BUDGET = 10**9
_SHOWN = 5


@runtime_checkable
class HasItems(Protocol):
    """A stage that knows the ids of all its items before it makes them."""

    @property
    def item_ids(self) -> Sequence[str]: ...


def predict(
    checkpoint: Path,
    images: Sequence[str],
    out: Path,
    values: dict[str, Any],
    overrides: Sequence[str],
    *,
    device: str,
    force: bool,
) -> None:
    """Label images into a folder; what lies there from the same segmenter and protocol is not made again.

    Raises `UsageError` for a folder with other predictions unless `force`, and `CloudsError` when images failed.
    """
    segmenter = obtain_segmenter(checkpoint)
    tree = {
        "name": "predict",
        "pipeline": "predict",
        "run_dir": str(out.expanduser().absolute()),
        # one broken image must not keep the others from being labelled
        "max_failures": _NO_BUDGET,
        "shard_items": 1000,
        "runtime": {"device": device},
        "predict": {"segmenter": str(segmenter), "images": list(images), **values},
    }
    assembly = assemble_tree(tree, overrides, "clouds predict")
    [stage] = assembly.stages
    if not force:
        _refuse_to_mix(stage)
    typer.echo(f"segmenter: {segmenter}", err=True)
    if bring_up_to_date(assembly, [stage], [stage.name] if force else [], retry=False):
        _tell(assembly, stage)


def _refuse_to_mix(stage: Stage) -> None:
    """Raise `UsageError` where the folder holds what this command would replace."""
    mend = "choose another --out; or --force: discard them"
    [plan] = plan_stages([stage])
    if plan.changed:
        why = "; ".join(plan.reasons)
        raise UsageError(f"{stage.artifact.folder} holds predictions that were made otherwise: {why}", mend)
    listed = set(stage.item_ids) if isinstance(stage, HasItems) else set()
    others = [id_ for id_ in _made(stage.artifact) if id_ not in listed]
    if others:
        raise UsageError(
            f"{stage.artifact.folder} holds predictions of {len(others)} images that are not given now, such as "
            f"{', '.join(others[:_SHOWN])}",
            f"give those images, too; or {mend}",
        )


def _made(artifact: Artifact) -> Iterator[str]:
    """The ids of the items an artifact holds, published or in the making."""
    for shard in artifact.shard_ids():
        yield from (row["id"] for row in artifact.rows(shard))
    for shard in artifact.unfinished():
        records = latest_records(artifact.scratch_folder(shard) / LEDGER).values()
        yield from (record.id for record in records if record.status == DONE)


def _tell(assembly: Assembly, stage: Stage) -> None:
    status = stage_status(stage.artifact, stage.name)
    typer.echo(f"{status.done} images labelled: {stage.artifact.folder}")
    if status.failed:
        told = "".join(f"\n  {one.item}: {one.error}" for one in failures(stage.artifact, stage.name, _SHOWN))
        raise CloudsError(
            f"{status.failed} of {status.size} images could not be labelled, such as{told}",
            f"mend them and run the same command; `clouds retry {assembly.config.folder}` tries them again as they are",
        )
