"""Where a backbone's files are: a folder, the Hugging Face cache or hub, a tag of a library. It builds no model."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import open_clip
import timm
from open_clip.constants import HF_CONFIG_NAME, HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from clouds.errors import CloudsError, UsageError, nearest
from clouds.models.hub import download, snapshot
from clouds.models.segmenter_config import TIMM_PREFIX, BackboneConfig
from clouds.models.weights import is_local, local_files, missing_weights

CONFIG_KEY = "train.segmenter.backbone.weights"
WHAT = "the segmenter's backbone"
_CLIP_NAMES = (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
_TIMM_NAMES = ("model.safetensors", "pytorch_model.bin")
_TIMM_CONFIG = "config.json"
_PASSING = ("drop_path_rate", "num_classes", "pretrained", "features_only")


@dataclass(frozen=True)
class Recipe:
    """What a library's `create_model` must be given to build the configured model from files on this disk.

    `name` and `args` are those of a timm architecture, what the model is rebuilt of; `arguments` add its weights.
    """

    library: Literal["open_clip", "timm"]
    arguments: dict[str, Any]
    name: str = ""
    args: dict[str, Any] = field(default_factory=dict)


def recipe(config: BackboneConfig) -> Recipe:
    """How to build the model with its weights; files that only a hub has are downloaded first.

    Raises `CloudsError` within seconds when that fails, and `UsageError` for an architecture or tag timm does not know.
    """
    if is_local(config.weights):
        if not Path(config.weights).is_dir():
            raise missing_weights(config.weights, None, WHAT, key=CONFIG_KEY)
        return _of_folder(Path(config.weights))
    if config.hub_id:
        return _of_folder(_hub_file(config.hub_id, config.revision, (*_CLIP_NAMES, *_TIMM_NAMES)).parent)
    if config.timm_name is not None:
        return _of_timm(config.timm_name, config)
    return Recipe("open_clip", {"model_name": config.weights, **_tag_arguments(config)})


def _of_folder(folder: Path) -> Recipe:
    """A folder that both libraries could read is a CLIP."""
    try:
        values = json.loads((folder / _TIMM_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        values = None
    if (folder / HF_CONFIG_NAME).is_file() or not isinstance(values, dict) or "architecture" not in values:
        return Recipe("open_clip", {"model_name": f"local-dir:{folder}"})
    arguments = {"model_name": f"local-dir:{folder}", "pretrained": True}
    return Recipe("timm", arguments, values["architecture"], _lasting(values.get("model_args") or {}))


def _of_timm(name: str, config: BackboneConfig) -> Recipe:
    check_timm_name(name)
    if config.pretrained is None:
        return Recipe("timm", {"model_name": name, "pretrained": False}, name)
    if is_local(config.pretrained):
        file = Path(config.pretrained)
        if not file.is_file():
            raise missing_weights(config.pretrained, None, WHAT, key="train.segmenter.backbone.pretrained")
    else:
        file = _timm_tag_file(name, config)
    tag = None if is_local(config.pretrained) else config.pretrained
    # an entry without a source of its own, so that the file counts
    arguments = {"pretrained": True, "pretrained_cfg": tag, "pretrained_cfg_overlay": {"file": str(file)}}
    return Recipe("timm", {"model_name": name, **arguments}, name)


def check_timm_name(name: str) -> None:
    """Raises `UsageError`, with the nearest, for an architecture that timm does not know."""
    if "." in name or not timm.is_model(name):
        mend = nearest(name.partition(".")[0], timm.list_models())
        tag = "; the tag of its weights goes to `pretrained`" if "." in name else ""
        raise UsageError(f"'{CONFIG_KEY}' = '{TIMM_PREFIX}{name}' is not an architecture that timm knows", mend + tag)


def _timm_tag_file(name: str, config: BackboneConfig) -> Path:
    known = timm.list_pretrained(f"{name}.*")
    tag = f"{name}.{config.pretrained}"
    if tag not in known:
        raise CloudsError(
            f"{WHAT}: timm has no weights {config.pretrained!r} of {name!r}",
            nearest(str(config.pretrained), [entry.partition(".")[2] for entry in known]) + "; or give a file of them",
        )
    source = timm.get_pretrained_cfg(tag)
    if not source.hf_hub_id:
        raise CloudsError(f"{WHAT}: timm keeps {tag} on no hub", "download it and give the file as `pretrained`")
    names = (source.hf_hub_filename,) if source.hf_hub_filename else _TIMM_NAMES
    return _hub_file(source.hf_hub_id, config.revision, names)


def _lasting(args: dict[str, Any]) -> dict[str, Any]:
    """A model's arguments without those that only serve its own training or its classifier."""
    return {key: value for key, value in args.items() if not key.endswith("drop_rate") and key not in _PASSING}


def _tag_arguments(config: BackboneConfig) -> dict[str, Any]:
    tag = open_clip.get_pretrained_cfg(config.weights, str(config.pretrained))
    hub_id, name = os.path.split(tag.get("hf_hub", ""))
    if not hub_id:
        return {"pretrained": config.pretrained}
    file = _hub_file(hub_id, config.revision, (name,) if name else _CLIP_NAMES)
    preprocess = {key: tag[key] for key in ("mean", "std") if key in tag}
    arguments = {"pretrained": str(file), "force_preprocess_cfg": preprocess}
    # OpenAI's weights were trained with an approximation of GELU, which open_clip only warns of
    return {**arguments, "force_quick_gelu": True} if tag.get("quick_gelu") else arguments


def _hub_file(hub_id: str, revision: str | None, names: Sequence[str]) -> Path:
    """The first of the names that a hub repository has, on this disk; the library's config lies beside it."""

    def refuse(reason: str) -> CloudsError:
        return missing_weights(hub_id, revision, WHAT, reason=reason, key=CONFIG_KEY)

    folder = local_files(hub_id, revision)
    if folder is None or not _found(folder, names):

        def get(present: list[str]) -> str:
            wanted = [name for name in names if name in present][:1]
            return snapshot(hub_id, revision, [HF_CONFIG_NAME, _TIMM_CONFIG, *wanted])

        folder = download(hub_id, revision, get, refuse)
    found = _found(folder, names)
    if not found:
        raise refuse(f"it has no {' or '.join(names)}")
    return found[0]


def _found(folder: Path, names: Sequence[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]
