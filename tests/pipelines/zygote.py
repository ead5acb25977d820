"""Runs the command line again and again in forked children that are killed after a while, until one gets through.

Everything heavy is imported once, before the first fork and before any tensor work, so that an attempt costs
milliseconds. Prints one JSON line per attempt: when it was killed, and in which stage.

    python zygote.py CONFIG SEED MAX_SECONDS RUN_DIR
"""

import importlib
import json
import os
import pkgutil
import random
import signal
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import clouds
import pipelines.full  # noqa: F401
from clouds.cli import main

sys.path.insert(0, str(Path(__file__).parent))
from small_run import STAGES

# what a run imports late, so that an attempt does work, not imports
for module in pkgutil.walk_packages(clouds.__path__, "clouds."):
    if module.name not in ("clouds.__main__", "clouds.export.detectron2"):
        importlib.import_module(module.name)
for library, names in {
    "diffusers": ("AutoPipelineForText2Image", "AutoPipelineForImage2Image", "AutoencoderKL", "UNet2DConditionModel"),
    "transformers": ("CLIPTextModel", "CLIPTokenizer", "PreTrainedTokenizerFast"),
}.items():
    for name in names:
        getattr(importlib.import_module(library), name)


def stage_in_progress(run_dir: Path) -> str | None:
    for name in STAGES:
        try:
            complete = json.loads((run_dir / name / "stage.json").read_text())["complete"]
        except (OSError, ValueError):
            return None
        if not complete:
            return name
    return None


def attempt(config: str, seconds: float | None) -> int | None:
    """The exit status of one attempt, or None when it was killed."""
    child = os.fork()
    if child == 0:
        sys.argv = ["clouds", "run", config]
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        try:
            main()
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
        os._exit(3)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def kill_until_done(config: str, seed: int, longest: float, run_dir: Path) -> None:
    rng = random.Random(seed)
    former, kills = None, 0
    while True:
        # with every kill in one stage a little more time, so that the slowest machine gets through
        seconds = rng.uniform(0.02, longest) * (1 + kills / 8)
        status = attempt(config, seconds)
        stage = stage_in_progress(run_dir)
        print(json.dumps({"seconds": seconds, "stage": stage, "status": status}), flush=True)
        if status is not None:
            raise SystemExit(status)
        kills = kills + 1 if stage == former else 0
        former = stage


if __name__ == "__main__":
    kill_until_done(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
