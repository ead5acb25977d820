"""The optimizer's parameter groups of a model that learns all its weights. It knows no model."""

from typing import Any

from torch import nn

from clouds.training.settings import OptimizerConfig


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Two groups: matrices and kernels, which decay, and the rest (biases, norms, scales), which do not."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decaying = [(name, parameter) for name, parameter in named if parameter.ndim > 1]
    others = [(name, parameter) for name, parameter in named if parameter.ndim <= 1]
    return [
        {
            "params": [parameter for _, parameter in group],
            "parameter_names": [name for name, _ in group],
            "lr": config.lr,
            "weight_decay": decay,
        }
        for group, decay in ((decaying, config.weight_decay), (others, 0.0))
        if group
    ]
