"""Training state on disk: complete under its final name, the former one dropped only after. It knows no model.

Each group of tensors is one safetensors file; `state.json` holds the step, whatever plain values the training needs,
and the checksums of every file and of itself. The same state gives the same bytes.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from clouds.engine.atomic import publish_folder, subfolders, write_json
from clouds.engine.fingerprint import fingerprint
from clouds.engine.runtime import Runtime
from clouds.errors import CloudsError

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """Training state after `step` steps: named groups of named tensors, and plain values."""

    step: int
    groups: dict[str, Tensors]
    values: dict[str, Any]


class Checkpointer:
    """Saves and finds the checkpoints of one training."""

    def __init__(self, folder: Path, runtime: Runtime, *, keep: int = 1) -> None:
        self.folder = folder
        self.runtime = runtime
        self.keep = keep

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint beside the others, name it when it is whole, then drop the oldest beyond `keep`."""
        if self.runtime.is_main:
            self._write(checkpoint)
            for name in self._names()[: -self.keep]:
                shutil.rmtree(self.folder / name)
        self.runtime.wait()

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, tensors on the CPU, or None.

        Raises `CloudsError` that names the folder when a file of it is missing or altered.
        """
        names = self._names()
        return self._read(self.folder / names[-1]) if names else None

    def _names(self) -> list[str]:
        return [name for name in subfolders(self.folder) if name.startswith("step-")]

    def _write(self, checkpoint: Checkpoint) -> None:
        final = self.folder / f"step-{checkpoint.step:08d}"
        if final.exists():
            return
        scratch = self.folder / f".{final.name}.tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        for name, tensors in checkpoint.groups.items():
            owned = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
            _save(owned, scratch / f"{name}.safetensors")
        sums = {path.name: _checksum(path) for path in sorted(scratch.iterdir())}
        state = {"step": checkpoint.step, "files": sums, "values": checkpoint.values}
        write_json(scratch / "state.json", {**state, "checksum": fingerprint(state)})
        publish_folder(scratch, final)

    def _read(self, folder: Path) -> Checkpoint:
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            if state.pop("checksum") != fingerprint(state):
                raise ValueError("state.json is not what was written")
            groups = {}
            for name, checksum in state["files"].items():
                if _checksum(folder / name) != checksum:
                    raise ValueError(f"{name} is not what was written")
                groups[Path(name).stem] = load_file(folder / name)
            return Checkpoint(int(state["step"]), groups, dict(state["values"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise CloudsError(
                f"checkpoint {folder} is damaged: {error}",
                "remove that folder: the same command goes on from the checkpoint before it, or from the start",
            ) from error


def flatten_optimizer(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> Tensors:
    """An optimizer's state as named tensors; `names` gives each parameter's name by its `id`."""
    return {
        f"{names[id(parameter)]}/{key}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: Mapping[int, str], tensors: Tensors) -> None:
    """Put a state taken by `flatten_optimizer` back, on each parameter's device."""
    parameters = {names[id(p)]: p for group in optimizer.param_groups for p in group["params"]}
    for key, value in tensors.items():
        name, _, entry = key.rpartition("/")
        parameter = parameters[name]
        # step counters stay on the CPU, as the optimizers themselves keep them
        placed = value if entry == "step" else value.to(parameter.device)
        optimizer.state[parameter][entry] = placed


def _save(tensors: Tensors, path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise CloudsError(
            f"checkpoint {path.parent}: {error}",
            "free space or make it writable, and run the same command: what is done is kept",
        ) from error


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        state = hashlib.sha256()
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()
