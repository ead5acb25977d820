"""transformers' SAM, SAM-HQ and SAM 2 as `PromptableModel`s. It does not know where their weights come from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel, Sam2Model, SamHQModel, SamModel

from clouds.errors import CloudsError
from clouds.models.misfits import told
from clouds.models.quiet import silence_libraries
from clouds.models.sam_frame import Frame
from clouds.models.sam_promptable import PromptableModel, PromptBatch

# SAM 2's published weights are filed under the class that follows objects through videos; images need a part of it
_CLASSES: dict[str, type[PreTrainedModel]] = {
    "sam": SamModel,
    "sam_hq": SamHQModel,
    "sam2": Sam2Model,
    "sam2_video": Sam2Model,
}
_WITH_MORE = {"sam2_video"}
_SAM2_LOGITS = 32.0


class TransformersSam:
    """`SamModel`: a ViT that sees the image scaled to its longest side."""

    def __init__(self, model: SamModel, name: str, device: torch.device) -> None:
        self._model = model.to(device).eval().requires_grad_(False)
        self.name, self.device = name, device
        self.frame = Frame(model.config.vision_config.image_size)
        cells = 4 * model.config.prompt_encoder_config.image_embedding_size
        self.cells = (cells, cells)

    def compile(self) -> None:
        self._model.vision_encoder.compile()

    def encode(self, pixels_BCHW: Tensor) -> tuple[Tensor, ...]:
        return (self._model.get_image_embeddings(pixels_BCHW),)

    def decode(self, features: tuple[Tensor, ...], prompts: PromptBatch) -> tuple[Tensor, Tensor]:
        return _answers(self._model, prompts, image_embeddings=features[0])


class TransformersSamHQ:
    """`SamHQModel`: a SAM that looks again at what its encoder saw first, for finer edges."""

    def __init__(self, model: SamHQModel, name: str, device: torch.device) -> None:
        self._model = model.to(device).eval().requires_grad_(False)
        self.name, self.device = name, device
        self.frame = Frame(model.config.vision_config.image_size)
        cells = 4 * model.config.prompt_encoder_config.image_embedding_size
        self.cells = (cells, cells)

    def compile(self) -> None:
        self._model.vision_encoder.compile()

    def encode(self, pixels_BCHW: Tensor) -> tuple[Tensor, ...]:
        features_BCHW, early = self._model.get_image_embeddings(pixels_BCHW)
        # the decoder reads the first of them only
        return features_BCHW, early[0]

    def decode(self, features: tuple[Tensor, ...], prompts: PromptBatch) -> tuple[Tensor, Tensor]:
        features_NCHW, early_NHWC = features
        return _answers(
            self._model, prompts, image_embeddings=features_NCHW, intermediate_embeddings=[early_NHWC.contiguous()]
        )


class TransformersSam2:
    """`Sam2Model`: features at three scales of an image that is stretched to a square."""

    def __init__(self, model: Sam2Model, name: str, device: torch.device) -> None:
        self._model = model.to(device).eval().requires_grad_(False)
        self.name, self.device = name, device
        self.frame = Frame(model.config.prompt_encoder_config.image_size, stretched=True)
        height, width = model.prompt_encoder.mask_input_size
        self.cells = (height, width)

    def compile(self) -> None:
        self._model.vision_encoder.compile()

    def encode(self, pixels_BCHW: Tensor) -> tuple[Tensor, ...]:
        return tuple(self._model.get_image_embeddings(pixels_BCHW))

    def decode(self, features: tuple[Tensor, ...], prompts: PromptBatch) -> tuple[Tensor, Tensor]:
        logits_NCHW, quality_NC = _answers(self._model, prompts, image_embeddings=list(features))
        # what it is shown again is bounded, as in facebookresearch/sam2's own predictor
        return logits_NCHW.clamp(-_SAM2_LOGITS, _SAM2_LOGITS), quality_NC


def load_transformers_sam(folder: Path, device: torch.device) -> PromptableModel:
    """The model of a folder that `save_pretrained` wrote, float32. Raises CloudsError for one that holds no such."""
    silence_libraries()
    kind = _kind(folder)
    known = _CLASSES[kind]
    try:
        model, report = known.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            # told below, by name
            ignore_mismatched_sizes=True,
        )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CloudsError(f"SAM weights {folder} cannot be loaded as {known.__name__}: {reason}", _MEND) from error
    _check_report(folder, report, more=kind in _WITH_MORE)
    adapters: dict[type[PreTrainedModel], Any] = {
        SamModel: TransformersSam,
        SamHQModel: TransformersSamHQ,
        Sam2Model: TransformersSam2,
    }
    adapter = adapters[known]
    loaded: PromptableModel = adapter(model, f"{known.__name__} of transformers", device)
    return loaded


_MEND = "give a folder that transformers' SamModel, SamHQModel or Sam2Model wrote with save_pretrained, or their hub id"


def _check_report(folder: Path, report: Mapping[str, Any], more: bool) -> None:
    """Raise CloudsError where tensors are missing, of another shape or, unless there may be `more`, not known."""
    faults = {
        "missing": sorted(report["missing_keys"]),
        "of another shape": sorted(name for name, *_ in report["mismatched_keys"]),
        "not known": [] if more else sorted(report["unexpected_keys"]),
    }
    if any(faults.values()):
        raise CloudsError(f"SAM weights {folder} do not fit its config.json; {told(faults)}", _MEND)


def _kind(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CloudsError(f"SAM weights {folder}: its config.json cannot be read ({error})", _MEND) from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in _CLASSES:
        raise CloudsError(f"SAM weights {folder}: a model of type {kind!r}, not of {', '.join(_CLASSES)}", _MEND)
    return str(kind)


def _answers(model: Any, prompts: PromptBatch, **features: Any) -> tuple[Tensor, Tensor]:
    """Logits (N, C, H, W) and quality (N, C); each prompt is an image of its own, so each can be shown its own mask."""
    points = prompts.points_NPX.shape[1] > 0
    answer = model(
        input_points=prompts.points_NPX[:, None] if points else None,
        input_labels=prompts.kinds_NP[:, None] if points else None,
        input_boxes=None if prompts.boxes_NX is None else prompts.boxes_NX[:, None],
        input_masks=None if prompts.shown_NHW is None else prompts.shown_NHW[:, None],
        multimask_output=True,
        **features,
    )
    return answer.pred_masks[:, 0], answer.iou_scores[:, 0]
