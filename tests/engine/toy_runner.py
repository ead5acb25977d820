"""Runs the toy stages in a process of its own: once from the command line, or again and again in forks of a zygote.

The zygote imports everything once, then forks a child for each order it reads, a line of JSON, from standard input; it
answers with the child's process id, and with its exit status once it has ended.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from toy_stages import Double, Make, ToyConfig

from clouds.engine.runner import Orders, run_stages
from clouds.engine.runtime import Runtime
from clouds.engine.settings import RuntimeConfig
from clouds.errors import CloudsError


def run(runtime: Runtime, order: dict[str, Any]) -> None:
    """Run the two stages: `config` is the first one's, items named in `bad` fail, `kill_at` says when to die."""
    os.environ["CLOUDS_TEST_BAD"] = order.get("bad", "")
    folder = Path(order["run_dir"])
    make = Make(folder, ToyConfig(**order.get("config", {})))
    double = Double(folder, make, ToyConfig(batch_size=2))
    orders = Orders(frozenset(order.get("force", [])), order.get("retry", False), order.get("max_failures", 20))
    if "kill_at" in order:
        kill_at(order["kill_at"])
    run_stages([make, double], folder, runtime, orders, json.dumps(order.get("config", {})))


def kill_at(operation: int) -> None:
    """Kill this process just before its nth operation on files that changes something."""
    left = operation

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        reads = event == "open" and isinstance(arguments[2], int) and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event == "open" or event.startswith("os.")) and not reads and event not in ("os.scandir", "os.listdir"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def zygote(runtime: Runtime) -> None:
    os.fsync = lambda fd: None  # no test cuts the power
    runtime.session()  # what a process finds out once, the children know
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _child(runtime, json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _child(runtime: Runtime, order: dict[str, Any]) -> None:
    os.setpgid(0, 0)
    status = 1
    try:
        run(runtime, order)
        status = 0
    except CloudsError as error:
        print(error, file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("order", help="a line of JSON, or `zygote`")
    order = parser.parse_args().order
    runtime = Runtime(RuntimeConfig(device="cpu"))
    if order == "zygote":
        zygote(runtime)
        return
    try:
        run(runtime, json.loads(order))
    finally:
        runtime.close()


if __name__ == "__main__":
    main()
