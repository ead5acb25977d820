"""The config of a segmenter trained with detectron2, and how a run tells one from another. It imports no detectron2.

detectron2 is on no package registry, and none of this has been run with it; what its interface is, is read from its
documentation (https://detectron2.readthedocs.io/, "Use Models" and "Models: model input format").
"""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from clouds.config import ConfigModel, ConfigPath, Neutral
from clouds.data.labels import LabelMap
from clouds.errors import CloudsError, UsageError, nearest
from clouds.models.weights import HashCache

INSTALL = "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
_BASE = re.compile(r"^_BASE_:\s*[\"']?([^\"'\n]+)", re.MULTILINE)
_SAFE = (".pth", ".pt", ".safetensors")


class Detectron2Config(ConfigModel):
    """A semantic segmenter that detectron2 trained."""

    # told apart by their content
    config: Neutral[ConfigPath]
    """Its config, a YAML file of detectron2's."""
    weights: Neutral[ConfigPath]
    """Its weights: a .pth that torch loads without running code, or a .safetensors file."""
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    """The names of its classes in the order of its outputs; each is a class of the run, by name or synonym."""
    outputs: Literal["logits", "shares"] = "logits"
    """What its `sem_seg` is: `logits`, of which a softmax is taken, or the `shares` that Mask2Former sums up."""
    extend: tuple[Annotated[str, Field(pattern=r"^[\w.]+:\w+$")], ...] = ()
    """Functions, as `module:name`, that add a project's keys to detectron2's config before the file is read."""


def missing_detectron2() -> CloudsError:
    """The error for a machine without detectron2, in one line."""
    return CloudsError(f"detectron2 is not installed; it is built from source: {INSTALL}")


def check_detectron2() -> None:
    """Raises `CloudsError` where detectron2 is not installed."""
    if importlib.util.find_spec("detectron2") is None:
        raise missing_detectron2()


def class_ids(config: Detectron2Config, label_map: LabelMap) -> tuple[int, ...]:
    """The run's id of each of its classes. Raises `UsageError` for one that the run does not have."""
    found = {name: label_map.find(name) for name in config.classes}
    for name, id_ in found.items():
        if id_ is None:
            raise UsageError(
                f"'label.detectron2.classes' has {name!r}, which is none of the run's classes",
                f"{nearest(name, label_map.names)}; or give a class of the run that name as a synonym",
            )
    return tuple(id_ for name in config.classes if (id_ := found[name]) is not None)


def detectron2_identity(config: Detectron2Config, cache: HashCache) -> Mapping[str, Any]:
    """What a fingerprint needs to know of it: the content of its weights, and of its config with those it lies over.

    Raises `CloudsError` for a file that is not there, and for weights that only a pickle's code could read.
    """
    if config.weights.suffix not in _SAFE:
        raise CloudsError(
            f"'label.detectron2.weights' = {config.weights}: only {', '.join(_SAFE)} are read: others can run code",
            "load it where you trust it, and save its tensors with torch.save({'model': tensors}, 'model.pth')",
        )
    for key, path in (("config", config.config), ("weights", config.weights)):
        if not path.is_file():
            raise CloudsError(f"'label.detectron2.{key}' = {path}: there is no such file", "give the file's path")
    identity = {"config": [cache.sha256(file) for file in _with_bases(config.config)]}
    found = {**identity, "weights": cache.sha256(config.weights)}
    cache.save()
    return found


def _with_bases(file: Path) -> Iterator[Path]:
    """A config's file and those it lies over, by detectron2's key `_BASE_`; those that are missing are left out."""
    seen: set[Path] = set()
    while file.is_file() and file not in seen:
        seen.add(file)
        yield file
        named = _BASE.search(file.read_text(encoding="utf-8"))
        if named is None:
            return
        file = (file.parent / Path(named[1].strip()).expanduser()).resolve()
