"""The learning rate at the ends of each schedule, and that it never leaves [0, 1]."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouds.training.schedule import lr_factor
from clouds.training.settings import OptimizerConfig


def factors(steps, **optimizer):
    return [lr_factor(step, steps, OptimizerConfig(**optimizer)) for step in range(steps)]


def test_constant_is_one():
    assert factors(5) == [1.0] * 5


def test_warmup_rises_to_one_and_stays():
    assert factors(6, warmup_steps=4) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_a_warmup_longer_than_the_training_never_reaches_one():
    assert factors(2, warmup_steps=4) == [0.25, 0.5]


def test_poly_falls_from_one_towards_zero():
    fallen = factors(10, schedule="poly", power=0.9)
    assert fallen[0] == 1.0
    assert fallen[5] == pytest.approx(0.5**0.9)
    assert fallen[-1] == pytest.approx(0.1**0.9)
    assert fallen == sorted(fallen, reverse=True)


def test_poly_counts_from_the_first_step_of_the_warmup():
    risen, fallen = factors(10, schedule="poly", warmup_steps=5), factors(10, schedule="poly")
    assert risen[0] == pytest.approx(fallen[0] / 5)
    assert risen[4:] == fallen[4:]


def test_a_held_schedule_falls_from_there_to_the_end():
    fallen = factors(10, schedule="poly", power=0.9, hold_steps=4)
    assert fallen[:5] == [1.0] * 5
    assert fallen[5:] == factors(6, schedule="poly", power=0.9)[1:]
    assert factors(10, schedule="cosine", hold_steps=4)[4:] == factors(6, schedule="cosine")


def test_a_schedule_held_beyond_the_end_never_falls():
    for schedule in ("poly", "cosine"):
        assert factors(5, schedule=schedule, hold_steps=5) == factors(5, schedule=schedule, hold_steps=9) == [1.0] * 5


def test_vltseg_holds_500_of_5000_steps():
    config = OptimizerConfig(schedule="poly", power=0.9, hold_steps=500)
    assert [lr_factor(step, 5000, config) for step in (0, 499, 500)] == [1.0] * 3
    assert lr_factor(2750, 5000, config) == pytest.approx(0.5**0.9)


@given(
    steps=st.integers(1, 10**6),
    share=st.floats(0, 1, exclude_max=True),
    schedule=st.sampled_from(["constant", "poly", "cosine"]),
    power=st.floats(0.01, 10),
    warmup=st.integers(0, 10**6),
    hold=st.integers(0, 10**6),
)
def test_within_zero_and_one(steps, share, schedule, power, warmup, hold):
    config = OptimizerConfig(schedule=schedule, power=power, warmup_steps=warmup, hold_steps=hold)
    assert 0 <= lr_factor(int(share * steps), steps, config) <= 1
