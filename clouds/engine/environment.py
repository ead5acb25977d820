"""What a run would find on this machine: versions and devices. It knows no model and no data set."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from clouds import __version__

_PACKAGES = (
    *("torch", "torchvision", "accelerate", "diffusers", "transformers", "open_clip_torch", "timm", "peft"),
    *("segment-anything", "safetensors", "numpy", "pillow"),
)
_OPTIONAL = {
    "onnx": "pip install 'clouds-segmentation[onnx]'",
    "onnxruntime": "pip install 'clouds-segmentation[onnx]'",
    "pyarrow": "pip install 'clouds-segmentation[export]'",
    "pycocotools": "pip install 'clouds-segmentation[export]'",
    "detectron2": "built from source, see docs/detectron2.md",
}


def environment() -> list[tuple[str, str]]:
    """(what, which) for the tool, Python, the packages that matter, those that are optional, and every device."""
    return [
        ("clouds", __version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        *((package, _version(package) or "missing") for package in _PACKAGES),
        *((package, _version(package) or f"not installed ({how})") for package, how in _OPTIONAL.items()),
        ("cpu", f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"),
        *_accelerators(),
    ]


def hub_cache() -> Path:
    """Where downloads of the Hugging Face hub go."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _accelerators() -> list[tuple[str, str]]:
    import torch

    found = [
        (f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {_gibibytes(index)} GiB")
        for index in range(torch.cuda.device_count())
    ]
    if torch.backends.mps.is_available():
        found.append(("mps", "Apple GPU"))
    return found or [("gpu", "none that PyTorch can use")]


def _gibibytes(index: int) -> int:
    import torch

    return round(torch.cuda.get_device_properties(index).total_memory / 2**30)
