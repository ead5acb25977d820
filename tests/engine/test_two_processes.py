import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from toy_stages import Double, Make, ToyConfig

from clouds.engine.runner import Orders, run_stages
from clouds.engine.runtime import Runtime
from clouds.engine.session import SESSIONS, read_sessions


def launch(run_dir: Path, **order: Any) -> subprocess.CompletedProcess[str]:
    """Run the toy stages on two processes."""
    script = Path(__file__).with_name("toy_runner.py")
    # `accelerate launch --cpu` starts one process whatever number is asked for; on CPUs torchrun starts several
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(script), json.dumps({"run_dir": str(run_dir), **order})]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)


def files(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    timed = ("ledger.jsonl", "shard.json", SESSIONS)
    return {name: path.read_bytes() for name, path in found.items() if path.name not in timed}


def test_an_error_on_one_process_ends_both_and_two_make_the_same_bytes_as_one(tmp_path: Path, runtime: Runtime) -> None:
    failed = launch(tmp_path / "two", bad="0006", max_failures=0)
    assert failed.returncode != 0
    assert "1 items failed, more than the budget of 0" in failed.stderr
    assert "another process failed" in failed.stderr
    assert not (tmp_path / "two/holder.json").exists()
    done = launch(tmp_path / "two", retry=True)
    assert done.returncode == 0, done.stderr
    config = ToyConfig()
    make = Make(tmp_path / "one", config)
    run_stages(
        [make, Double(tmp_path / "one", make, ToyConfig(batch_size=2))], tmp_path / "one", runtime, Orders(), "{}"
    )
    assert files(tmp_path / "two") == files(tmp_path / "one")
    sessions = [read_sessions(tmp_path / "two" / name) for name in ("make", "double")]
    assert [[(one.processes, one.kind, len(one.hosts)) for one in found] for found in sessions] == [
        [(2, "cpu", 1), (2, "cpu", 1)],
        [(2, "cpu", 1)],
    ]
    assert all(one.ended for found in sessions for one in found)
