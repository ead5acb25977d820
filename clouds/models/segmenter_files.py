"""A segmenter as a folder: weights and what is needed to build the model again. It knows no stage.

The folder is complete in itself: a frozen backbone's weights are in it, so the model it came from is not needed; only
with `store: trained` they are left out, and loaded again from where they came from. With a text classifier the CLIP's
text tower is there too, in a folder of its own (see `clouds.models.text_tower`): it is written with the model, and read
only when other classes are asked for. Equal models give equal bytes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from clouds.config import ConfigModel
from clouds.errors import CloudsError
from clouds.models.backbones import rebuild_backbone
from clouds.models.class_texts import ClassTexts, Naming
from clouds.models.misfits import misfits, some
from clouds.models.segmenter import MaskSegmenter
from clouds.models.segmenter_config import EnsembleConfig, HeadConfig
from clouds.models.segmenter_folder import CONFIG_FILE, TEXT_FOLDER, WEIGHTS_FILE
from clouds.models.stored_base import StoredBase, check_base, content_sha256, load_base
from clouds.models.text_tower import KeptTower

_TEXTS = "texts."


@dataclass(frozen=True)
class SegmenterInfo:
    """What a segmenter's folder says besides the weights; `extra` is what the caller of `save_segmenter` gave."""

    class_names: tuple[str, ...]
    extra: dict[str, Any]


class _Backbone(ConfigModel):
    frozen: bool
    architecture: dict[str, Any]
    base: StoredBase | None = None


class _Texts(ConfigModel):
    """What is known of the classes' names; the vectors are among the weights."""

    classifier: Literal["closed", "text"]
    templates: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    trained: tuple[str, ...]
    embedding_dim: int
    ensemble: EnsembleConfig | None


class _Description(ConfigModel):
    """The content of the config file."""

    format: Literal["clouds-segmenter-1"] = "clouds-segmenter-1"
    class_names: tuple[str, ...]
    backbone: _Backbone
    head: HeadConfig
    texts: _Texts | None = None
    extra: dict[str, Any]


def save_segmenter(
    model: MaskSegmenter, folder: Path, class_names: Sequence[str], extra: Mapping[str, Any] | None = None
) -> None:
    """Write the folder's two files, and the text tower beside them if the classifier reads texts.

    `extra` is any JSON worth keeping with the model.
    """
    if len(class_names) != model.num_classes:
        raise ValueError(f"{len(class_names)} class names for {model.num_classes} classes")
    backbone = model.backbone
    description = _Description(
        class_names=tuple(class_names),
        backbone=_Backbone(frozen=backbone.frozen, architecture=backbone.architecture, base=_base(model)),
        head=model.head_config,
        texts=_described(model.naming),
        extra=dict(extra or {}),
    )
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _kept(model, backbone.base).items()}
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    values = description.model_dump(mode="json", exclude={"texts"} if description.texts is None else None)
    if backbone.base is None:
        del values["backbone"]["base"]
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    if model.naming is not None and model.naming.tower is not None:
        model.naming.tower.save(folder / TEXT_FOLDER)


def load_segmenter(
    folder: Path, device: torch.device | str = "cpu", *, expect_classes: Sequence[str] | None = None
) -> tuple[MaskSegmenter, SegmenterInfo]:
    """The model, in evaluation mode, and what the folder says about it.

    Raises `CloudsError` for a missing or damaged file, weights of another model, a base that is missing or another
    one, or, when `expect_classes` is given, other class names or another order of them.
    """
    description = _read_description(folder / CONFIG_FILE)
    if expect_classes is not None:
        _check_classes(description.class_names, expect_classes, folder)
    tensors = _read_tensors(folder / WEIGHTS_FILE)
    model = _build(description, folder)
    model.backbone.freeze(description.backbone.frozen)
    base = description.backbone.base
    if base is not None:
        check_base(base, _left_out(model), folder)
    _load(model, tensors, _shapes(_kept(model, base)), str(folder / WEIGHTS_FILE))
    return model.to(device).eval(), SegmenterInfo(description.class_names, description.extra)


def trainable_state(model: MaskSegmenter) -> dict[str, Tensor]:
    """What training changes, by name.

    A checkpoint of a model with a frozen tower holds the head, and the neck and the adapters where there are any; no
    checkpoint holds the vectors of the classes' names.
    """
    parameters = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    # a buffer changes with the module it belongs to
    fixed = (_TEXTS, "backbone.") if model.backbone.frozen else (_TEXTS,)
    return {
        name: tensor for name, tensor in model.state_dict().items() if parameters.get(name, not name.startswith(fixed))
    }


