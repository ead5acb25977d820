"""A log agrees with the checkpoint that a training goes on from."""

import json

import pytest

from clouds.training.log import StepLog


@pytest.fixture
def path(tmp_path):
    log = StepLog(tmp_path / "log.jsonl", 0)
    for step in range(1, 6):
        log.write(step, {"loss": 1 / step})
    return tmp_path / "log.jsonl"


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_values_have_seven_digits(path):
    assert json.loads(path.read_text().splitlines()[2]) == {"step": 3, "loss": 0.3333333}


@pytest.mark.parametrize("resumed_at", range(7))
def test_lines_after_the_checkpoint_are_cut(path, resumed_at):
    StepLog(path, resumed_at)
    assert steps(path) == list(range(1, min(resumed_at, 5) + 1))


def test_what_is_cut_is_written_again_the_same(path):
    whole = path.read_bytes()
    log = StepLog(path, 3)
    for step in (4, 5):
        log.write(step, {"loss": 1 / step})
    assert path.read_bytes() == whole


def test_a_torn_last_line_is_cut_wherever_it_tore(path):
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in range(last, len(whole)):
        path.write_bytes(whole[:length])
        StepLog(path, 5)
        assert path.read_bytes() == whole[:last]


def test_no_log_yet_is_no_error(tmp_path):
    StepLog(tmp_path / "log.jsonl", 3)
    assert not (tmp_path / "log.jsonl").exists()
