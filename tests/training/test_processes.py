"""Two processes train what one trains."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launched import CASES, train_case
from safetensors.torch import load_file
from small_training import ROUNDING, moments, relative_difference

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def together(clip, tmp_path_factory):
    """The folder in which two processes trained every case."""
    folder = tmp_path_factory.mktemp("together")
    # not `accelerate launch`: on CPUs it starts one process, whatever --num_processes says, unless MPI is there
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [str(Path(__file__).with_name("launched.py")), str(clip), str(folder)]
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": paths}
    ended = subprocess.run([*launch, *script], env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_weights_of_one(together, clip, runtime, tmp_path, case):
    train_case(case, clip, tmp_path, runtime)
    alone = load_file(tmp_path / case / "rank-0.safetensors")
    first, second = (load_file(together / case / f"rank-{rank}.safetensors") for rank in (0, 1))
    torch.testing.assert_close(first, second, atol=0, rtol=0)
    torch.testing.assert_close(first["scores"], alone["scores"], atol=1e-3, rtol=0)
    assert relative_difference(moments(together / case), moments(tmp_path / case)) < ROUNDING
    assert bool((first["head.spare.weight"] == 1).all())


@pytest.mark.parametrize("case", CASES)
def test_each_process_knows_what_any_passed_over(together, case):
    told = [json.loads((together / case / f"rank-{rank}.json").read_text())["skipped"] for rank in (0, 1)]
    assert told[0] == told[1]
    assert len(told[0]) == 1


@pytest.mark.parametrize("case", CASES)
def test_only_the_main_process_logs(together, case):
    lines = (together / case / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_processes_validate_on_what_one_would(together, clip, runtime, tmp_path):
    train_case("featured", clip, tmp_path, runtime)
    alone, shared = (
        [json.loads(line)["miou/held"] for line in (folder / "featured" / "log.jsonl").read_text().splitlines()]
        for folder in (tmp_path, together)
    )
    assert shared == pytest.approx(alone, abs=1e-3)
    counts = "featured/class_pixels/scenes/00000.json"
    assert (together / counts).read_bytes() == (tmp_path / counts).read_bytes()
