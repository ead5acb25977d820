"""In bf16 a training learns too, and what it keeps is float32."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_training import saved

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_bf16_learns_and_keeps_float32(clip, tmp_path):
    script = [sys.executable, str(Path(__file__).with_name("half_precision.py")), str(clip), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    ended = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines]
    assert sum(losses[-4:]) < 0.85 * sum(losses[:4])
    assert lines[-1]["miou"] > 0
    for group in ("model", "optimizer"):
        assert {tensor.dtype for tensor in saved(tmp_path, group).values()} == {torch.float32}
    # rounded to bf16 and back, half of the weights would be what they are
    weight = saved(tmp_path, "model")["head.class_predictor.weight"]
    assert (weight != weight.bfloat16().float()).float().mean() > 0.9
