"""Image towers as multi-scale backbones, through open_clip's and timm's own factories. They know no head.

A new kind of tower is a new file that takes it into the parts of a `Tower`, and a line in `_clip_tower`.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pickle import UnpicklingError
from typing import Any, Protocol

import open_clip
import timm
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from safetensors import SafetensorError
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from clouds.errors import CloudsError, UsageError, nearest
from clouds.models.backbone_weights import WHAT, Recipe, recipe
from clouds.models.convnext_backbone import convnext_tower
from clouds.models.image_backbone import ImageBackbone, Tower
from clouds.models.lora import add_adapters
from clouds.models.resnet_backbone import resnet_tower
from clouds.models.segmenter_config import TIMM_PREFIX, BackboneConfig, LoraConfig
from clouds.models.timm_backbone import create_timm, rebuild_timm, timm_tower
from clouds.models.transformers_backbone import rebuild_transformers, transformers_tower
from clouds.models.vit_backbone import TimmTokenProjection, clip_vit_tower
from clouds.models.weights import is_local

_LAYER_SCALE = 0.1
LEAST_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
"""A text tower that costs nothing: open_clip builds none without one."""

LOAD_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError, UnpicklingError)
"""What the libraries let through for weights that are missing, damaged or of another model."""


class Backbone(Protocol):
    """What a segmenter needs of an image tower; also a torch module.

    `channels` and `strides` describe the four feature maps, `mean` and `std` (1, 3, 1, 1) the normalisation of images
    in 0..1, `architecture` is what `rebuild_backbone` makes the same module of, without weights. `embedding_dim` is
    the length of what `embed` gives, None where CLIP's projection is not there. `base` names the weights that a
    segmenter's folder leaves out, None when it leaves out none.
    """

    channels: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]
    mean: Tensor
    std: Tensor
    architecture: dict[str, Any]
    embedding_dim: int | None
    base: BackboneConfig | None

    @property
    def frozen(self) -> bool: ...

    def freeze(self, frozen: bool) -> None: ...

    def hold(self, held: bool) -> None: ...

    def train(self, mode: bool) -> Any: ...

    def embed(self, pooled_BQC: Tensor) -> Tensor:
        """Vectors pooled from the tower's last own map, in the space of CLIP's texts: (B, Q, `embedding_dim`)."""

    def seed_items(self, seeds: Sequence[int]) -> None:
        """One seed per image of the next forward pass, for layers that draw."""

    def checkpoint_activations(self, on: bool) -> None:
        """Trade time for memory in the backward pass."""

    def embeddings(self) -> set[nn.Parameter]:
        """Parameters that weight decay leaves alone besides norms."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...

    def __call__(self, images_BCHW: Tensor) -> list[Tensor]: ...


def load_backbone(config: BackboneConfig, *, keep_projection: bool = False) -> Backbone:
    """The backbone with its weights, on the CPU in float32; what it adds to them starts from torch's generator.

    Args:
        keep_projection: keep the part of a CLIP that `Backbone.embed` needs.

    Raises `CloudsError` when the weights are neither on disk nor reachable, or broken, and `UsageError` when no library
    has such an architecture, its image tower is of a kind that is not supported, or it has no projection to keep.
    """
    options = _options(config, keep_projection)
    known = recipe(config) if _has_weights(config) or config.timm_name is not None else None
    if known is None:
        backbone = _random(config.weights, options)
    elif known.library == "timm":
        backbone = _from_timm(known, config, options)
    else:
        backbone = _from_open_clip(known, config, options)
    if not _has_weights(config):
        _let_learn(backbone)
    backbone.freeze(config.frozen)
    backbone.base = config if config.store == "trained" else None
    return backbone


def rebuild_backbone(architecture: Mapping[str, Any]) -> Backbone:
    """The backbone described by `Backbone.architecture`, with random weights; reads no file."""
    return _rebuild(dict(architecture), "the saved architecture")


