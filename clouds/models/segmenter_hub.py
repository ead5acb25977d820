"""Segmenters on the Hugging Face hub: found in its cache, or downloaded. It loads no weights."""

import re
from pathlib import Path

from clouds.errors import CloudsError
from clouds.models.hub import download, snapshot
from clouds.models.segmenter_folder import CONFIG_FILE, TEXT_FOLDER, WEIGHTS_FILE, is_segmenter
from clouds.models.weights import local_files

_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = (CONFIG_FILE, WEIGHTS_FILE, f"{TEXT_FOLDER}/*")


def is_hub_id(source: str) -> bool:
    """Whether it could be one: `owner/name`. A path may look alike, so what is on this disk goes before."""
    return _ID.fullmatch(source) is not None and not source.startswith(".")


def segmenter_of_hub(hub_id: str, revision: str | None = None) -> Path:
    """The segmenter's folder in the hub's cache; what is not there is downloaded.

    Raises `CloudsError` within seconds where there is neither a copy nor a network, or no segmenter in it.
    """
    cached = local_files(hub_id, revision)
    folder = cached if cached is not None and is_segmenter(cached) else _download(hub_id, revision)
    if not is_segmenter(folder):
        raise CloudsError(
            f"segmenter {hub_id}: that repository holds no segmenter of clouds",
            "name one that `clouds export --format hub` wrote",
        )
    return folder


def _download(hub_id: str, revision: str | None) -> Path:
    def refuse(reason: str) -> CloudsError:
        return CloudsError(
            f"segmenter {hub_id} does not exist as a folder here, and is not on this machine or reachable as a hub id "
            f"({reason})",
            f"give the folder that a training stage or an export wrote; or, where there is a network: hf download "
            f"{hub_id}",
        )

    return download(hub_id, revision, lambda _: snapshot(hub_id, revision, _FILES), refuse)