def load_trainable_state(model: MaskSegmenter, tensors: Mapping[str, Tensor], where: str = "the checkpoint") -> None:
    """Put back what `trainable_state` gave. Raises `CloudsError`, and changes nothing, when it is of another model."""
    _load(model, tensors, _shapes(trainable_state(model)), where)


def _described(naming: Naming | None) -> _Texts | None:
    if naming is None:
        return None
    return _Texts(
        classifier=naming.classifier,
        templates=naming.templates,
        names=naming.texts.names,
        trained=naming.texts.trained,
        embedding_dim=naming.texts.embedding_dim,
        ensemble=naming.ensemble,
    )


def _naming(described: _Texts | None, folder: Path) -> Naming | None:
    """As described, its vectors still zero; the text tower is read when it is asked."""
    if described is None:
        return None
    texts = ClassTexts(described.names, described.trained, described.embedding_dim)
    tower = KeptTower(folder / TEXT_FOLDER) if described.classifier == "text" else None
    return Naming(texts, described.classifier, described.templates, described.ensemble, tower)


def _left_out(model: MaskSegmenter) -> dict[str, Tensor]:
    """What comes from a base: all that training does not change, but for the vectors of the classes' names."""
    trained = trainable_state(model)
    state = model.state_dict().items()
    return {name: tensor for name, tensor in state if name not in trained and not name.startswith(_TEXTS)}


def _kept(model: MaskSegmenter, base: object | None) -> dict[str, Tensor]:
    """What the folder of a model holds: everything, or what does not come from its base."""
    left_out = {} if base is None else _left_out(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in left_out}


def _base(model: MaskSegmenter) -> StoredBase | None:
    backbone = model.backbone
    if backbone.base is None:
        return None
    kept = backbone.embedding_dim is not None
    return StoredBase(config=backbone.base, keep_projection=kept, sha256=content_sha256(_left_out(model)))


def _build(description: _Description, folder: Path) -> MaskSegmenter:
    """The model that the folder describes, with random weights, or with those of its base."""
    base = description.backbone.base
    with torch.random.fork_rng(devices=[]):
        found = load_base(base, folder) if base is not None else None
        try:
            backbone = found or rebuild_backbone(description.backbone.architecture)
            naming = _naming(description.texts, folder)
            return MaskSegmenter(backbone, description.head, len(description.class_names), naming)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise _damaged(folder / CONFIG_FILE, error) from error


def _load(model: MaskSegmenter, tensors: Mapping[str, Tensor], expected: Mapping[str, list[int]], where: str) -> None:
    faults = misfits(expected, _shapes(tensors))
    if faults:
        raise CloudsError(
            f"{where}: the weights do not fit the model; {faults}",
            "use weights that were saved with the same backbone, head and classes",
        )
    model.load_state_dict(dict(tensors), strict=False)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def _read_description(path: Path) -> _Description:
    try:
        return _Description.model_validate_json(path.read_bytes())
    except OSError as error:
        raise _missing(path, error) from error
    except ValidationError as error:
        raise _damaged(path, error) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except OSError as error:
        raise _missing(path, error) from error
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _missing(path: Path, error: OSError) -> CloudsError:
    return CloudsError(
        f"segmenter {path}: {error.strerror or error}",
        f"give a folder that a training stage wrote: it holds {CONFIG_FILE} and {WEIGHTS_FILE}",
    )


def _damaged(path: Path, error: Exception) -> CloudsError:
    return CloudsError(
        f"segmenter {path} is damaged or of another kind: {error}", "copy it again, or train it again with --force"
    )


def _check_classes(found: Sequence[str], expected: Sequence[str], folder: Path) -> None:
    if list(found) == list(expected):
        return
    if len(found) != len(expected):
        difference = f"{len(found)} classes, not {len(expected)}"
    else:
        places = [f"{a!r} where {b!r} is expected" for a, b in zip(found, expected, strict=True) if a != b]
        difference = "other classes: " + some(places)
    raise CloudsError(
        f"segmenter {folder}: it was trained for {difference}",
        "use the class list it was trained with (" + ", ".join(found) + "), or train one for yours",
    )
