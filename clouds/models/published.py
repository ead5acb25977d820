"""Published checkpoints as our segmenters: what is in one, what it is used for, why it does not fit.

Sources: yasserben/CLOUDS at bac4305, facebookresearch/Mask2Former. It knows no file and no command line.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from pydantic import ValidationError
from torch import Tensor

from clouds.data.labels import LabelMap
from clouds.errors import CloudsError, UsageError
from clouds.models.backbones import Backbone, clip_backbone
from clouds.models.misfits import misfits, some
from clouds.models.published_clip import published_clip
from clouds.models.published_mask2former import mask2former_backbone
from clouds.models.published_names import CITYSCAPES_NAMES, CLIP, HEAD, PACKED, count_blocks, our_names, unused
from clouds.models.segmenter import MaskSegmenter
from clouds.models.segmenter_config import EnsembleConfig, HeadConfig, TextConfig
from clouds.models.text_tower import naming_of

DEFAULT_CLASSES = "cityscapes19"

_QUERIES = f"{HEAD}predictor."
_PIXELS = f"{HEAD}pixel_decoder."
_POINTS = 3 * 4 * 2
"""What each head of the deformable attention has offsets for: levels, points per level, coordinates."""

_TRAINED = "criterion.empty_weight"
_LEVELS = 0.05
"""By how much of 255 grey levels a normalisation that is written down may differ from the one that is meant."""

_LOOKS = (
    (r"backbone\.clip_model\.visual\.trunk\.stem\.", "CLOUDS with a CLIP ConvNeXt"),
    (r"backbone\.clip_model\.visual\.layer1\.", "CLOUDS with a CLIP ResNet"),
    (r"model\.pixel_level_module\.", "transformers' Mask2Former (give its folder)"),
    (r"head\.pixel_decoder\.", "a segmenter of this tool (it needs no conversion)"),
    (r"image_encoder\.", "segment-anything"),
    (r"(decode_head|cls_head)\.", "mmsegmentation"),
    (r"visual\.", "a bare CLIP"),
)
"""What a checkpoint is of, by names in it."""


@dataclass(frozen=True)
class PublishedHead:
    """A mask head as published, by our names: its sizes, its tensors, and what they were called."""

    config: HeadConfig
    tensors: dict[str, Tensor]
    text: bool
    used: frozenset[str]

    @property
    def num_classes(self) -> int | None:
        """How many classes a closed classifier knows."""
        return None if self.text else len(self.tensors["class_predictor.weight"]) - 1


@dataclass(frozen=True)
class Converted:
    """A published model as ours; `left` says of every name that was not used what it stands for."""

    model: MaskSegmenter
    label_map: LabelMap
    backbone: str
    used: tuple[str, ...]
    left: dict[str, str]


def published_head(tensors: Mapping[str, Tensor]) -> PublishedHead:
    """The mask head in a checkpoint of CLOUDS or of detectron2's Mask2Former, whatever its backbone.

    Every size is read from the tensors, the number of attention heads from the deformable attention's offsets. Raises
    `CloudsError` where there is no such head.
    """
    text = f"{_QUERIES}class_embed.layers.0.weight" in tensors
    names = our_names(tensors, text=text)
    strange = [name for name in tensors if name.startswith(HEAD) and name not in names]
    if not names:
        raise CloudsError(
            f"the checkpoint has no mask head (names beginning with {HEAD}){_looks(tensors)}",
            "give a checkpoint of CLOUDS or Mask2Former",
        )
    if strange:
        raise CloudsError(
            f"the checkpoint's mask head has parts that Mask2Former's has not: {some(strange)}",
            "only heads with one stride-4 level, without input projections of the decoder, are known",
        )
    ours: dict[str, Tensor] = {}
    for name, own in names.items():
        packed = PACKED.fullmatch(own)
        if packed is None:
            ours[own] = tensors[name].float()
            continue
        for letter, part in zip("qkv", tensors[name].float().chunk(3), strict=True):
            ours[f"{packed[1]}{letter}_proj.{packed[2]}"] = part
    config = _head_config(tensors)
    if not text and "class_predictor.weight" not in ours:
        raise _lacks(f"{_QUERIES}class_embed.weight")
    return PublishedHead(config, ours, text, frozenset(names))


def convert(
    tensors: Mapping[str, Tensor],
    label_map: LabelMap | None = None,
    *,
    backbone: str | None = None,
    ensemble: EnsembleConfig | None = None,
) -> Converted:
    """A published model of CLOUDS, or of detectron2's Mask2Former, on the CPU in evaluation mode.

    `label_map` are the classes it was trained for, by default Cityscapes' 19; those are asked for under CLOUDS' names.
    `backbone` see `published_clip`. Raises `CloudsError` for tensors that do not fit and for another number of classes,
    and `UsageError` for a `backbone` or an `ensemble` of a model without a CLIP.
    """
    clip_tensors = {name.removeprefix(CLIP): tensor for name, tensor in tensors.items() if name.startswith(CLIP)}
    head = published_head(tensors)
    if not clip_tensors:
        refuse_clip_options(backbone, ensemble is not None)
        return _without_clip(tensors, head, label_map or LabelMap.of(DEFAULT_CLASSES))
    label_map = label_map or LabelMap.of(DEFAULT_CLASSES)
    as_published = label_map.names == tuple(CITYSCAPES_NAMES)
    names = TextConfig(names=CITYSCAPES_NAMES) if as_published else TextConfig()
    _check_classes(head, tensors, label_map)
    clip, clip_name = published_clip(clip_tensors, backbone)
    names_of = {id(tensor): CLIP + name for name, tensor in clip.model.state_dict(keep_vars=True).items()}
    tower = clip_backbone(
        clip.model.visual, clip.config["model_cfg"], clip.config["preprocess_cfg"], keep_projection=ensemble is not None
    )
    _check_normalisation(tensors, tower)
    tower.freeze(True)
    read = head.text or ensemble is not None
    naming = naming_of(clip, label_map, names, head.text, ensemble) if read else None
    with torch.random.fork_rng(devices=[]):
        model = MaskSegmenter(tower, head.config, label_map.num_classes, naming)
    _load_head(model, head)
    kept = {names_of.get(id(tensor), "") for tensor in model.state_dict(keep_vars=True).values()}
    if read:
        kept |= {CLIP + name for name in clip_tensors if not name.startswith("visual.")}
    used = (kept & tensors.keys()) | head.used
    left = {name: _left(name) for name in tensors if name not in used}
    return Converted(model.eval(), label_map, clip_name, tuple(sorted(used)), left)


def refuse_clip_options(backbone: str | None, ensemble: bool) -> None:
    """Raises `UsageError` where something is asked for that only a CLIP can give."""
    for flag, given in {"--backbone": backbone is not None, "--ensemble": ensemble}.items():
        if given:
            raise UsageError(f"{flag}: the model has no CLIP", "leave it out")


def _without_clip(tensors: Mapping[str, Tensor], head: PublishedHead, label_map: LabelMap) -> Converted:
    found = None if head.text else mask2former_backbone(tensors)
    if found is None:
        raise CloudsError(
            f"the checkpoint has a mask head, but no backbone that is known{_looks(tensors)}",
            f"give a checkpoint of CLOUDS (its CLIP's names begin with {CLIP}), or of detectron2's Mask2Former with a "
            "ResNet or a Swin",
        )
    tower, kind, used = found
    _check_normalisation(tensors, tower)
    _check_classes(head, tensors, label_map)
    with torch.random.fork_rng(devices=[]):
        model = MaskSegmenter(tower, head.config, label_map.num_classes)
    _load_head(model, head)
    left = {name: _left(name) for name in tensors if name not in used | head.used}
    return Converted(model.eval(), label_map, f"detectron2's {kind}", tuple(sorted(used | head.used)), left)


def _head_config(tensors: Mapping[str, Tensor]) -> HeadConfig:
    def shape(name: str, rank: int = 2) -> tuple[int, ...]:
        if name not in tensors or tensors[name].ndim != rank:
            raise _lacks(name)
        return tuple(tensors[name].shape)

    former = f"{_QUERIES}static_query.weight"
    queries = former if former in tensors else f"{_QUERIES}query_feat.weight"
    layer = f"{_PIXELS}transformer.encoder.layers.0."
    try:
        return HeadConfig(
            channels=shape(queries)[1],
            queries=shape(queries)[0],
            heads=shape(f"{layer}self_attn.sampling_offsets.weight")[0] // _POINTS,
            encoder_layers=count_blocks(tensors, rf"{re.escape(_PIXELS)}transformer\.encoder\.layers\.(\d+)\."),
            encoder_feedforward=shape(f"{layer}linear1.weight")[0],
            decoder_layers=1 + count_blocks(tensors, rf"{re.escape(_QUERIES)}transformer_ffn_layers\.(\d+)\."),
            decoder_feedforward=shape(f"{_QUERIES}transformer_ffn_layers.0.linear1.weight")[0],
        )
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{first['loc'][0]} = {first['input']!r}: {first['msg']}"
        raise CloudsError(f"the checkpoint's mask head has sizes that cannot be: {told}", "fetch it again") from error


def _lacks(name: str) -> CloudsError:
    return CloudsError(f"the checkpoint's mask head lacks {name}", "fetch it again, or give another checkpoint")


def _check_normalisation(tensors: Mapping[str, Tensor], tower: Backbone) -> None:
    """Raises `CloudsError` where the checkpoint says that its images were normalised in another way."""
    for name, ours in (("pixel_mean", tower.mean), ("pixel_std", tower.std)):
        own = (ours * 255).flatten()
        said = tensors[name].float().flatten() if name in tensors else own
        if said.shape != own.shape or not torch.allclose(said, own, rtol=0, atol=_LEVELS):
            raise CloudsError(
                f"the checkpoint's {name} is {said.tolist()}, not {own.tolist()}, as published models have it",
                "give a published checkpoint",
            )


def _check_classes(head: PublishedHead, tensors: Mapping[str, Tensor], label_map: LabelMap) -> None:
    trained = head.num_classes
    if trained is None and _TRAINED in tensors:
        trained = len(tensors[_TRAINED]) - 1
    if trained is not None and trained != label_map.num_classes:
        raise CloudsError(
            f"the checkpoint was trained for {trained} classes, and {label_map.num_classes} are given",
            "give its classes, in their order, by --classes: a YAML list of their names, or a text file, one a line",
        )


def _load_head(model: MaskSegmenter, head: PublishedHead) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in model.head.state_dict().items()}
    faults = misfits(wanted, {name: tuple(tensor.shape) for name, tensor in head.tensors.items()})
    if faults:
        sizes = f"channels {head.config.channels}, strides' channels {list(model.backbone.channels)}"
        raise CloudsError(
            f"the checkpoint's mask head does not fit its own sizes ({sizes}); {faults}",
            "give a whole checkpoint",
        )
    model.head.load_state_dict(head.tensors)


def _left(name: str) -> str:
    if name.startswith(f"{CLIP}visual."):
        return "CLIP's projection"
    if name.startswith(CLIP):
        return "CLIP's text tower"
    if name.endswith("relative_position_index"):
        return "a table that is computed"
    return unused(name) or "not known"


def _looks(names: Iterable[str]) -> str:
    found = [what for pattern, what in _LOOKS if any(re.match(pattern, name) for name in names)]
    return f"; by its names it is of {found[0]}" if found else f"; its names begin with {_beginnings(names)}"


def _beginnings(names: Iterable[str]) -> str:
    return some(sorted({name.split(".")[0] for name in names})) or "nothing"
