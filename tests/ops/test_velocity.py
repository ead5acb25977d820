"""Noising and velocity: the ends of the schedule, and the way back to the latents."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.ops.velocity import noised, velocity

GENERATOR = torch.Generator().manual_seed(0)
LATENTS, NOISE = (torch.randn(2, 4, 3, 5, generator=GENERATOR) for _ in range(2))


def test_the_ends_of_the_schedule() -> None:
    signal_B = torch.tensor([1.0, 0.0])
    mixed, speed = noised(LATENTS, NOISE, signal_B), velocity(LATENTS, NOISE, signal_B)
    assert torch.equal(mixed[0], LATENTS[0]) and torch.equal(mixed[1], NOISE[1])
    assert torch.equal(speed[0], NOISE[0]) and torch.equal(speed[1], -LATENTS[1])


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1, width=32))
def test_noised_latents_and_velocity_give_the_latents_back(signal: float) -> None:
    signal_B = torch.full((2,), signal)
    kept, added = signal**0.5, (1 - signal) ** 0.5
    back = kept * noised(LATENTS, NOISE, signal_B) - added * velocity(LATENTS, NOISE, signal_B)
    torch.testing.assert_close(back, LATENTS, atol=1e-5, rtol=1e-4)
