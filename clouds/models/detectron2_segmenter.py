"""A segmenter of detectron2 behind our `Segmenter`. It trains nothing and knows no stage.

A thin adapter to what detectron2 documents: `get_cfg`, `build_model`, and the standard input and output of models. It
has not been run with detectron2 itself; what does not need it is tested on its own.
"""

import importlib
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from clouds.data.labels import LabelMap
from clouds.errors import CloudsError
from clouds.models.detectron2_config import Detectron2Config, check_detectron2, class_ids

_NAMES_SHOWN = 3
# of the normalisation, which the config says; old checkpoints have them among the weights
_CONSTANTS = {"pixel_mean", "pixel_std"}


class Detectron2Model(Protocol):
    """A model of detectron2 in evaluation mode, as its documentation has it.

    Takes a list of dicts with `image` (C, H, W) in the config's channel order, `height` and `width`; gives a list of
    dicts, here with `sem_seg` (K, height, width). Also a torch module.
    """

    def __call__(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...


class Detectron2Segmenter:
    """Class scores of a run's classes from a model of detectron2."""

    def __init__(
        self, model: Detectron2Model, ids: Sequence[int], num_classes: int, channels: str, outputs: str
    ) -> None:
        self._model, self._num_classes = model, num_classes
        self._ids, self._mirrored = torch.tensor(ids), channels == "BGR"
        self._outputs = outputs

    def parameters(self) -> Iterator[nn.Parameter]:
        return self._model.parameters()

    @torch.no_grad()
    def predict(self, images_BCHW: Tensor) -> Tensor:
        """Scores (B, K, H, W) in [0, 1] of RGB images in 0..255. Raises `CloudsError` for another number of classes."""
        height, width = images_BCHW.shape[-2:]
        ordered = images_BCHW.flip(1) if self._mirrored else images_BCHW
        inputs = [{"image": image_CHW.float(), "height": height, "width": width} for image_CHW in ordered]
        outputs = self._model(inputs)
        return torch.stack([self._scores(output["sem_seg"].float()) for output in outputs])

    def _scores(self, outputs_CHW: Tensor) -> Tensor:
        if len(outputs_CHW) != len(self._ids):
            raise CloudsError(
                f"detectron2's model tells {len(outputs_CHW)} classes apart, 'label.detectron2.classes' names "
                f"{len(self._ids)}",
                "name its classes in the order of its outputs",
            )
        shares_CHW = shares_of(outputs_CHW, self._outputs)
        scores_KHW = shares_CHW.new_zeros(self._num_classes, *shares_CHW.shape[1:])
        # several of its classes may be one of the run's
        return scores_KHW.index_add_(0, self._ids.to(shares_CHW.device), shares_CHW)


def shares_of(outputs_CHW: Tensor, kind: Literal["logits", "shares"] | str) -> Tensor:
    """What a model says of each pixel as shares in [0, 1] that sum to one, or to nothing where it says nothing."""
    if kind == "logits":
        return outputs_CHW.softmax(0)
    positive_CHW = outputs_CHW.clamp(min=0)
    return positive_CHW / positive_CHW.sum(0).clamp(min=1e-6)


def load_detectron2(config: Detectron2Config, label_map: LabelMap, device: torch.device) -> Detectron2Segmenter:
    """The segmenter with its weights on the device.

    Raises `CloudsError` where detectron2 is not installed, and for weights that are damaged or of another model.
    """
    check_detectron2()
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    node = get_cfg()
    for named in config.extend:
        module, _, function = named.partition(":")
        getattr(importlib.import_module(module), function)(node)
    node.merge_from_file(str(config.config))
    node.MODEL.DEVICE = str(device)
    # the config may name weights for its own training
    node.MODEL.WEIGHTS = ""
    model = build_model(node).eval()
    load_tensors(model, read_tensors(config), str(config.weights))
    ids = class_ids(config, label_map)
    return Detectron2Segmenter(model, ids, label_map.num_classes, node.INPUT.FORMAT, config.outputs)


def read_tensors(config: Detectron2Config) -> dict[str, Tensor]:
    """The tensors of its weights, read without running any code. Raises `CloudsError` for what is unusable."""
    path = config.weights
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise CloudsError(
            f"'label.detectron2.weights' = {path}: {str(error).splitlines()[0]}",
            "give a file of tensors: torch.save({'model': model.state_dict()}, 'model.pth')",
        ) from error
    tensors = content.get("model", content) if isinstance(content, Mapping) else {}
    return {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Raises `CloudsError` where they are not those of the model, all of them."""
    mend = "give the config it was trained with"
    try:
        missing, unexpected = model.load_state_dict(dict(tensors), strict=False)
    except RuntimeError as error:
        raise CloudsError(f"{where}: {str(error).splitlines()[-1].strip()}", mend) from error
    for what, names in {"lacks": missing, "has, and the model does not": unexpected}.items():
        told = [name for name in names if name not in _CONSTANTS]
        if told:
            more = f" and {len(told) - _NAMES_SHOWN} more" if len(told) > _NAMES_SHOWN else ""
            raise CloudsError(f"{where} {what}: {', '.join(told[:_NAMES_SHOWN])}{more}", mend)
