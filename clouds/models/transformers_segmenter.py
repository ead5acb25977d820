"""transformers' Mask2Former as our segmenter: the modules of its head are ours, under other names. No command line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from clouds.data.labels import LabelMap
from clouds.errors import CloudsError
from clouds.models.backbones import Backbone, transformers_backbone
from clouds.models.image_backbone import STRIDES
from clouds.models.published import Converted
from clouds.models.published_mask2former import IMAGENET_MEAN, IMAGENET_STD
from clouds.models.segmenter import MaskSegmenter
from clouds.models.segmenter_config import HeadConfig

PREFIXES = (
    ("model.pixel_level_module.encoder.", "backbone.maps.model."),
    ("model.pixel_level_module.decoder.", "head.pixel_decoder."),
    ("model.transformer_module.", "head.transformer."),
    ("class_predictor.", "head.class_predictor."),
)
"""Beginnings of the names of weights there and here."""

_IMAGENET = {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
_FIXED = {
    "pre_norm": False,
    "enforce_input_projection": False,
    "common_stride": STRIDES[0],
    "activation_function": "relu",
}
"""What our head takes as given."""


def read_transformers(folder: Path, label_map: LabelMap | None = None) -> Converted:
    """The segmenter in a folder that `Mask2FormerForUniversalSegmentation.save_pretrained` wrote, on the CPU.

    `label_map` are the classes it was trained for; without it those the folder names. Raises `CloudsError` for a folder
    of something else, damaged or incomplete weights, and a head of a kind that ours is not.
    """
    config = _config(folder)
    label_map = label_map or _classes(config, folder)
    if label_map.num_classes != config.num_labels:
        raise CloudsError(
            f"{folder} was trained for {config.num_labels} classes, and {label_map.num_classes} are given",
            "give its classes, in their order, by --classes; or leave that out",
        )
    tensors, backbone = _weights(folder, config)
    with torch.random.fork_rng(devices=[]):
        model = MaskSegmenter(backbone, _head(config, folder), label_map.num_classes)
    renamed = {_ours(name): name for name in tensors}
    model.load_state_dict({ours: tensors[name] for ours, name in renamed.items() if ours in model.state_dict()})
    used = tuple(sorted(name for ours, name in renamed.items() if ours in model.state_dict()))
    left = dict.fromkeys(sorted(tensors.keys() - set(used)), "the loss")
    return Converted(model.eval(), label_map, f"transformers' {config.backbone_config.model_type}", used, left)


def _config(folder: Path) -> Mask2FormerConfig:
    try:
        described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = described["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CloudsError(
            f"{folder} is no folder of transformers: its config.json is missing or tells no model_type",
            "give a checkpoint of CLOUDS, or a folder that Mask2FormerForUniversalSegmentation was saved in",
        ) from error
    if kind != Mask2FormerConfig.model_type:
        raise CloudsError(f"{folder} holds transformers' {kind!r}", "only its 'mask2former' can be converted")
    return Mask2FormerConfig.from_pretrained(folder, local_files_only=True)


def _classes(config: Mask2FormerConfig, folder: Path) -> LabelMap:
    try:
        return LabelMap.of([config.id2label[id_] for id_ in range(config.num_labels)])
    except (ValueError, KeyError) as error:
        raise CloudsError(f"the classes of {folder} cannot be used: {error}", "give them by --classes") from error


def _head(config: Mask2FormerConfig, folder: Path) -> HeadConfig:
    other = {name: value for name, fixed in _FIXED.items() if (value := getattr(config, name)) != fixed}
    widths = {config.feature_size, config.mask_feature_size, config.hidden_dim}
    if other or len(widths) > 1:
        told = ", ".join(f"{name} = {value!r}" for name, value in other.items()) or f"widths {sorted(widths)}"
        raise CloudsError(f"{folder}: its head is of another kind than ours: {told}", "published ones are not")
    return HeadConfig(
        channels=config.hidden_dim,
        queries=config.num_queries,
        heads=config.num_attention_heads,
        encoder_layers=config.encoder_layers,
        encoder_feedforward=config.encoder_feedforward_dim,
        decoder_layers=config.decoder_layers,
        decoder_feedforward=config.dim_feedforward,
    )


def _weights(folder: Path, config: Mask2FormerConfig) -> tuple[Mapping[str, Tensor], Backbone]:
    try:
        with torch.random.fork_rng(devices=[]):
            model, info = Mask2FormerForUniversalSegmentation.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
            )
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise CloudsError(f"{folder}: its weights cannot be read: {str(error).splitlines()[0]}", "copy it again") from (
            error
        )
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("criterion."))
    if missing:
        raise CloudsError(f"{folder}: its weights lack {missing[0]} ({len(missing)} in all)", "copy it again")
    processor = _normalisation(folder)
    encoder = model.model.pixel_level_module.encoder
    described = json.loads(config.backbone_config.to_json_string(use_diff=False))
    # whoever saved it last changes nothing
    described.pop("transformers_version", None)
    mean, std = processor["image_mean"], processor["image_std"]
    return model.state_dict(), transformers_backbone(encoder, described, mean, std)


def _normalisation(folder: Path) -> dict[str, Any]:
    path = folder / "preprocessor_config.json"
    try:
        said = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return {key: [float(value) for value in said.get(key, default)] for key, default in _IMAGENET.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CloudsError(f"{path} cannot be read: {error}", "copy it again, or remove it for ImageNet's") from error


def _ours(name: str) -> str:
    return next((ours + name.removeprefix(there) for there, ours in PREFIXES if name.startswith(there)), name)
