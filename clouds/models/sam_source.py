"""Finds a segment-anything by hub id, folder or file, and loads it, whichever family it is of. It asks it nothing."""

from pathlib import Path

import torch

from clouds.errors import CloudsError
from clouds.models.hub import download, snapshot
from clouds.models.sam_promptable import PromptableModel
from clouds.models.weights import is_local, local_files, missing_weights

WHAT = "mask model"
KEY = "refine.sam.weights"


def load_promptable(source: str, revision: str | None, device: torch.device) -> PromptableModel:
    """The model with its weights on the device, float32, in evaluation mode.

    `source` is a hub id, a folder in transformers' format (SAM, SAM-HQ, SAM 2), or a file in segment-anything's, whose
    keys tell which (ViT-B, L, H, MobileSAM). Raises CloudsError for what is missing, unreadable or something else.
    """
    path = sam_path(source, revision)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise _no_model(path)
        from clouds.models.sam_transformers import load_transformers_sam

        return load_transformers_sam(path, device)
    from clouds.models.sam_checkpoint import load_sam
    from clouds.models.sam_original import OriginalSam

    return OriginalSam(load_sam(path), device)


def sam_path(source: str, revision: str | None = None) -> Path:
    """The model's file or folder on this disk; a hub id that is not cached is downloaded first."""
    if is_local(source):
        return Path(source)
    cached = local_files(source, revision)
    if cached is not None and (cached / "config.json").is_file():
        return cached
    return download(
        source,
        revision,
        lambda _: snapshot(source, revision, ("*.json", "*.safetensors")),
        lambda reason: missing_weights(source, revision, WHAT, reason=reason, key=KEY),
    )


def _no_model(folder: Path) -> CloudsError:
    files = sorted(path.name for path in folder.iterdir() if path.suffix in (".pth", ".pt", ".safetensors"))
    mend = f"give its file {folder / files[0]}" if files else "give a checkpoint's file, or a folder with a config.json"
    return CloudsError(f"SAM weights {folder}: a folder without config.json", mend)
