"""The folder of a diffusers pipeline: found, downloaded, examined. It loads no weights and knows no config."""

import json
from pathlib import Path
from typing import Any

from clouds.errors import CloudsError
from clouds.models.hub import download
from clouds.models.weights import is_local, local_files, missing_weights


def pipeline_folder(source: str, revision: str | None = None, variant: str | None = None) -> Path:
    """The pipeline's folder on this disk; a hub id that is not cached whole is downloaded first.

    Calling it before a fingerprint is taken makes the fingerprint name the commit, not the branch. Raises
    `CloudsError` within seconds when there is neither a copy nor a network.
    """
    if is_local(source):
        if not Path(source).exists():
            raise missing_weights(source, None, "text-to-image model")
        return Path(source)
    cached = local_files(source, revision)
    if cached is not None and not pipeline_problem(cached, variant):
        return cached
    return _download(source, revision, variant)


def pipeline_class_name(folder: Path) -> str | None:
    """The class a pipeline's folder names, None when its index is absent or damaged."""
    name = _index(folder).get("_class_name")
    return name if isinstance(name, str) else None


def native_size(folder: Path) -> tuple[int, int] | None:
    """(height, width) of the images a Stable Diffusion makes by itself; None where its folder tells none."""
    sample = _read_values(folder / "unet" / "config.json").get("sample_size")
    blocks = _read_values(folder / "vae" / "config.json").get("block_out_channels")
    sides = [sample, sample] if isinstance(sample, int) else sample
    if not isinstance(sides, list) or len(sides) != 2 or not isinstance(blocks, list) or not blocks:
        return None
    # each block of the autoencoder but the last halves the image
    height, width = (int(side) * 2 ** (len(blocks) - 1) for side in sides)
    return height, width


def pipeline_problem(folder: Path, variant: str | None = None) -> str:
    """What keeps a folder from being a diffusers pipeline with safetensors weights; empty when nothing is seen."""
    if not (folder / "model_index.json").is_file():
        return "it has no model_index.json"
    if pipeline_class_name(folder) is None:
        return "its model_index.json names no pipeline"
    if variant and not any(folder.glob(f"*/*.{variant}*.safetensors")):
        return f"it has no .safetensors weights of variant {variant!r}"
    problems = (_component_problem(folder / name, kind, variant) for name, kind in _index(folder).items())
    return next(filter(None, problems), "")


def _index(folder: Path) -> dict[str, Any]:
    return _read_values(folder / "model_index.json")


def _read_values(file: Path) -> dict[str, Any]:
    """Of a JSON file; none where it is absent or damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _component_problem(folder: Path, kind: Any, variant: str | None) -> str:
    """What a component's folder lacks; `kind` is its entry in the index: [library, class] or a plain value."""
    if not isinstance(kind, list) or len(kind) != 2 or kind[0] is None:
        return ""
    names = [file.name for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
    if not names:
        return f"its component {folder.name!r} is missing"
    # of all components only models keep a config.json
    if "config.json" not in names:
        return ""
    weights = [name for name in names if name.endswith(".safetensors")]
    if not weights:
        pickled = " but pickled ones, which can run code" if any(name.endswith(".bin") for name in names) else ""
        return f"its component {folder.name!r} has no .safetensors weights{pickled}"
    # `model.safetensors` and `model.fp16.safetensors`: a variant stands between dots
    if not variant and all(name.count(".") > 1 for name in weights):
        return f"its component {folder.name!r} has weights only as a variant: set `variant` to take {weights[0]}"
    return _missing_shard(folder)


def _missing_shard(folder: Path) -> str:
    for index in folder.glob("*.safetensors.index*.json"):
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(shard for shard in shards if not (folder / shard).is_file())
        if missing:
            return f"its component {folder.name!r} lacks {missing[0]}"
    return ""


def _download(source: str, revision: str | None, variant: str | None) -> Path:
    from diffusers import DiffusionPipeline

    def get(_: list[str]) -> str:
        folder: str = DiffusionPipeline.download(source, revision=revision, variant=variant, use_safetensors=True)
        return folder

    def refuse(reason: str) -> CloudsError:
        return missing_weights(source, revision, "text-to-image model", reason=reason)

    return download(source, revision, get, refuse)
