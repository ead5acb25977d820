"""Who is working on a run folder. It knows nothing of the work.

The holder is a small file made by one atomic link, which a network file system cannot tear, with a heartbeat; where
there are no links, by creating it. A second run reads it and stops; a holder whose process is gone, or whose heart
has stopped, is recognised as dead.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clouds.errors import CloudsError
from clouds.process import place, process_start

HOLDER = "holder.json"
HEARTBEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 90.0
_ATTEMPTS = 200
_PAUSE_SECONDS = 0.01
_REMOVING = ".removing"
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextlib.contextmanager
def hold(run_dir: Path) -> Iterator[None]:
    """Hold the run folder for the length of the block.

    Raises `CloudsError` that names the holder where another run that is alive holds it.
    """
    path = run_dir / HOLDER
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        mine = _claim(path)
    except OSError as error:
        raise CloudsError(
            f"run folder {run_dir}: {error.strerror or error}",
            "free space or make it writable, or set run_dir to a folder you can write to",
        ) from error
    stop = threading.Event()
    beat = threading.Thread(target=_heartbeat, args=(path, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        if _read(path) == mine:  # after this machine slept, another run may have taken over
            path.unlink(missing_ok=True)


def holder(run_dir: Path) -> dict[str, Any] | None:
    """The run that holds the folder and is alive, or None."""
    path = run_dir / HOLDER
    text = _read(path)
    return _parse(text) or None if text is not None and _alive(text, path) else None


def _claim(path: Path) -> bytes:
    """Become the holder; what this process wrote to say so."""
    text = json.dumps(_self()).encode("utf-8")
    mine = path.with_name(f".{HOLDER}.{socket.gethostname()}.{os.getpid()}")
    try:
        mine.write_bytes(text)
        for _ in range(_ATTEMPTS):
            if _link(mine, path):
                _sweep(path.parent, mine)
                return text
            _remove_dead(path, mine)
    finally:
        with contextlib.suppress(OSError):
            mine.unlink()
    raise CloudsError(f"run folder {path.parent}: cannot take hold of it", f"remove {path} if no run works on it")


def _link(mine: Path, path: Path) -> bool:
    """Give a file a second name unless another bears it; whether that was so."""
    try:
        os.link(mine, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with contextlib.suppress(FileExistsError), path.open("xb") as file:
            file.write(mine.read_bytes())
            return True
        return False
    return True


def _remove_dead(path: Path, mine: Path) -> None:
    """Remove the file of a process that is dead; of several that try at once, one does.

    Removing takes the right to: a file named for the dead one's content. Whoever has it looks again, since the file
    may be another's by now. A right whose owner died is removed in the same way.
    """
    text = _read(path)
    if text is None:
        return
    if _alive(text, path):
        if path.name == HOLDER:
            raise _held(path, _parse(text))
        time.sleep(_PAUSE_SECONDS)
        return
    right = path.with_name(f".{HOLDER}.{hashlib.sha256(text).hexdigest()[:16]}{_REMOVING}")
    if not _link(mine, right):
        _remove_dead(right, mine)
        return
    try:
        if _read(path) == text:
            path.unlink(missing_ok=True)
    finally:
        right.unlink(missing_ok=True)


def _sweep(run_dir: Path, mine: Path) -> None:
    """Remove what processes that died on their way left behind."""
    prefix = f".{HOLDER}.{socket.gethostname()}."
    for left in run_dir.glob(f".{HOLDER}.*"):
        pid = left.name.removeprefix(prefix)
        if left.name.endswith(_REMOVING):
            _remove_dead(left, mine)
        elif pid.isdigit() and process_start(int(pid)) is None:
            left.unlink(missing_ok=True)


def _held(path: Path, content: dict[str, Any]) -> CloudsError:
    who = f"process {content['pid']} on {content['host']}, since {content['since']}" if content else "not named yet"
    return CloudsError(
        f"run folder {path.parent} is held by another run: {who}",
        "wait for it, stop it, or set another name or run_dir",
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _parse(text: bytes) -> dict[str, Any]:
    """Who wrote the text; nothing where it is damaged, or not whole yet."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) and content.keys() >= {"host", "pid", "since"} else {}


def _self() -> dict[str, Any]:
    return {
        **place(),
        "pid": os.getpid(),
        "started": process_start(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "mark": secrets.token_hex(8),
    }


def _alive(text: bytes, path: Path) -> bool:
    """Whether the process that wrote a file lives: told exactly on this machine, by the heartbeat on another."""
    content = _parse(text)
    if all(content.get(key) == value for key, value in place().items()):
        return process_start(int(content["pid"])) == content.get("started") is not None
    try:
        return time.time() - path.stat().st_mtime < DEAD_AFTER_SECONDS
    except FileNotFoundError:
        return False


def _heartbeat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
