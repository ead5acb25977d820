"""Image towers of CLIP models as multi-scale backbones, through open_clip's own factory. They know no head.

A new kind of trunk is a new class that fulfils `Backbone` and a line in `_adapt`.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pickle import UnpicklingError
from typing import Any, Protocol

import open_clip
import timm
import torch
from safetensors import SafetensorError
from timm.layers import DropPath
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from clouds.errors import CloudsError, UsageError, nearest
from clouds.models.clip_weights import WHAT, factory_arguments
from clouds.models.segmenter_config import BackboneConfig
from clouds.models.transformers_backbone import rebuild_transformers
from clouds.models.weights import is_local

STRIDES = (4, 8, 16, 32)
_LAYER_SCALE = 0.1
LEAST_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
"""A text tower that costs nothing: open_clip builds none without one."""

LOAD_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError, UnpicklingError)
"""What open_clip lets through for weights that are missing, damaged or of another model."""


class Backbone(Protocol):
    """What a segmenter needs of an image tower; also a torch module.

    `channels` and `strides` describe the four feature maps, `mean` and `std` (1, 3, 1, 1) the normalisation of images
    in 0..1, `architecture` is what `rebuild_backbone` makes the same module of, without weights. `embedding_dim` is the
    length of what `embed` gives, None where the CLIP's projection was not kept.
    """

    channels: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]
    mean: Tensor
    std: Tensor
    architecture: dict[str, Any]
    embedding_dim: int | None

    @property
    def frozen(self) -> bool: ...

    def freeze(self, frozen: bool) -> None: ...

    def train(self, mode: bool) -> Any: ...

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]: ...

    def embed(self, pooled_BQC: Tensor) -> Tensor: ...

    def __call__(self, images_BCHW: Tensor) -> list[Tensor]: ...


class OpenClipBackbone(nn.Module):
    """The ConvNeXt trunk of an open_clip model: its four stages, and on request its projection to CLIP's vectors."""

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: ConvNeXt, architecture: dict[str, Any], projection: nn.Module | None = None) -> None:
        super().__init__()
        stages = trunk.feature_info
        self.strides = tuple(stage["reduction"] for stage in stages)
        self.channels = tuple(stage["num_chs"] for stage in stages)
        self.stem, self.stages = trunk.stem, trunk.stages
        self.architecture = architecture
        self.embedding_dim = None if projection is None else int(architecture["model"]["embed_dim"])
        self.projection = None if projection is None else nn.Sequential(trunk.norm_pre, trunk.head, projection)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(architecture[name]).view(1, -1, 1, 1), persistent=False)
        for module in self.modules():
            if isinstance(module, DropPath):
                # its noise comes from the process, so a resumed run could not repeat it
                module.drop_prob = 0.0
        self.freeze(False)

    @property
    def frozen(self) -> bool:
        return self._frozen

    def freeze(self, frozen: bool) -> None:
        """Fix the weights, and keep evaluation mode whatever `train` says; or undo both."""
        self._frozen = frozen
        self.requires_grad_(not frozen)
        if self.projection is not None:
            # no loss reaches it
            self.projection.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "OpenClipBackbone":
        return super().train(mode and not self._frozen)

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Feature maps at `strides` of normalised float images whose sides are multiples of the largest stride."""
        features = []
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            features_BCHW = self.stem(images_BCHW)
            for stage in self.stages:
                features_BCHW = stage(features_BCHW)
                features.append(features_BCHW)
        return features

    @torch.no_grad()
    def embed(self, pooled_BQC: Tensor) -> Tensor:
        """The CLIP's own vectors (B, Q, E), not normalised, of vectors pooled from the last feature map.

        Raises `ValueError` where the projection was not kept.
        """
        if self.projection is None:
            raise ValueError("this backbone was built without the CLIP's projection")
        maps_NC11 = pooled_BQC.flatten(0, 1)[:, :, None, None]
        embedded_BQE: Tensor = self.projection(maps_NC11).unflatten(0, pooled_BQC.shape[:2])
        return embedded_BQE


def load_backbone(config: BackboneConfig, *, keep_projection: bool = False) -> Backbone:
    """The backbone with its weights, on the CPU in float32; with `keep_projection` it can `embed`.

    Raises `CloudsError` when the weights are neither on disk nor reachable, or broken, and `UsageError` when
    open_clip has no such architecture or its image tower is of a kind that is not supported.
    """
    if config.hub_id is None and not is_local(config.weights) and config.pretrained is None:
        backbone = _random(config.weights, keep_projection)
    else:
        backbone = _pretrained(config, keep_projection)
    backbone.freeze(config.frozen)
    return backbone


def rebuild_backbone(architecture: Mapping[str, Any]) -> Backbone:
    """The backbone described by `Backbone.architecture`, with random weights; reads no file."""
    if "transformers" in architecture:
        return rebuild_transformers(dict(architecture))
    model = deepcopy(dict(architecture["model"]))
    clip = open_clip.CLIP(**model, text_cfg=dict(LEAST_TEXT))
    return _adapt(clip.visual, dict(architecture), "the saved architecture")


def backbone_of(
    visual: nn.Module, model_config: Mapping[str, Any], preprocess: Mapping[str, Any], *, keep_projection: bool = False
) -> Backbone:
    """A built CLIP's image tower, `CLIP.visual`, as a backbone, not frozen.

    `model_config` is open_clip's description of the model, `preprocess` has the `mean` and `std` of images in 0..1.
    Raises `UsageError` for an image tower of a kind that is not supported.
    """
    return _adapt(visual, _architecture(model_config, preprocess, keep_projection), "this CLIP")


def _random(name: str, keep_projection: bool) -> Backbone:
    known = open_clip.get_model_config(name) or _bare_trunk(name)
    if known is None:
        raise UsageError(
            f"'train.segmenter.backbone.weights' = {name!r} is not an architecture that open_clip or timm knows",
            f"{nearest(name, open_clip.list_models())}; or give a hub id (owner/name), or a folder that starts with ./",
        )
    defaults = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    backbone = rebuild_backbone(_architecture(known, defaults, keep_projection))
    for parameter_name, parameter in backbone.named_parameters():
        if parameter_name.endswith(".gamma"):
            # at its published 1e-6 a block does nothing until after many thousand steps
            parameter.data.fill_(_LAYER_SCALE)
    return backbone


def _bare_trunk(name: str) -> dict[str, Any] | None:
    """The config of a CLIP around one of timm's trunks; its other parts are as small as can be."""
    if not timm.is_model(name):
        return None
    return {"embed_dim": 8, "vision_cfg": {"timm_model_name": name, "timm_pool": "", "image_size": 64}}


