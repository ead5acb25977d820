"""The Python interface: a trained segmenter in three lines. It trains nothing and writes nothing.

from clouds import load_segmenter
labels_HW = load_segmenter("runs/mine").predict("street.jpg")
"""

import reprlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clouds.config import validate
from clouds.data.images import read_image
from clouds.engine.artifact import DESCRIPTION
from clouds.engine.atomic import read_json, subfolders
from clouds.errors import UsageError
from clouds.models.protocol import ProtocolConfig
from clouds.models.segmenter_folder import check_segmenter, is_segmenter
from clouds.models.segmenter_hub import is_hub_id, segmenter_of_hub

if TYPE_CHECKING:  # models import torch, which finding one does without
    import torch

    from clouds.models.segmenter import MaskSegmenter

ImageLike = str | Path | Image.Image | NDArray[np.uint8]
"""A file, a Pillow image, or uint8 (H, W, 3) RGB."""

_MODEL = "model"
_TAKEN = "a file's path, a Pillow image or a uint8 array (H, W, 3)"


def load_segmenter(
    checkpoint: str | Path, device: "str | torch.device" = "cpu", *, revision: str | None = None, **protocol: Any
) -> "Predictor":
    """A trained segmenter: from a training stage's folder, the last one of a run's, an exported one, or of the hub.

    A hub id (`owner/name`, with a `revision` if wanted) is taken where no folder of that name is. `protocol` are the
    values of `ProtocolConfig`: `short_edge`, `size`, `window`, `stride`, `scales`, `flip`. Raises `CloudsError` where
    there is no segmenter, and `UsageError` for a value that cannot be.
    """
    from clouds.models import segmenter_files

    folder = obtain_segmenter(checkpoint, revision)
    shown = validate(ProtocolConfig, protocol, "load_segmenter")
    model, info = segmenter_files.load_segmenter(folder, device)
    return Predictor(model, info.class_names, shown)


class Predictor:
    """A segmenter that takes images as they come: files, Pillow images or arrays, of any sizes."""

    def __init__(self, model: "MaskSegmenter", class_names: Sequence[str], protocol: ProtocolConfig) -> None:
        self.model, self.class_names, self.protocol = model, tuple(class_names), protocol

    def to(self, device: "str | torch.device") -> "Predictor":
        """Move the model to a device; itself."""
        self.model.to(device)
        return self

    def predict(
        self, images: ImageLike | Sequence[ImageLike], *, scores: bool = False, batch_size: int = 4
    ) -> NDArray[Any] | list[NDArray[Any]]:
        """Class ids of every pixel, uint8 (H, W), each image at its own size; for a sequence, a list in its order.

        With `scores`, float32 (K, H, W) in [0, 1] in their place. At most `batch_size` images, views or windows go
        through the model at a time. Raises `InputError` for an unusable file, `TypeError` for what is neither file,
        Pillow image nor array, and `ValueError` for an array that is no image.
        """
        from clouds.models.inference import predict_scores

        alone = isinstance(images, (str, Path, Image.Image, np.ndarray))
        if not alone and not isinstance(images, Sequence):
            raise TypeError(f"predict takes {_TAKEN}, or a sequence of them, not {_named(images)}")
        wanted: Sequence[ImageLike] = [images] if alone else images  # type: ignore[list-item, assignment]
        found: list[NDArray[Any]] = []
        for start in range(0, len(wanted), batch_size):
            batch = [_as_array(image) for image in wanted[start : start + batch_size]]
            made = dict(predict_scores(self.model, batch, nullcontext, self.protocol))
            found += [(made[place] if scores else made[place].argmax(0).byte()).cpu().numpy() for place in sorted(made)]
        return found[0] if alone else found


def obtain_segmenter(checkpoint: str | Path, revision: str | None = None) -> Path:
    """The folder of the segmenter that a path or a hub id means; what only the hub has is downloaded first.

    Raises as `find_segmenter` and `segmenter_of_hub` do.
    """
    path = Path(checkpoint).expanduser()
    if not path.exists() and is_hub_id(str(checkpoint)):
        return segmenter_of_hub(str(checkpoint), revision)
    return find_segmenter(path.absolute())


def find_segmenter(path: Path) -> Path:
    """The folder of the segmenter that a path means: itself, that of a stage, or the last one of a run.

    The last one is the one no other was made from. Raises `CloudsError` where there is none, and `UsageError` where a
    run has several.
    """
    if is_segmenter(path):
        return path
    if is_segmenter(path / _MODEL):
        return path / _MODEL
    if path.is_file():
        raise UsageError(f"segmenter {path}: is a file", "give a segmenter's folder, a stage's, or a run's")
    upstream = {name: _upstream(path / name) for name in subfolders(path)}
    models = [name for name in upstream if is_segmenter(path / name / _MODEL)]
    last = [name for name in models if not any(name in _ancestors(other, upstream) for other in models)]
    if len(last) > 1:
        raise UsageError(
            f"{path} holds several segmenters that no other was made from: {', '.join(last)}",
            f"name one of them, such as {path / last[0] / _MODEL}",
        )
    if not last:
        check_segmenter(path)
    return path / last[0] / _MODEL


def _upstream(stage_folder: Path) -> list[str]:
    """The names of the stages that a stage says it needs."""
    description = read_json(stage_folder / DESCRIPTION)
    return list(description.get("document", {}).get("upstream", {})) if isinstance(description, dict) else []


def _ancestors(name: str, upstream: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    open_ = list(upstream.get(name, []))
    while open_:
        one = open_.pop()
        if one not in found:
            found.add(one)
            open_ += upstream.get(one, [])
    return found


def _as_array(image: ImageLike) -> NDArray[np.uint8]:
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, Image.Image):
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    if not isinstance(image, np.ndarray):
        raise TypeError(f"an image is {_TAKEN}, not {_named(image)}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image is uint8 (H, W, 3), not {image.dtype} {image.shape}")
    if not image.size:
        raise ValueError(f"an image of {image.shape} has no pixel")
    return image


def _named(value: object) -> str:
    return f"{type(value).__name__} {reprlib.repr(value)}"
