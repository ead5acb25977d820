"""What a run finds on this machine: versions, processor, memory, devices. It knows no model and no data set."""

import contextlib
import functools
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from clouds import __version__
from clouds.engine.memory import Memory, main_memory

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
_GIT = ("git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
_GIT_SECONDS = 10


def environment() -> list[tuple[str, str]]:
    """(what, which) for the tool, Python, the packages that matter, those that are optional, memory and devices."""
    commit = revision()
    return [
        ("clouds", f"{__version__} ({commit})" if commit else __version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        *((package, _version(package) or "missing") for package in _PACKAGES),
        *((package, _version(package) or f"not installed ({how})") for package, how in _OPTIONAL.items()),
        ("cpu", f"{cpu_name()}, {os.cpu_count()} cores, {platform.machine()}, {platform.system()}"),
        ("memory", _told(main_memory())),
        *_accelerators(),
    ]


def memories() -> dict[str, Memory]:
    """The main memory (`ram`), and that of each GPU with its own as PyTorch names it (`cuda:0`)."""
    import torch

    found = {"ram": main_memory()}
    for index in range(torch.cuda.device_count()):
        total, free = torch.cuda.get_device_properties(index).total_memory, None
        # asking what is free begins to use the device, which another may have for itself
        with contextlib.suppress(RuntimeError):
            free, total = torch.cuda.mem_get_info(index)
        found[f"cuda:{index}"] = Memory(total, free)
    return found


def installed_versions() -> dict[str, str]:
    """Of the tool, Python, and those packages that can change what a run makes and are installed."""
    found = {package: _version(package) for package in _PACKAGES}
    installed = {package: one for package, one in found.items() if one is not None}
    return {"clouds": __version__, "python": platform.python_version(), **installed}


@functools.cache
def revision() -> str | None:
    """The commit of this tool, `-dirty` where files differ from it; None where it runs from no checkout of its own.

    A package that was installed into somebody's repository is no checkout of this tool.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(_GIT, cwd=root, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True)
        return done.stdout.strip() or None
    return None


def cpu_name() -> str:
    """The processor's name as far as the system tells it."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if found:
            return found[0]
    return platform.processor() or platform.machine()


def hub_cache() -> Path:
    """Where downloads of the Hugging Face hub go."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


@functools.cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _accelerators() -> list[tuple[str, str]]:
    import torch

    known = memories()
    found = [
        (f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {_told(known[f'cuda:{index}'])}")
        for index in range(torch.cuda.device_count())
    ]
    if torch.backends.mps.is_available():
        found.append(("mps", "Apple GPU, which shares the main memory"))
    return found or [("gpu", "none that PyTorch can use")]


def _told(memory: Memory) -> str:
    total = "not known" if memory.total is None else f"{memory.total / 2**30:.1f} GiB"
    return total if memory.free is None else f"{total}, {memory.free / 2**30:.1f} GiB free"
