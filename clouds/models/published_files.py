"""The tensors in a published checkpoint's file, read without running anything in it. It knows no model."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from clouds.errors import CloudsError

_BROKEN = (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError)
_TELLING = (SafetensorError, RuntimeError, OSError)
_HEAD = 512
_EXPECTED = "the file of weights that was published: a .pth, .pkl or .safetensors"
_ARRAYS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
}
_ARRAY_MAKERS = {
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
}
"""What a pickled array is put together with."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth`, `.safetensors` or detectron2's `.pkl` file by their published names, on the CPU.

    They may stand under `model` or `state_dict`. Raises `CloudsError` for a file that is missing, damaged, no
    checkpoint, or that would run code when opened.
    """
    if not path.is_file():
        raise CloudsError(f"checkpoint {path}: no such file", "give the file that was published")
    try:
        content = _content(path)
    except pickle.UnpicklingError as error:
        if "invalid load key" in str(error) or "truncated" in str(error) or _is_text(path):
            raise _unreadable(path, error) from error
        raise CloudsError(
            f"checkpoint {path} is no file of plain tensors, and opening it could run code: "
            + str(error).strip().splitlines()[0],
            f"give {_EXPECTED}; where you trust this one, open it once with torch and save its `model` alone: "
            "torch.save({'model': ...}, ...)",
        ) from error
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise _no_tensors(path, f"it holds {type(content).__name__}")
    if not content:
        raise _no_tensors(path, "it is empty")
    strange = next((name for name, value in content.items() if not isinstance(value, Tensor)), None)
    if strange is not None:
        raise _no_tensors(path, f"{strange} is none")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _unreadable(path: Path, error: Exception) -> CloudsError:
    """A reader of archives says what is wrong with one; what trips over other bytes says nothing of use."""
    what = str(error).splitlines()[0] if isinstance(error, _TELLING) and str(error) else "it is damaged, or none"
    if _is_text(path):
        what = "it is a text file" if path.stat().st_size else "it is empty"
    return CloudsError(f"checkpoint {path} cannot be read: {what}", f"give {_EXPECTED}; one that was, fetch again")


def _is_text(path: Path) -> bool:
    """Whether a file begins as texts do; one that cannot be read does not."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return all(byte >= 32 or byte in b"\t\n\r" for byte in head) and b"\x7f" not in head


def _no_tensors(path: Path, why: str) -> CloudsError:
    return CloudsError(f"checkpoint {path} is not a dictionary of tensors: {why}", f"give {_EXPECTED}")


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".pkl" and not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return _as_tensors(_PlainArrays(file).load())
    return torch.load(path, map_location="cpu", weights_only=True)


class _PlainArrays(pickle.Unpickler):
    """Opens nothing but dictionaries, lists, texts, numbers and arrays of numbers."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ARRAYS:
            return _ARRAYS[module, name]
        # numpy moved them; a file names the place they had when it was written
        place = module.replace("numpy.core.", "numpy._core.")
        if (place, name) in _ARRAY_MAKERS:
            return getattr(import_module(place), name)
        if (module, name) == ("_codecs", "encode"):
            return _encoded
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _encoded(text: str, encoding: str) -> bytes:
    """How older pickles hold bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}")
    return text.encode(encoding)


def _as_tensors(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _as_tensors(value) for name, value in content.items()}
    # an array of anything but numbers stays as it is, and is refused
    is_numbers = isinstance(content, np.ndarray) and content.dtype.kind in "fiub"
    return torch.from_numpy(np.array(content, order="C")) if is_numbers else content
