"""The training loop, on any number of processes: steps, checkpoints, averages, signals. It knows no model.

A step is a pure function of the weights, the optimizer's state and the step's number; so a training that was
interrupted and resumed gives the bytes of one that was not.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

from clouds.engine.checkpoint import Checkpoint, Checkpointer, flatten_optimizer, restore_optimizer
from clouds.engine.interrupt import Interrupted, StopRequest, deferred
from clouds.engine.progress import Progress
from clouds.engine.runtime import Runtime
from clouds.engine.seeding import item_seed
from clouds.engine.status import ProgressNote
from clouds.engine.trackers import Trackers
from clouds.errors import CloudsError
from clouds.ops.ema import ema_update
from clouds.training.draws import load_steps
from clouds.training.log import StepLog
from clouds.training.schedule import lr_factor
from clouds.training.settings import LoopConfig


@dataclass(frozen=True, kw_only=True)
class TrainingPlace:
    """Where a training happens: its scratch folder, its processes, its seed, its progress bar.

    `trackers` is where the run's trackers write; None: there are none, whatever the run says.
    """

    folder: Path
    runtime: Runtime
    seed: int
    progress: Progress
    max_failures: int
    trackers: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step as a learner sees it.

    `parallel` is the learner's model as this process calls it; `seed` is the training's; `batch_size` counts the
    examples of the whole batch, over all processes.
    """

    number: int
    seed: int
    batch_size: int
    parallel: nn.Module
    accelerator: Accelerator


class Learner(Protocol):
    """What is learned, and from what.

    `losses` names what `backward` returns; the first is the one that is minimised. `draws` gives an example for each
    draw's number, a pure function of the number and the training's seed, or the `CloudsError` that prevents it.
    """

    @property
    def losses(self) -> Sequence[str]: ...
    @property
    def model(self) -> nn.Module: ...
    @property
    def draws(self) -> TorchDataset[Any]: ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained: groups of `params`, `parameter_names`, `lr`, `weight_decay`."""

    def backward(self, drawn: Sequence[Any], step: Step) -> Tensor:
        """Add the gradients of this process's share of a batch.

        Gradients are averaged over processes; the losses returned, one value each, are summed over them.
        """

    def state(self) -> dict[str, Tensor]:
        """The weights that training changes, by name; not copies."""

    def load_state(self, tensors: dict[str, Tensor], where: str = "the checkpoint") -> None:
        """Put weights back into the model; `where` names them in errors."""


class Validation(Protocol):
    """What is measured in the course of a training, of the weights it would give if it ended there.

    With `keep_best` the training gives the weights of the highest first value, the earliest of equals.
    """

    @property
    def every(self) -> int: ...
    @property
    def keep_best(self) -> bool: ...

    def measure(self) -> Mapping[str, float]:
        """Named values of the learner's model, the same on every process. Changes its mode, but no weight."""


class Follower(Protocol):
    """What changes beside the model, step by step, by the model's weights alone: a teacher."""

    def follow(self, step: int) -> None:
        """Take in the model's weights after so many steps."""

    def state(self) -> dict[str, Tensor]:
        """Its own weights, by name; not copies."""

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""


@dataclass
class _Best:
    """The weights that a validation found best so far."""

    step: int
    value: float
    weights: dict[str, Tensor]


@dataclass
class _State:
    """What a training changes besides its model, step by step."""

    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    step: int = 0
    skipped: set[str] = field(default_factory=set)
    best: _Best | None = None


def run_training(
    learner: Learner,
    config: LoopConfig,
    place: TrainingPlace,
    validation: Validation | None = None,
    follower: Follower | None = None,
) -> list[str]:
    """Train the learner's model in place, going on from the folder's newest checkpoint; its follower goes with it.

    Afterwards the model holds the weights the training gives: the best, where a validation keeps them, or else the
    average, where one is kept. Returns the items that were passed over because their files cannot be read.
    Raises `CloudsError` for a loss that is not finite, a damaged checkpoint or too many unusable items, and
    `Interrupted`, with a checkpoint saved, after a signal.
    """
    check_batch(config, place.runtime)
    training = _Training(learner, config, place, validation, follower)
    with deferred() as stop, training.tracked():
        training.run(stop)
    if stop.signum is not None:
        # it came after the last step: all is saved, and whoever sent it still wants an end
        raise Interrupted(stop.signum)
    return sorted(training.state.skipped)


