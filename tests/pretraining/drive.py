"""Runs a learner for a few steps without the loop's checkpoints, averages and processes."""

from typing import Any

import torch
from accelerate import Accelerator

from clouds.training.loop import Learner, Step


def drive(learner: Learner, steps: int, batch_size: int, seed: int, *, clip: float = 1.0) -> list[list[float]]:
    """Train the learner's model in place; the losses of each step, in the order of `learner.losses`."""
    accelerator = Accelerator(cpu=True)
    groups: list[dict[str, Any]] = learner.parameter_groups()
    optimizer = torch.optim.AdamW([{key: group[key] for key in ("params", "lr", "weight_decay")} for group in groups])
    learner.model.train()
    losses = []
    for number in range(steps):
        drawn = [learner.draws[draw] for draw in range(number * batch_size, (number + 1) * batch_size)]
        step = Step(number=number, seed=seed, batch_size=batch_size, parallel=learner.model, accelerator=accelerator)
        losses.append(learner.backward(drawn, step).tolist())
        torch.nn.utils.clip_grad_norm_(learner.model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return losses
