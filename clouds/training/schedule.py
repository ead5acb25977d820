"""The learning rate at a step, as a pure function. It holds no state, so a checkpoint need not save one."""

import math

from clouds.training.settings import OptimizerConfig


def lr_factor(step: int, steps: int, config: OptimizerConfig) -> float:
    """What the learning rate is multiplied by in `step` (0-based) of `steps`."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "constant":
        return warmup
    falling, gone = max(1, steps - config.hold_steps), max(0, step - config.hold_steps)
    if config.schedule == "cosine":
        return warmup * 0.5 * (1 + math.cos(math.pi * gone / falling))
    return warmup * (1 - gone / falling) ** config.power
