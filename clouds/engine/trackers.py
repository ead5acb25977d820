"""Curves for TensorBoard and Weights & Biases, through accelerate's trackers. It does not know what the values mean.

What a tracker writes tells times and hosts, so it lies beside the artifacts of a run, never in one.
"""

import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from clouds.engine.atomic import read_json, write_json
from clouds.errors import CloudsError, UsageError

TrackerName = Literal["tensorboard", "wandb"]


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Raise `UsageError` for a tracker whose package, of the same name, is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise UsageError(
                f"'runtime.trackers' names {name}, which is not installed",
                f"pip install {name}, or take it out of runtime.trackers",
            )


class Trackers:
    """The trackers of one training, on the main process.

    `folder` is RUN/trackers/STAGE; `resumed_at` the step (1-based) up to which what was tracked before is kept.
    Raises `CloudsError` when one cannot start.
    """

    def __init__(self, names: Sequence[TrackerName], folder: Path, resumed_at: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._trackers = [_STARTERS[name](folder, resumed_at) for name in names]
        for name, tracker in zip(names, self._trackers, strict=True):
            try:
                tracker.start()
            except Exception as error:  # each package has errors of its own
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise CloudsError(
                    f"tracker {name} cannot start: {reason}", "take it out of runtime.trackers"
                ) from error

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step (1-based)."""
        for tracker in self._trackers:
            tracker.log(dict(values), step=step)

    def finish(self) -> None:
        """Write what is not written yet, and let go."""
        for tracker in self._trackers:
            tracker.finish()


def _tensorboard(folder: Path, resumed_at: int) -> Any:
    from accelerate.tracking import TensorBoardTracker

    # steps after the checkpoint are made again: TensorBoard hides what an interrupted run said of them
    return TensorBoardTracker("tensorboard", logging_dir=folder, purge_step=resumed_at + 1)


def _wandb(folder: Path, resumed_at: int) -> Any:
    from accelerate.tracking import WandBTracker

    # a resumed training goes on with its curve; the service drops steps that it has already, and they are the same
    remembered = read_json(folder / "wandb.json") if resumed_at else None
    run = remembered if isinstance(remembered, dict) else {"id": uuid.uuid4().hex}
    write_json(folder / "wandb.json", run)
    name = f"{folder.parents[1].name}/{folder.name}"
    return WandBTracker("clouds", id=run["id"], name=name, resume="allow", dir=str(folder))


_STARTERS = {"tensorboard": _tensorboard, "wandb": _wandb}
