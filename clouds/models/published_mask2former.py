"""Backbones of detectron2's Mask2Former checkpoints as transformers builds them, told by names and shapes alone.

Sources of the names: facebookresearch/detectron2 (`ResNet`) and facebookresearch/Mask2Former (`D2SwinTransformer`).
It knows no head and no class.
"""

import json
import math
import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from transformers import AutoBackbone, PreTrainedConfig, ResNetConfig, SwinConfig

from clouds.errors import CloudsError
from clouds.models.backbones import Backbone, transformers_backbone
from clouds.models.published_names import count_blocks

BACKBONE = "backbone."
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""How detectron2's configs of Mask2Former, and transformers' models, normalise images."""

_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_SWIN_BLOCK = "layers.{}.blocks.{}."
_SWIN_NAMES = (
    (r"patch_embed\.proj\.(.+)", r"swin.embeddings.patch_embeddings.projection.\1"),
    (r"patch_embed\.norm\.(.+)", r"swin.embeddings.norm.\1"),
    (r"(layers\.\d+\.blocks\.\d+)\.norm1\.(.+)", r"swin.encoder.\1.layernorm_before.\2"),
    (r"(layers\.\d+\.blocks\.\d+)\.norm2\.(.+)", r"swin.encoder.\1.layernorm_after.\2"),
    (r"(layers\.\d+\.blocks\.\d+)\.attn\.proj\.(.+)", r"swin.encoder.\1.attention.o_proj.\2"),
    (
        r"(layers\.\d+\.blocks\.\d+)\.attn\.(relative_position_bias)_table",
        r"swin.encoder.\1.attention.\2.\2_table",
    ),
    (r"(layers\.\d+\.blocks\.\d+\.mlp\..+)", r"swin.encoder.\1"),
    (r"(layers\.\d+\.downsample\..+)", r"swin.encoder.\1"),
)
_SWIN_PACKED = re.compile(r"(layers\.\d+\.blocks\.\d+)\.attn\.qkv\.(weight|bias)")
_SWIN_NORM = re.compile(r"norm(\d)\.(.+)")
_RESNET_PART = re.compile(r"res(\d)\.(\d+)\.(conv(\d)|shortcut)\.(.+)")
_RESNET_STEM = re.compile(r"stem\.conv1\.(.+)")

Tensors = Mapping[str, Tensor]


def mask2former_backbone(tensors: Tensors) -> tuple[Backbone, str, frozenset[str]] | None:
    """The backbone in a checkpoint of detectron2's Mask2Former, what it is called, and the names that were used.

    float32, on the CPU, not frozen. None where the names are neither those of a ResNet nor of a Swin. Raises
    `CloudsError` for one with parts that transformers' has not, or without some that it has.
    """
    own = {name.removeprefix(BACKBONE): tensor for name, tensor in tensors.items() if name.startswith(BACKBONE)}
    for first, kind, config, renamed in _KINDS:
        if first in own:
            backbone, used = _build(config(own), renamed(own), kind)
            return backbone, kind, frozenset(BACKBONE + name for name in used)
    return None


def _build(config: PreTrainedConfig, renamed: dict[str, tuple[str, Tensor]], kind: str) -> tuple[Backbone, set[str]]:
    """The backbone with these tensors, by its own names with the published ones, and which of those it took."""
    with torch.random.fork_rng(devices=[]):
        model = AutoBackbone.from_config(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    # neither a map nor a weight: a final norm that is never asked, and a counter
    optional = {name for name in wanted if name.startswith("swin.layernorm.") or name.endswith("num_batches_tracked")}
    found = {name: tuple(tensor.shape) for name, (_, tensor) in renamed.items()}
    wrong = sorted(name for name in wanted.keys() - optional if found.get(name) != wanted[name])
    strange = sorted(published for name, (published, _) in renamed.items() if name not in wanted)
    if wrong or strange:
        told = f"it lacks {wrong[0]}" if wrong else f"{BACKBONE}{strange[0]} has no place"
        others = len(wrong) + len(strange) - 1
        more = f", and {others} more names do not fit" if others else ""
        raise CloudsError(
            f"the checkpoint's backbone looks like detectron2's {kind}, but {told}{more}",
            "only plain ones are known: a ResNet with the basic stem, a Swin without absolute position embedding",
        )
    model.load_state_dict({name: tensor.float() for name, (_, tensor) in renamed.items()}, strict=False)
    described = json.loads(config.to_json_string(use_diff=False))
    # whoever built it last changes nothing
    described.pop("transformers_version", None)
    backbone = transformers_backbone(model, described, IMAGENET_MEAN, IMAGENET_STD)
    return backbone, {published for published, _ in renamed.values()}


def _swin_config(tensors: Tensors) -> SwinConfig:
    stages = [str(stage) for stage in range(count_blocks(tensors, r"layers\.(\d+)\."))]
    first = _SWIN_BLOCK.format("0", "0")
    table = f"{first}attn.relative_position_bias_table"
    if table not in tensors or f"{first}mlp.fc1.weight" not in tensors:
        raise CloudsError(f"the checkpoint's backbone lacks {table} or {first}mlp.fc1.weight", "fetch it again")
    width = len(tensors["patch_embed.proj.bias"])
    return SwinConfig(
        embed_dim=width,
        depths=[count_blocks(tensors, rf"layers\.{stage}\.blocks\.(\d+)\.") for stage in stages],
        num_heads=[tensors[table.replace("layers.0", f"layers.{stage}", 1)].shape[1] for stage in stages],
        window_size=(math.isqrt(len(tensors[table])) + 1) // 2,
        mlp_ratio=len(tensors[f"{first}mlp.fc1.weight"]) / width,
        out_features=_STAGES,
    )


def _swin_names(tensors: Tensors) -> dict[str, tuple[str, Tensor]]:
    named: dict[str, tuple[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.endswith(".relative_position_index"):
            continue
        if packed := _SWIN_PACKED.fullmatch(name):
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                named[f"swin.encoder.{packed[1]}.attention.{letter}_proj.{packed[2]}"] = name, part
        elif norm := _SWIN_NORM.fullmatch(name):
            named[f"hidden_states_norms.stage{int(norm[1]) + 1}.{norm[2]}"] = name, tensor
        else:
            found = (re.fullmatch(pattern, name) for pattern, _ in _SWIN_NAMES)
            ours = next((one.expand(to) for one, (_, to) in zip(found, _SWIN_NAMES, strict=True) if one), name)
            named[ours] = name, tensor
    return named


def _resnet_config(tensors: Tensors) -> ResNetConfig:
    stages = range(2, 6)
    bottleneck = "res2.0.conv3.weight" in tensors
    last = "conv3" if bottleneck else "conv2"
    return ResNetConfig(
        embedding_size=len(tensors["stem.conv1.weight"]),
        hidden_sizes=[len(tensors.get(f"res{stage}.0.{last}.weight", ())) for stage in stages],
        depths=[count_blocks(tensors, rf"res{stage}\.(\d+)\.") for stage in stages],
        layer_type="bottleneck" if bottleneck else "basic",
        out_features=_STAGES,
    )


def _resnet_names(tensors: Tensors) -> dict[str, tuple[str, Tensor]]:
    named: dict[str, tuple[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, stem = _RESNET_PART.fullmatch(name), _RESNET_STEM.fullmatch(name)
        if part is not None:
            stage, block, number, rest = int(part[1]) - 2, part[2], part[4], part[5]
            inner = "shortcut" if number is None else f"layer.{int(number) - 1}"
            ours = f"encoder.stages.{stage}.layers.{block}.{inner}.{_resnet_rest(rest)}"
        elif stem is not None:
            ours = f"embedder.embedder.{_resnet_rest(stem[1])}"
        else:
            ours = name
        named[ours] = name, tensor
    return named


def _resnet_rest(rest: str) -> str:
    """A convolution and its norm are one module there, two here."""
    return f"normalization.{rest.removeprefix('norm.')}" if rest.startswith("norm.") else f"convolution.{rest}"


_KINDS: tuple[
    tuple[str, str, Callable[[Tensors], PreTrainedConfig], Callable[[Tensors], dict[str, tuple[str, Tensor]]]], ...
] = (
    ("patch_embed.proj.bias", "Swin", _swin_config, _swin_names),
    ("stem.conv1.weight", "ResNet", _resnet_config, _resnet_names),
)
