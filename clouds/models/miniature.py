"""The miniature's weights that ship with the tool: where they are, whether they are intact, how to replace them.

A config names them `assets:miniature/diffusion`, `assets:miniature/clip` and `assets:miniature/sam.safetensors`.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from clouds.config import shipped_assets
from clouds.errors import CloudsError
from clouds.models.checksums import CHECKSUMS, file_sha256, find_damage, listed_files

DIFFUSION = "diffusion"
"""The folder of the diffusers pipeline."""
CLIP = "clip"
"""The folder of the CLIP, in open_clip's format."""
SAM = "sam.safetensors"
"""The checkpoint of the `Sam`."""

_MEND = "install the tool again, or make the weights anew: clouds pretrain --install"


def miniature_folder() -> Path:
    """The folder of the shipped weights, whether or not they are there."""
    return shipped_assets() / "miniature"


def check_miniature(folder: Path, sha256: Callable[[Path], str] = file_sha256) -> None:
    """Raises `CloudsError`, naming the file, when one of a packed miniature is missing or altered: size first."""
    damage = find_damage(folder, sha256)
    if damage:
        raise CloudsError(f"the miniature's weights in {folder}: {damage}", _MEND)


def install_miniature(source: Path, target: Path) -> None:
    """Put the files of a packed miniature in the place of those of another; it appears whole or not at all.

    Raises `CloudsError` for a miniature that is not intact, and for a place that cannot be written.
    """
    check_miniature(source)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        for name in (*listed_files(source), CHECKSUMS):
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, scratch / name)
        _exchange(scratch, target)
    except OSError as error:
        raise CloudsError(
            f"{target}: {error.strerror or error}", "free space or make it writable, and run the same command"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _exchange(scratch: Path, target: Path) -> None:
    former = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        os.rename(target, former)
    os.rename(scratch, target)
    shutil.rmtree(former, ignore_errors=True)
