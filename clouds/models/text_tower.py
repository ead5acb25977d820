"""The text tower of a segmenter's CLIP: where it comes from, and how it is kept without the image tower.

It is kept as a folder in open_clip's own format whose image tower is a stand-in of a few zeros, so that open_clip's own
loaders open it. It knows no segmenter.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
import torch

from clouds.data.labels import LabelMap
from clouds.errors import CloudsError, UsageError
from clouds.models.backbone_weights import CONFIG_KEY, recipe
from clouds.models.backbones import LEAST_TEXT, LOAD_ERRORS
from clouds.models.class_texts import Naming, class_names, read_names
from clouds.models.clip_builder import Clip, load_clip
from clouds.models.segmenter_config import BackboneConfig, EnsembleConfig, SegmenterConfig, TextConfig
from clouds.models.weights import is_local

_LOCAL = "local-dir:"
_LEAST_VISION = {"layers": 1, "width": 8, "head_width": 8, "patch_size": 8, "image_size": 8}


def read_classes(config: SegmenterConfig, label_map: LabelMap) -> Naming | None:
    """What a segmenter needs of the CLIP its backbone comes from to know the classes by name; None if nothing.

    Raises `CloudsError` as `load_backbone` does, and `UsageError` for a backbone without a text tower.
    """
    if not config.reads_names:
        return None
    return naming_of(source_clip(config.backbone), label_map, config.text, config.classifier == "text", config.ensemble)


def naming_of(
    clip: Clip, label_map: LabelMap, config: TextConfig, text: bool, ensemble: EnsembleConfig | None
) -> Naming:
    """The classes as this CLIP reads them; with a `text` classifier its text tower is kept to read others."""
    texts = read_names(clip, class_names(label_map, config), config.templates)
    if not text:
        return Naming(texts, "closed", config.templates, ensemble, None)
    return Naming(texts, "text", config.templates, ensemble, LoadedTower(text_only(clip)))


def source_clip(config: BackboneConfig) -> Clip:
    """The whole CLIP a backbone comes from, float32 on the CPU, in evaluation mode."""
    if config.hub_id is None and not is_local(config.weights) and config.pretrained is None:
        raise UsageError(
            f"'{CONFIG_KEY}' = {config.weights!r} starts from random weights, and names mean nothing to them",
            "give `pretrained` or a CLIP's folder or hub id; or `classifier: closed` and no `ensemble`",
        )
    known = recipe(config)
    if known.library != "open_clip":
        raise UsageError(
            f"'{CONFIG_KEY}' = {config.weights!r} is no CLIP: it has no text tower to read names with",
            "give a CLIP of open_clip, or `classifier: closed` and no `ensemble`",
        )
    arguments = known.arguments
    name = str(arguments["model_name"])
    try:
        return load_clip(Path(name.removeprefix(_LOCAL))) if name.startswith(_LOCAL) else _tagged(config, arguments)
    except LOAD_ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CloudsError(
            f"the text tower of {config.weights}: it cannot be loaded ({reason})",
            "give a CLIP in open_clip's format with its text tower and tokenizer",
        ) from error


@dataclass(frozen=True, eq=False)
class LoadedTower:
    """A text tower in memory; see `TextTower`."""

    clip: Clip

    def open(self) -> Clip:
        return self.clip

    def save(self, folder: Path) -> None:
        self.clip.save(folder)


@dataclass(frozen=True)
class KeptTower:
    """A text tower in a folder, which is read when it is asked for; see `TextTower`.

    Both methods raise `CloudsError` for a folder that is missing or damaged.
    """

    folder: Path

    def open(self) -> Clip:
        try:
            return load_clip(self.folder)
        except LOAD_ERRORS as error:
            raise self._damaged(error) from error

    def save(self, folder: Path) -> None:
        # as it is: a tokenizer that was used is written otherwise than it was read
        try:
            if folder.absolute() != self.folder.absolute():
                shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        except OSError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> CloudsError:
        return CloudsError(
            f"text tower {self.folder} is missing or damaged: {error}", "copy the segmenter's whole folder again"
        )


def text_only(clip: Clip) -> Clip:
    """The CLIP without its image tower, which is taken out of the given one."""
    with torch.random.fork_rng(devices=[]):
        least = open_clip.CLIP(embed_dim=8, vision_cfg=dict(_LEAST_VISION), text_cfg=dict(LEAST_TEXT))
    for parameter in least.visual.parameters():
        parameter.data.zero_()
    clip.model.visual = least.visual
    # the stand-in's own length of vectors: nothing is ever projected by it
    clip.model.visual.proj.data = torch.zeros(_LEAST_VISION["width"], clip.config["model_cfg"]["embed_dim"])
    clip.model.requires_grad_(False)
    model_config = {**clip.config["model_cfg"], "vision_cfg": dict(_LEAST_VISION)}
    return replace(clip, config={**clip.config, "model_cfg": model_config})


def _tagged(config: BackboneConfig, arguments: Mapping[str, Any]) -> Clip:
    name = config.weights
    model = open_clip.create_model(**arguments, require_pretrained=True).eval()
    known = open_clip.get_model_config(name)
    if "hf_tokenizer_name" in known["text_cfg"]:
        raise CloudsError(f"the text tower of {name} has a tokenizer of its own", "take its hub id or a folder of it")
    if arguments.get("force_quick_gelu"):
        known["quick_gelu"] = True
    preprocess = open_clip.get_model_preprocess_cfg(model)
    return Clip(model, None, {"model_cfg": known, "preprocess_cfg": dict(preprocess)})
