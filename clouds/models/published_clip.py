"""Which CLIP a checkpoint holds, told by the names and shapes of its tensors. It knows no head and no class."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from clouds.errors import CloudsError, UsageError, nearest
from clouds.models.clip_builder import Clip
from clouds.models.misfits import misfits
from clouds.models.published_names import count_blocks

PUBLISHED = ("convnext_large_d_320", "RN50-quickgelu", "RN101-quickgelu")
"""The CLIPs of the published checkpoints; OpenAI's ResNets were trained with the quick activation."""

Shapes = Mapping[str, tuple[int, ...]]


def published_clip(tensors: Mapping[str, Tensor], backbone: str | None) -> tuple[Clip, str]:
    """The CLIP with these tensors (open_clip's names), float32 on the CPU, and what it is called.

    `backbone` names it or gives a JSON file with open_clip's description of it; None finds it among the models
    open_clip knows. Raises `CloudsError` where the tensors fit none, or not the given one, and `UsageError` for a
    backbone that is neither.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    name, config = (backbone, _given(backbone)) if backbone is not None else _found(shapes)
    differences = _misfits(_shapes(config), shapes)
    if differences:
        likely = f"; by its tensors it is {likely}" if (likely := known_clip(shapes)) else ""
        raise CloudsError(
            f"the checkpoint's CLIP is not {name}: {differences}{likely}",
            "give the CLIP it was trained with by --backbone: a name of open_clip's, or a JSON file in its format",
        )
    clip = _built(config)
    known = clip.state_dict().keys()
    clip.load_state_dict({key: tensor.float() for key, tensor in tensors.items() if key in known})
    normalisation = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    return Clip(clip.eval(), None, {"model_cfg": dict(config), "preprocess_cfg": normalisation}), name


def _given(backbone: str) -> dict[str, Any]:
    path = Path(backbone).expanduser()
    if path.suffix == ".json" or path.is_file():
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            return dict(described.get("model_cfg", described))
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise UsageError(
                f"--backbone {backbone} cannot be read: {error}", "give open_clip's JSON of the model"
            ) from error
    known = open_clip.get_model_config(backbone)
    if known is None:
        raise UsageError(
            f"--backbone {backbone!r} is no model that open_clip knows", nearest(backbone, open_clip.list_models())
        )
    return dict(known)


def _found(shapes: Shapes) -> tuple[str, dict[str, Any]]:
    name = known_clip(shapes)
    if name is None:
        raise CloudsError(
            "the checkpoint's CLIP is none that open_clip knows by its tensors: "
            + ", ".join(f"{what} {value}" for what, value in _facts_of(shapes).items()),
            "say which one it is by --backbone: a name, or a JSON file with open_clip's description of it",
        )
    return name, dict(open_clip.get_model_config(name))


def known_clip(shapes: Shapes) -> str | None:
    """The first of the published CLIPs, then of all open_clip knows, that tensors of these shapes belong to."""
    facts = _facts_of(shapes)
    return next((name for name in _names() if _fits(name, facts, shapes)), None)


def _names() -> Iterator[str]:
    yield from PUBLISHED
    yield from (name for name in open_clip.list_models() if name not in PUBLISHED)


def _fits(name: str, facts: Mapping[str, Any], shapes: Shapes) -> bool:
    config = open_clip.get_model_config(name)
    text, vision = config["text_cfg"], config["vision_cfg"]
    said = {
        "embed_dim": config["embed_dim"],
        "text width": text.get("width"),
        "text layers": text.get("layers"),
        "vocabulary": text.get("vocab_size"),
        "image layers": vision.get("layers") if isinstance(vision.get("layers"), list) else None,
    }
    if said != facts or config.get("custom_text"):
        return False
    # few come this far: to build one without its numbers takes a second
    return not _misfits(_shapes(config), shapes)


def _facts_of(shapes: Shapes) -> dict[str, Any]:
    """What tells CLIPs apart without building one."""
    layers = [count_blocks(shapes, rf"visual\.layer{layer}\.(\d+)\.") for layer in (1, 2, 3, 4)]
    return {
        "embed_dim": shapes.get("text_projection", (0, 0))[-1],
        "text width": shapes.get("positional_embedding", (0, 0))[-1],
        "text layers": count_blocks(shapes, r"transformer\.resblocks\.(\d+)\."),
        "vocabulary": shapes.get("token_embedding.weight", (0,))[0],
        "image layers": layers if any(layers) else None,
    }


def _shapes(config: Mapping[str, Any]) -> Shapes:
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in _built(config).state_dict().items()}


def _built(config: Mapping[str, Any]) -> open_clip.CLIP:
    described = {
        **config,
        "vision_cfg": {**config["vision_cfg"], "timm_model_pretrained": False},
        "text_cfg": dict(config["text_cfg"]),
    }
    try:
        with torch.random.fork_rng(devices=[]):
            return open_clip.CLIP(**described)
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        raise UsageError(f"--backbone: open_clip builds no CLIP of this description: {error}") from error


def _misfits(wanted: Shapes, found: Shapes) -> str:
    # older versions of open_clip stored a mask that newer ones compute
    return misfits(wanted, {name: shape for name, shape in found.items() if name != "attn_mask"})
