"""Exponential moving average of a model's tensors. It does not know when it is updated, or of what."""

from collections.abc import Mapping

import torch
from torch import Tensor


@torch.no_grad()
def ema_update(average: Mapping[str, Tensor], current: Mapping[str, Tensor], decay: float) -> None:
    """Moves `average` in place to `decay * average + (1 - decay) * current`; integer and bool tensors are copied.

    Args:
        average: float32 tensors (in half precision a step of 0.001 rounds to none) and integer buffers.
        current: tensors of the same names and shapes, any float dtype and device.
        decay: in [0, 1]; 0 copies, 1 changes nothing but the integer buffers.

    Raises ValueError where names, shapes, `decay` or the average's dtype do not fit.
    """
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"decay is {decay}: it lies in [0, 1]")
    if average.keys() != current.keys():
        raise ValueError(f"the average and the model differ in {sorted(average.keys() ^ current.keys())}")
    for name, mean in average.items():
        _check(name, mean, current[name])
    for name, mean in average.items():
        value = current[name].detach().to(mean.device)
        if mean.is_floating_point():
            mean.lerp_(value.to(mean.dtype), 1.0 - decay)
        else:
            mean.copy_(value)


def _check(name: str, mean: Tensor, value: Tensor) -> None:
    if mean.shape != value.shape:
        raise ValueError(f"{name}: the average has shape {tuple(mean.shape)}, the model {tuple(value.shape)}")
    if mean.is_floating_point() and mean.dtype != torch.float32:
        raise ValueError(f"{name}: the average is {mean.dtype}, it has to be float32")