def clip_backbone(
    visual: nn.Module, model_config: Mapping[str, Any], preprocess: Mapping[str, Any], *, keep_projection: bool = False
) -> Backbone:
    """A built CLIP's image tower, `CLIP.visual`, as a backbone, not frozen.

    `model_config` is open_clip's description of the model, `preprocess` has the `mean` and `std` of images in 0..1.
    Raises `UsageError` for an image tower of a kind that is not supported.
    """
    architecture = _architecture(model_config, preprocess)
    if keep_projection:
        architecture["keep_projection"] = True
    return _assemble(_clip_tower(visual, architecture, "this CLIP"), architecture, "this CLIP")


def transformers_backbone(
    model: nn.Module, described: Mapping[str, Any], mean: Sequence[float], std: Sequence[float]
) -> Backbone:
    """A built backbone of transformers, with the values of the config it was built from.

    `mean` and `std` normalise images in 0..1. Raises `UsageError` for one whose maps are not at `STRIDES`.
    """
    architecture = {"transformers": dict(described), "mean": list(mean), "std": list(std)}
    return _assemble(transformers_tower(model), architecture, "of transformers")


def _has_weights(config: BackboneConfig) -> bool:
    return config.hub_id is not None or is_local(config.weights) or config.pretrained is not None


def _options(config: BackboneConfig, keep_projection: bool) -> dict[str, Any]:
    """What an architecture says besides the model: only what differs from a bare tower."""
    options: dict[str, Any] = {}
    if keep_projection:
        options["keep_projection"] = True
    if config.lora is not None:
        options["lora"] = config.lora.model_dump(mode="json")
    if config.drop_path:
        options["drop_path"] = config.drop_path
    return options


def _rebuild(architecture: dict[str, Any], source: str) -> ImageBackbone:
    if "transformers" in architecture:
        return _assemble(transformers_tower(rebuild_transformers(architecture["transformers"])), architecture, source)
    if "timm" in architecture:
        return _assemble(timm_tower(rebuild_timm(architecture["timm"]), source), architecture, source)
    clip = open_clip.CLIP(**deepcopy(architecture["model"]), text_cfg=dict(LEAST_TEXT))
    return _assemble(_clip_tower(clip.visual, architecture, source), architecture, source)


def _assemble(tower: Tower, architecture: dict[str, Any], source: str) -> ImageBackbone:
    if architecture.get("keep_projection") and tower.projection is None:
        raise UsageError(
            f"backbone {source}: it has no projection into the space of texts", "take a CLIP of open_clip for that"
        )
    backbone = ImageBackbone(tower, architecture)
    if "lora" in architecture:
        add_adapters(backbone, backbone.parts, LoraConfig(**architecture["lora"]))
    return backbone


def _clip_tower(visual: nn.Module, architecture: Mapping[str, Any], source: str) -> Tower:
    """The image tower of a CLIP in parts, chosen by its type."""
    model = architecture["model"]
    projection_dim = model["embed_dim"] if architecture.get("keep_projection") else None
    if isinstance(visual, ModifiedResNet):
        return resnet_tower(visual, projection_dim)
    if isinstance(visual, VisionTransformer):
        return clip_vit_tower(visual, projection_dim)
    if isinstance(visual, TimmModel) and isinstance(visual.trunk, ConvNeXt):
        tower = convnext_tower(visual, projection_dim)
        if tower is not None:
            return tower
    if isinstance(visual, TimmModel):
        return _timm_trunk_tower(visual, model["vision_cfg"]["timm_model_name"], projection_dim, source)
    raise UsageError(
        f"backbone {source}: its image tower is a {type(visual).__name__}, which is not supported",
        "take a CLIP whose image tower is a ConvNeXt, a ResNet or a vision transformer",
    )


def _timm_trunk_tower(visual: Any, name: str, projection_dim: int | None, source: str) -> Tower:
    """The tower of a CLIP's trunk that is no ConvNeXt; open_clip builds it for one size, so it is built anew."""
    weights = visual.trunk.state_dict()
    trunk, _ = create_timm(name, pretrained=False, num_classes=0)
    projection = None
    if hasattr(visual.trunk, "blocks") and projection_dim:
        projection = TimmTokenProjection(visual)
    tower = timm_tower(trunk, source, projection, projection_dim if projection is not None else None)
    kept = trunk.state_dict()
    trunk.load_state_dict({key: weights[key] for key in kept}, assign=True)
    return tower


