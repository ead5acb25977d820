"""A backbone of transformers (Swin, ResNet, ...) as a tower of four maps. It knows no head and reads no file."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig

from clouds.errors import UsageError
from clouds.models.image_backbone import STRIDES, Tower

_TRIAL = 64
"""Side of an image that every stride divides."""


class FeatureMaps(nn.Module):
    """The maps of a backbone of transformers, as a list."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        return list(self.model(images_BCHW).feature_maps)


def transformers_tower(model: nn.Module) -> Tower:
    """The tower of a built backbone. Raises `UsageError` where its maps are not at `STRIDES`."""
    module: Any
    for module in model.modules():
        if hasattr(module, "drop_prob"):
            # transformers' own stochastic depth, which draws from the process: a resumed run could not repeat it
            module.drop_prob = 0.0
    maps = FeatureMaps(model)
    # configs of several kinds say channels and strides in several ways
    with torch.no_grad():
        found = maps.eval()(torch.zeros(1, 3, _TRIAL, _TRIAL))
    strides = tuple(_TRIAL // one.shape[-1] for one in found)
    if strides != STRIDES:
        raise UsageError(f"the backbone's feature maps have the strides {strides}, not {STRIDES}", "take another one")
    channels = tuple(one.shape[1] for one in found)
    return Tower(parts={"maps": maps}, channels=(channels[0], channels[1], channels[2], channels[3]))


def rebuild_transformers(described: dict[str, Any]) -> nn.Module:
    """The backbone of these values of its config, with random weights."""
    values = deepcopy(described)
    kind = values.pop("model_type")
    try:
        model: nn.Module = AutoBackbone.from_config(AutoConfig.for_model(kind, **values))
    except (ValueError, KeyError) as error:
        raise UsageError(f"transformers has no backbone of the kind {kind!r}: {error}") from error
    return model
