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


@given(
    steps=st.integers(1, 10**6),
    share=st.floats(0, 1, exclude_max=True),
    schedule=st.sampled_from(["constant", "poly"]),
    power=st.floats(0.01, 10),
    warmup=st.integers(0, 10**6),
)
def test_within_zero_and_one(steps, share, schedule, power, warmup):
    config = OptimizerConfig(schedule=schedule, power=power, warmup_steps=warmup)
    assert 0 <= lr_factor(int(share * steps), steps, config) <= 1
