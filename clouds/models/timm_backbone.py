"""Any model of timm as an image tower: pyramids by their strides, transformers through the neck. It finds no weights.

Which of the two a model is, its taps and its widths are read from the model, not from its name.
"""

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from clouds.errors import UsageError
from clouds.models.image_backbone import STRIDES, Tower
from clouds.models.vit_backbone import timm_vit_tower

_ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False})
"""How timm's families are asked to take images of any size; convolutions need not be asked."""
_PROBE_SIZE = (64, 96)


class TimmPyramid(nn.Module):
    """A model of timm whose stages have the strides 4, 8, 16 and 32, up to the last of them."""

    def __init__(self, trunk: Any, stages: list[int]) -> None:
        super().__init__()
        self.stages = trunk.prune_intermediate_layers(stages, prune_norm=True, prune_head=True)
        self.trunk = trunk

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """The four stages' maps, as timm's `features_only` models give them."""
        maps: list[Tensor] = self.trunk.forward_intermediates(images_BCHW, indices=self.stages, intermediates_only=True)
        return maps


def create_timm(name: str, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    """A model of timm that takes images of any size where its family can, and the argument that makes it so."""
    for extra in _ANY_SIZE:
        try:
            return timm.create_model(name, **{**arguments, **extra}), extra
        except TypeError as error:
            if next(iter(extra)) not in str(error):
                raise
    return timm.create_model(name, **arguments), {}


def rebuild_timm(model: Mapping[str, Any]) -> Any:
    """The model of `{"name": ..., "args": {...}}`, with random weights and no classifier."""
    return timm.create_model(model["name"], pretrained=False, num_classes=0, **model["args"])


def timm_tower(
    trunk: Any, source: str, projection: nn.Module | None = None, projection_dim: int | None = None
) -> Tower:
    """The tower of a whole model of timm, which it takes apart.

    Raises `UsageError`, naming the `source`, for a model that takes images of one size only, or has neither blocks of
    one scale nor stages at `STRIDES`.
    """
    _check_any_size(trunk, source)
    strides = [stage["reduction"] for stage in getattr(trunk, "feature_info", [])]
    if not hasattr(trunk, "forward_intermediates") or not hasattr(trunk, "prune_intermediate_layers"):
        strides = []
    if strides and len(set(strides)) == 1 and hasattr(trunk, "blocks"):
        return timm_vit_tower(trunk, projection, projection_dim)
    if not set(STRIDES) <= set(strides):
        raise _unusable(source, trunk, f"its feature maps have the strides {sorted(set(strides))}, not {STRIDES}")
    # where several stages share a stride, the deepest of them has seen most
    stages = [max(index for index, found in enumerate(strides) if found == stride) for stride in STRIDES]
    first, second, third, fourth = (trunk.feature_info[stage]["num_chs"] for stage in stages)
    pyramid = TimmPyramid(trunk, stages)
    _check_strides(pyramid, source)
    return Tower(
        parts={"tower": pyramid},
        channels=(first, second, third, fourth),
        projection=projection,
        embedding_dim=projection_dim,
    )


@torch.no_grad()
def _check_strides(pyramid: TimmPyramid, source: str) -> None:
    """Raises `UsageError` where maps are smaller than their strides say, as those of unpadded convolutions are."""
    height, width = _PROBE_SIZE
    try:
        maps = pyramid.eval()(next(pyramid.parameters()).new_zeros(1, 3, height, width))
        found = str([tuple(map_BCHW.shape[-2:]) for map_BCHW in maps])
    except RuntimeError as error:
        found = str(error)
    if found != str([(height // stride, width // stride) for stride in STRIDES]):
        raise _unusable(source, pyramid.trunk, f"its maps of {height} x {width} pixels are not at {STRIDES}: {found}")


def _check_any_size(trunk: Any, source: str) -> None:
    config = getattr(trunk, "pretrained_cfg", {})
    patches = getattr(trunk, "patch_embed", None)
    if config.get("fixed_input_size", False) and getattr(patches, "strict_img_size", True):
        raise _unusable(source, trunk, "it takes images of one size only")


def _unusable(source: str, trunk: Any, reason: str) -> UsageError:
    return UsageError(
        f"backbone {source}: its image tower is a {type(trunk).__name__}, which is not supported: {reason}",
        "take a ConvNeXt, ResNet, Swin, or a ViT of timm (DINOv2, DINOv3, EVA02), or a CLIP of open_clip",
    )
