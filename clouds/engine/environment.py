"""What a run would find on this machine: versions and devices. It knows no model and no data set."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from clouds import __version__

_PACKAGES = (
    *("torch", "torchvision", "accelerate", "diffusers", "transformers", "open_clip_torch", "timm", "peft"),
    *("segment-anything", "safetensors", "numpy", "pillow"),
)


def environment() -> list[tuple[str, str]]:
    """(what, which) for the tool, Python, the packages that matter and every device."""
    return [
        ("clouds", __version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        *((package, _version(package)) for package in _PACKAGES),
        ("cpu", f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"),
        *_accelerators(),
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


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
