"""Where a CLIP model's files are: a folder, the Hugging Face cache or hub, a tag of open_clip. It builds no model."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
from open_clip.constants import HF_CONFIG_NAME, HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from clouds.models.segmenter_config import BackboneConfig
from clouds.models.weights import is_local, local_files, missing_weights

CONFIG_KEY = "train.segmenter.backbone.weights"
WHAT = "the segmenter's backbone"
_REACH_TIMEOUT_S = 5.0
_WEIGHT_NAMES = (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)


def factory_arguments(config: BackboneConfig) -> dict[str, Any]:
    """What `open_clip.create_model` must be given to build the configured model from files on this disk.

    Files that only a hub has are downloaded first. Raises `CloudsError` within seconds when that fails.
    """
    if is_local(config.weights):
        if not Path(config.weights).is_dir():
            raise missing_weights(config.weights, None, WHAT, key=CONFIG_KEY)
        return {"model_name": f"local-dir:{config.weights}"}
    if config.hub_id:
        return {"model_name": f"local-dir:{_hub_file(config.hub_id, config.revision, _WEIGHT_NAMES).parent}"}
    return {"model_name": config.weights, **_tag_arguments(config)}


def _tag_arguments(config: BackboneConfig) -> dict[str, Any]:
    tag = open_clip.get_pretrained_cfg(config.weights, str(config.pretrained))
    hub_id, name = os.path.split(tag.get("hf_hub", ""))
    if not hub_id:
        return {"pretrained": config.pretrained}
    file = _hub_file(hub_id, config.revision, (name,) if name else _WEIGHT_NAMES)
    preprocess = {key: tag[key] for key in ("mean", "std") if key in tag}
    return {"pretrained": str(file), "force_preprocess_cfg": preprocess}


def _hub_file(hub_id: str, revision: str | None, names: Sequence[str]) -> Path:
    """The first of the names that a hub repository has, on this disk; open_clip's config lies beside it."""
    folder = local_files(hub_id, revision)
    if folder is None or not _found(folder, names):
        folder = _download(hub_id, revision, names)
    found = _found(folder, names)
    if not found:
        raise missing_weights(hub_id, revision, WHAT, reason=f"it has no {' or '.join(names)}", key=CONFIG_KEY)
    return found[0]


def _found(folder: Path, names: Sequence[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]


def _download(hub_id: str, revision: str | None, names: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    try:
        # a download retries for a while against a dead network: ask once, briefly, first
        listed = HfApi().model_info(hub_id, revision=revision, timeout=_REACH_TIMEOUT_S).siblings or []
        present = {file.rfilename for file in listed}
        wanted = [HF_CONFIG_NAME, *[name for name in names if name in present][:1]]
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=wanted))
    except Exception as error:  # every failure of network, hub and disk has a class of its own, and the same mend
        reason = str(error).splitlines()[0]
        raise missing_weights(hub_id, revision, WHAT, reason=reason, key=CONFIG_KEY) from error