def check_batch(config: LoopConfig, runtime: Runtime) -> None:
    """Raises `CloudsError` for a batch too small to give every process an example."""
    if config.batch_size < runtime.world_size:
        raise CloudsError(
            f"a batch of {config.batch_size} cannot be split between {runtime.world_size} processes",
            "raise batch_size or start fewer processes",
        )


class _Training:
    """One training on one process among those that share it."""

    def __init__(
        self,
        learner: Learner,
        config: LoopConfig,
        place: TrainingPlace,
        validation: Validation | None,
        follower: Follower | None,
    ) -> None:
        self.learner, self.config, self.place = learner, config, place
        self.validation, self.follower = validation, follower
        self.accelerator = place.runtime.accelerator
        learner.model.to(place.runtime.device)
        groups = learner.parameter_groups()
        self.names = {
            id(parameter): name
            for group in groups
            for name, parameter in zip(group["parameter_names"], group["params"], strict=True)
        }
        keys = ("params", "lr", "weight_decay")
        optimizer = torch.optim.AdamW([{key: group[key] for key in keys} for group in groups])
        self.base_lrs = [group["lr"] for group in groups]
        self.state = _State(optimizer, {})
        self.checkpointer = Checkpointer(place.folder / "checkpoints", place.runtime, keep=config.keep_checkpoints)
        self.parallel, self.optimizer = self.accelerator.prepare(learner.model, optimizer)
        self.trackers: Trackers | None = None
        # only now: `prepare` would move the optimizer's step counters to a device, which then waits for each of them
        self._resume()

    @contextmanager
    def tracked(self) -> Iterator[None]:
        """Open the run's trackers, on the main process, and close them whatever happens."""
        runtime, folder = self.place.runtime, self.place.trackers
        if runtime.is_main and folder is not None and runtime.config.trackers and self.state.step < self.config.steps:
            self.trackers = Trackers(runtime.config.trackers, folder, self.state.step)
        try:
            yield
        finally:
            if self.trackers is not None:
                self.trackers.finish()

    def run(self, stop: StopRequest) -> None:
        config, place, state, runtime = self.config, self.place, self.state, self.place.runtime
        log = StepLog(place.folder / "log.jsonl", state.step) if runtime.is_main else None
        note, begun, resumed_at = ProgressNote(place.folder), time.perf_counter(), state.step
        place.progress.skip(state.step)
        self.learner.model.train()
        steps = range(state.step, config.steps)
        for drawn in load_steps(
            self.learner.draws, steps, config.batch_size, runtime.rank, runtime.world_size, runtime.config.workers
        ):
            losses = self._step(drawn)
            values = {"lr": self.optimizer.param_groups[-1]["lr"], **losses, **self._validated()}
            if log is not None:
                log.write(state.step, values)
                elapsed = time.perf_counter() - begun
                note.note(state.step, elapsed * state.step / (state.step - resumed_at))
            if self.trackers is not None:
                self.trackers.log(state.step, values)
            place.progress.advance(1, f"loss {losses[self.learner.losses[0]]:.3g}")
            if state.step % config.checkpoint_every == 0 and state.step < config.steps:
                self._save()
            self._stop_if_asked(stop)
        self._save()
        note.clear()
        self.accelerator.free_memory()
        given = state.best.weights if state.best is not None else state.average
        if given:
            self.learner.load_state(given)
        self.learner.model.eval()

    def _step(self, drawn: Sequence[Any]) -> dict[str, float]:
        """One optimizer step on this process's share of the batch; the losses of the whole batch."""
        state, config = self.state, self.config
        # layers that draw (dropout, drop path) draw by step, so that a resumed training draws the same
        torch.manual_seed(item_seed(self.place.seed, "layers", state.step, self.place.runtime.rank))
        factor = lr_factor(state.step, config.steps, config.optimizer)
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * factor
        step = Step(
            number=state.step,
            seed=self.place.seed,
            batch_size=config.batch_size,
            parallel=self.parallel,
            accelerator=self.accelerator,
        )
        sums = self.learner.backward(drawn, step)
        if config.optimizer.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.parallel.parameters(), config.optimizer.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        if config.ema is not None:
            ema_update(state.average, self.learner.state(), config.ema)
        if self.follower is not None:
            self.follower.follow(state.step)
        return self._summed(sums, drawn)

    def _validated(self) -> Mapping[str, float]:
        """What the validation measures after this step; nothing where none is due."""
        validation, state = self.validation, self.state
        if validation is None or (state.step % validation.every and state.step < self.config.steps):
            return {}
        with self._given():
            values = validation.measure()
            value = next(iter(values.values()))
            if validation.keep_best and (state.best is None or value > state.best.value):
                weights = {name: tensor.detach().cpu().clone() for name, tensor in self.learner.state().items()}
                state.best = _Best(state.step, value, weights)
        self.learner.model.train()
        return values

    @contextmanager
    def _given(self) -> Iterator[None]:
        """The model with the weights that the training would give; afterwards with its own again."""
        if not self.state.average:
            yield
            return
        own = {name: tensor.detach().clone() for name, tensor in self.learner.state().items()}
        self.learner.load_state(self.state.average)
        yield
        self.learner.load_state(own)

    def _summed(self, sums: Tensor, drawn: Sequence[Any]) -> dict[str, float]:
        """The losses summed over processes, which share in passing what they skipped."""
        skipped = {item for one in drawn for item in getattr(one, "skipped", ())} - self.state.skipped
        own = torch.cat([sums, sums.new_tensor([len(skipped)])])
        *values, passed_over = self.accelerator.reduce(own, "sum").tolist()
        losses = self._finite(dict(zip(self.learner.losses, values, strict=True)))
        if passed_over:
            self._note_skipped(set().union(*self.place.runtime.gather(skipped)))
        return losses

    def _resume(self) -> None:
        found = self.checkpointer.latest()
        if found is not None:
            self.learner.load_state(found.groups["model"], str(self.checkpointer.folder))
            restore_optimizer(self.state.optimizer, self.names, found.groups.get("optimizer", {}))
            self.state.step = found.step
            self.state.skipped = set(found.values["skipped"])
            if self.follower is not None:
                self.follower.load_state(found.groups["follower"])
            if "best" in found.values:
                self.state.best = _Best(**found.values["best"], weights=found.groups["best"])
        if self.config.ema is not None:
            average = found.groups["average"] if found is not None else self.learner.state()
            device = self.place.runtime.device
            self.state.average = {name: tensor.detach().clone().to(device) for name, tensor in average.items()}

    def _save(self) -> None:
        state = self.state
        groups: dict[str, dict[str, Tensor]] = {
            "model": self.learner.state(),
            "optimizer": flatten_optimizer(state.optimizer, self.names),
        }
        if state.average:
            groups["average"] = state.average
        if self.follower is not None:
            groups["follower"] = self.follower.state()
        lr = self.optimizer.param_groups[-1]["lr"]
        values: dict[str, Any] = {"seed": self.place.seed, "lr": lr, "skipped": sorted(state.skipped)}
        if state.best is not None:
            groups["best"] = state.best.weights
            values["best"] = {"step": state.best.step, "value": state.best.value}
        self.checkpointer.save(Checkpoint(state.step, groups, values))

    def _stop_if_asked(self, stop: StopRequest) -> None:
        asked = torch.tensor([stop.signum or 0], device=self.place.runtime.device)
        signum = int(self.accelerator.gather(asked).max())
        if signum:
            self._save()
            raise Interrupted(signum)

    def _note_skipped(self, new: set[str]) -> None:
        if self.place.runtime.is_main:
            for item in sorted(new):
                self.place.progress.say(f"passed over: {item}")
        self.state.skipped |= new
        if len(self.state.skipped) > self.place.max_failures:
            raise CloudsError(
                f"{len(self.state.skipped)} training images cannot be used, more than the budget of "
                f"{self.place.max_failures} ('max_failures'); the last: {sorted(new)[-1]}",
                "mend the files and run the same command",
            )

    def _finite(self, losses: dict[str, float]) -> dict[str, float]:
        if not all(map(math.isfinite, losses.values())):
            raise CloudsError(
                f"the loss of step {self.state.step} is not a finite number: {losses}",
                "lower optimizer.lr, or set runtime.mixed_precision to no; the last checkpoint is kept",
            )
        return losses
