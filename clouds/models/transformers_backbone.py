"""A backbone of transformers (Swin, ResNet, ...) behind `Backbone`. It knows no head and reads no file."""

import json
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig

from clouds.errors import UsageError

_MAPS = 4
_TRIAL = 64
"""Side of an image that every stride divides."""


class TransformersBackbone(nn.Module):
    """See `clouds.models.backbones.Backbone`. It has no CLIP, so that nothing can be embedded."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.architecture = architecture
        self.embedding_dim: int | None = None
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(architecture[name]).view(1, -1, 1, 1), persistent=False)
        for module in self.modules():
            for rate in {"drop_prob", "p"} & vars(module).keys():
                # its noise comes from the process, so a resumed run could not repeat it
                setattr(module, rate, 0.0)
        maps = self._tried()
        self.channels = (maps[0][0], maps[1][0], maps[2][0], maps[3][0])
        self.strides = (maps[0][1], maps[1][1], maps[2][1], maps[3][1])
        self.freeze(False)

    @property
    def frozen(self) -> bool:
        return self._frozen

    def freeze(self, frozen: bool) -> None:
        """Fix the weights, and keep evaluation mode whatever `train` says; or undo both."""
        self._frozen = frozen
        self.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "TransformersBackbone":
        return super().train(mode and not self._frozen)

    def embed(self, pooled_BQC: Tensor) -> Tensor:
        """Raises `ValueError`."""
        raise ValueError("a backbone of transformers has no CLIP projection")

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Feature maps at `strides` of normalised float images whose sides are multiples of the largest stride."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            maps: list[Tensor] = list(self.model(images_BCHW).feature_maps)
            return maps

    @torch.no_grad()
    def _tried(self) -> list[tuple[int, int]]:
        """Channels and stride of each map as they come out: configs of several kinds say them in several ways."""
        maps = self.model.eval()(torch.zeros(1, 3, _TRIAL, _TRIAL)).feature_maps
        if len(maps) != _MAPS:
            raise UsageError(f"the backbone gives {len(maps)} feature maps", f"take one that gives {_MAPS}")
        return [(one.shape[1], _TRIAL // one.shape[-1]) for one in maps]


def adapt_transformers(
    model: nn.Module, config: PreTrainedConfig, mean: list[float], std: list[float]
) -> "TransformersBackbone":
    """A built backbone of transformers, with the config it was built from, and the normalisation of images in 0..1."""
    described = json.loads(config.to_json_string(use_diff=False))
    # whoever saved it last changes nothing
    described.pop("transformers_version", None)
    return TransformersBackbone(model, {"transformers": described, "mean": mean, "std": std})


def rebuild_transformers(architecture: dict[str, Any]) -> TransformersBackbone:
    """The backbone of `TransformersBackbone.architecture`, with random weights."""
    described = deepcopy(architecture["transformers"])
    kind = described.pop("model_type")
    try:
        config = AutoConfig.for_model(kind, **described)
        return TransformersBackbone(AutoBackbone.from_config(config), architecture)
    except (ValueError, KeyError) as error:
        raise UsageError(f"transformers has no backbone of the kind {kind!r}: {error}") from error
