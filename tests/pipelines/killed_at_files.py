"""Runs a command in forked children that are killed once they have written so many files, and at last to its end.

python killed_at_files.py FOLDER PATTERN COUNT,COUNT,... ARGUMENTS...
"""

import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

from clouds.cli import main

# what a child would import late, so that each starts at once
for late in ("clouds.models.inference", "clouds.commands.predict", "diffusers", "pipelines.full", "pipelines.predict"):
    import_module(late)


def start(arguments: list[str]) -> int:
    """The process id of a child that runs the command line."""
    child = os.fork()
    if child == 0:
        sys.argv = ["clouds", *arguments]
        try:
            main()
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
        os._exit(3)
    return child


def kill_at(count: int, arguments: list[str], folder: Path, pattern: str) -> None:
    """Kill a child as soon as there are so many files; the program ends with 4 where it came through before."""
    child = start(arguments)
    while len(list(folder.rglob(pattern))) < count:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            raise SystemExit(4)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


if __name__ == "__main__":
    for files in sys.argv[3].split(","):
        kill_at(int(files), sys.argv[4:], Path(sys.argv[1]), sys.argv[2])
    _, status = os.waitpid(start(sys.argv[4:]), 0)
    raise SystemExit(os.waitstatus_to_exitcode(status))
