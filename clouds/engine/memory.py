"""How much main memory there is, and how much of it is free, as far as the system tells. It allocates nothing.

A container's limit counts where there is one: what lies beyond it is not for us.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Where Linux keeps a container's limit, what it uses, and which of that are files it would drop: today's way and the
one before it."""


@dataclass(frozen=True)
class Memory:
    """Bytes; None where the system does not tell."""

    total: int | None
    free: int | None


def main_memory() -> Memory:
    """Of this machine, or of the container this process is in; `free` counts what the system would give up."""
    told = {name: int(value.split()[0]) * 1024 for name, value in _pairs(_MEMINFO, ":") if value.split()}
    total, free = told.get("MemTotal", _pages()), told.get("MemAvailable")
    for folder, limit_name, used_name, files_name in _GROUPS:
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        # without a limit it says `max`, or a number that no machine has
        if limit is not None and used is not None and (total is None or limit < total):
            files = next((int(value) for name, value in _pairs(folder / "memory.stat", " ") if name == files_name), 0)
            left = max(0, limit - used + files)
            return Memory(limit, left if free is None else min(left, free))
    return Memory(total, free)


def _pages() -> int | None:
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _number(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text(encoding="ascii"))
    return None


def _pairs(path: Path, separator: str) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    parts = (line.partition(separator) for line in lines)
    return [(name.strip(), value.strip()) for name, found, value in parts if found]
