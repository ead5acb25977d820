"""Puts the weights of a checkpoint back into a model that learns all of them. It knows no model."""

from collections.abc import Mapping

from torch import Tensor, nn

from clouds.errors import CloudsError


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load all weights by name. Raises `CloudsError`, naming `where` they are from, when they are another model's."""
    own = {name: tensor.shape for name, tensor in model.state_dict().items()}
    given = {name: tensor.shape for name, tensor in tensors.items()}
    differing = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
    if differing:
        raise CloudsError(
            f"{where}: the weights do not fit the model; {len(differing)} differ, the first is {differing[0]}",
            "restore the sizes the training began with, or begin it anew",
        )
    model.load_state_dict(dict(tensors))