def _random(name: str, options: Mapping[str, Any]) -> ImageBackbone:
    known = open_clip.get_model_config(name) or _bare_trunk(name)
    if known is None:
        raise UsageError(
            f"'train.segmenter.backbone.weights' = {name!r} is not an architecture that open_clip knows, or one of "
            "timm's ConvNeXts",
            f"{_nearest_architecture(name)}; or give a hub id (owner/name), or a folder that starts with ./",
        )
    defaults = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    return _rebuild({**_architecture(known, defaults), **options}, name)


def _let_learn(backbone: nn.Module) -> None:
    for name, parameter in backbone.named_parameters():
        if name.endswith(".gamma"):
            # at its published 1e-6 a block does nothing until after many thousand steps
            parameter.data.fill_(_LAYER_SCALE)


def _nearest_architecture(name: str) -> str:
    if timm.is_model(name):
        return f"did you mean '{TIMM_PREFIX}{name}'?"
    return nearest(name, [*open_clip.list_models(), *(f"{TIMM_PREFIX}{model}" for model in timm.list_models())])


def _bare_trunk(name: str) -> dict[str, Any] | None:
    """The config of a CLIP around one of timm's ConvNeXts; its other parts are as small as can be."""
    if name not in timm.list_models(module="convnext"):
        return None
    return {"embed_dim": 8, "vision_cfg": {"timm_model_name": name, "timm_pool": "", "image_size": 64}}


def _from_open_clip(known: Recipe, config: BackboneConfig, options: Mapping[str, Any]) -> ImageBackbone:
    try:
        clip = open_clip.create_model(**known.arguments, require_pretrained=True)
        described = open_clip.get_model_config(known.arguments["model_name"])
    except LOAD_ERRORS as error:
        raise _unusable(config, "open_clip", error) from error
    if known.arguments.get("force_quick_gelu"):
        described["quick_gelu"] = True
    architecture = {**_architecture(described, open_clip.get_model_preprocess_cfg(clip)), **options}
    return _assemble(_clip_tower(clip.visual, architecture, config.weights), architecture, config.weights)


def _from_timm(known: Recipe, config: BackboneConfig, options: Mapping[str, Any]) -> ImageBackbone:
    arguments = dict(known.arguments)
    try:
        trunk, size = create_timm(arguments.pop("model_name"), **arguments)
    except LOAD_ERRORS as error:
        raise _unusable(config, "timm", error) from error
    normalisation = {key: list(trunk.pretrained_cfg[key]) for key in ("mean", "std")}
    architecture = {"timm": {"name": known.name, "args": {**known.args, **size}}, **normalisation, **options}
    return _assemble(timm_tower(trunk, config.weights), architecture, config.weights)


def _unusable(config: BackboneConfig, library: str, error: Exception) -> CloudsError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    if config.pretrained is None:
        return CloudsError(
            f"{WHAT}: {config.weights} is not a usable {library} model ({reason})",
            "it needs open_clip_config.json and open_clip_model.safetensors, or timm's config.json and "
            "model.safetensors, of one model",
        )
    return CloudsError(
        f"{WHAT}: {library} cannot load {config.weights!r} with the weights {config.pretrained!r} ({reason})",
        f"give a tag that {library}.list_pretrained() has for this architecture, or a file of its weights",
    )


def _architecture(model_config: Mapping[str, Any], preprocess: Mapping[str, Any]) -> dict[str, Any]:
    vision = {**model_config["vision_cfg"], "timm_model_pretrained": False}
    model = {"embed_dim": model_config["embed_dim"], "vision_cfg": vision}
    if "quick_gelu" in model_config:
        model["quick_gelu"] = model_config["quick_gelu"]
    return {"model": model, "mean": list(preprocess["mean"]), "std": list(preprocess["std"])}
