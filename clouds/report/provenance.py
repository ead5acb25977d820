"""What it takes to make a run again: weights, settings of the generator, versions, machine. It loads no model."""

import os
import platform
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clouds.engine.environment import cpu_name, installed_versions
from clouds.engine.memory import main_memory
from clouds.engine.settings import RunConfig
from clouds.engine.stage import Stage
from clouds.report.samples import first_row

_GPUS = Path("/proc/driver/nvidia/gpus")
_GENERATOR = ("model", "revision", "pipeline", "scheduler", "steps", "guidance", "negative_prompt", "dtype")


@dataclass(frozen=True)
class Weights:
    """Weights of a foundation model: which stages use them, what they are called, and what identifies them."""

    stages: tuple[str, ...]
    name: str
    identity: str


def commands(config: RunConfig) -> list[str]:
    """The commands that bring this run up to date and write this report again."""
    folder = shlex.quote(str(config.folder))
    return [f"clouds run {folder}", f"clouds report {folder}"]


def weights_of(stages: Sequence[Stage]) -> list[Weights]:
    """The weights that stages began with, each once; stages that start from another stage's model have none."""
    users: dict[tuple[str, str], list[str]] = defaultdict(list)
    for stage in stages:
        document = (stage.artifact.description() or {}).get("document", {})
        told = [value for key, value in document.get("config", {}).items() if key.split(".")[-1] == "weights"]
        # what weights are called cannot change the output, so a description may tell their identity alone
        names = told or list(_named_weights(stage.config.model_dump(mode="json")))
        identity = _identity(document.get("inputs", {}))
        if identity:
            users[", ".join(str(name) for name in names), identity].append(stage.name)
    return [Weights(tuple(stages), name, identity) for (name, identity), stages in users.items()]


def generator_facts(stages: Sequence[Stage]) -> list[tuple[str, str]]:
    """What the first image's metadata says of the model that made it and of how it sampled."""
    for stage in stages:
        row = first_row(stage.artifact) if stage.kind == "generate" else None
        if row is not None:
            facts = [(key.replace("_", " "), str(row[key])) for key in _GENERATOR if row.get(key) is not None]
            size = [("size", f"{row['width']} x {row['height']}")] if row.get("width") and row.get("height") else []
            return facts + size
    return []


def versions() -> list[tuple[str, str]]:
    """Packages and their versions in the environment that writes the report."""
    return list(installed_versions().items())


def machine(config: RunConfig) -> list[tuple[str, str]]:
    """The machine that writes the report, and the device and precision the config asks for."""
    return [
        ("platform", platform.platform()),
        ("CPU cores", str(os.cpu_count() or "unknown")),
        *_hardware(),
        ("device", config.runtime.device),
        ("mixed precision", config.runtime.mixed_precision),
    ]


def _hardware() -> list[tuple[str, str]]:
    """What Linux tells without a library of the processor, the memory and NVIDIA's GPUs; less elsewhere."""
    found, memory = [("CPU", cpu_name())], main_memory().total
    if memory is not None:
        found.append(("memory", f"{memory / 2**30:.0f} GiB"))
    cards = [name for path in sorted(_GPUS.glob("*/information")) for name in _values(path, "Model")]
    return found + [("GPU", f"{count} x {name}") for name, count in Counter(cards).items()]


def _values(path: Path, key: str) -> list[str]:
    """What stands behind a key in a file of `key: value` lines; nothing where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return [value.strip() for name, value in pairs if name.strip() == key]


def _identity(inputs: dict[str, Any]) -> str:
    """What a stage's description says of its weights: `local, sha256 1f9a...`, or a hub id's revision."""
    values = {key.removeprefix("weights."): value for key, value in inputs.items() if key.startswith("weights.")}
    kind = [str(values.pop("kind"))] if "kind" in values else []
    return ", ".join(kind + [f"{key} {value}" for key, value in values.items() if value is not None])


def _named_weights(tree: Any) -> Iterator[str]:
    """The values of all keys `weights` in a config's tree."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == "weights" and isinstance(value, str):
                yield value
            else:
                yield from _named_weights(value)
