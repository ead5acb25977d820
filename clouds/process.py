"""Which process this is and where, in texts that others can read, and whether one lives. It knows no file of ours."""

import os
import socket
from pathlib import Path


def place() -> dict[str, str]:
    """Where a process number means something: this host since it was started, and in it this container."""
    return {"host": socket.gethostname(), "boot": _boot_id(), "namespace": _process_namespace()}


def machine() -> str:
    """A text that tells machines apart whatever their names; containers on one machine have that machine's."""
    return _boot_id() or socket.gethostname()


def process_start(pid: int) -> str | None:
    """A text that tells two processes with one number apart, or None where the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "alive"


def _process_namespace() -> str:
    """Two containers on one host may use one number for two processes."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