def _pretrained(config: BackboneConfig, keep_projection: bool) -> Backbone:
    arguments = factory_arguments(config)
    try:
        clip = open_clip.create_model(**arguments, require_pretrained=True)
        known = open_clip.get_model_config(arguments["model_name"])
    except LOAD_ERRORS as error:
        raise _unusable(config, error) from error
    preprocess = open_clip.get_model_preprocess_cfg(clip)
    return _adapt(clip.visual, _architecture(known, preprocess, keep_projection), config.weights)


def _unusable(config: BackboneConfig, error: Exception) -> CloudsError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    if config.pretrained is None:
        return CloudsError(
            f"{WHAT}: {config.weights} is not a usable open_clip model ({reason})",
            "it needs open_clip_config.json and open_clip_model.safetensors, of one model",
        )
    return CloudsError(
        f"{WHAT}: open_clip cannot load {config.weights!r} with the weights {config.pretrained!r} ({reason})",
        "give a tag that open_clip.list_pretrained() has for this architecture, or a file of its weights",
    )


def _architecture(
    model_config: Mapping[str, Any], preprocess: Mapping[str, Any], keep_projection: bool
) -> dict[str, Any]:
    vision = {**model_config["vision_cfg"], "timm_model_pretrained": False}
    model = {"embed_dim": model_config["embed_dim"], "vision_cfg": vision}
    if "quick_gelu" in model_config:
        model["quick_gelu"] = model_config["quick_gelu"]
    architecture = {"model": model, "mean": list(preprocess["mean"]), "std": list(preprocess["std"])}
    return {**architecture, "keep_projection": True} if keep_projection else architecture


def _adapt(visual: nn.Module, architecture: dict[str, Any], source: str) -> Backbone:
    """The image tower behind `Backbone`, chosen by its type."""
    trunk = getattr(visual, "trunk", visual)
    if isinstance(trunk, ConvNeXt):
        projection = visual.get_submodule("head") if architecture.get("keep_projection") else None
        backbone = OpenClipBackbone(trunk, architecture, projection)
        if backbone.strides == STRIDES:
            return backbone
    raise UsageError(
        f"backbone {source}: its image tower is a {type(trunk).__name__}, which is not supported",
        f"take a model whose image tower is a ConvNeXt with strides {STRIDES}, such as convnext_large_d_320",
    )
