"""How much room there is on the disk a folder lies on, or will lie on. It writes nothing."""

import shutil
from pathlib import Path


def free_bytes(folder: Path) -> int:
    """On the file system of a folder, which need not be there yet."""
    there = folder.expanduser().absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free
