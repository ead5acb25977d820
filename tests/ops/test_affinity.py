"""The affinity loss: low where features say which object a place is on, and never without a bound."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.ops.affinity import affinity_loss

OBJECTS = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
SHARES = torch.nn.functional.one_hot(OBJECTS, 3).float()


def loss(features: torch.Tensor, shares: torch.Tensor = SHARES, scale: float = 0.0, offset: float = 4.0) -> float:
    return float(affinity_loss(features, shares, torch.tensor(scale), torch.tensor(offset)))


def test_features_that_tell_objects_apart_have_hardly_any_loss():
    assert loss(3.0 * SHARES) < 0.05


def test_features_that_are_all_alike_have_the_loss_of_a_guess_or_more():
    assert loss(torch.ones(8, 3), offset=0.0) == pytest.approx(0.6931, abs=1e-3)


def test_a_place_on_the_wrong_object_costs():
    wrong = 3.0 * SHARES
    wrong[7] = wrong[0]
    assert loss(wrong) > loss(3.0 * SHARES) + 0.1


def test_places_that_no_object_covers_do_not_count():
    shares = torch.cat([SHARES, torch.zeros(2, 3)])
    features = torch.cat([3.0 * SHARES, 100 * torch.ones(2, 3)])
    assert loss(features, shares) == pytest.approx(loss(3.0 * SHARES))
    assert loss(torch.ones(8, 3), torch.zeros(8, 3)) == 0.0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), same=st.booleans())
def test_loss_and_gradient_are_finite(seed: int, same: bool):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(8, 3, generator=generator) if not same else torch.zeros(8, 3)
    features.requires_grad_()
    scale, offset = torch.zeros((), requires_grad=True), torch.zeros((), requires_grad=True)
    value = affinity_loss(features, SHARES, scale, offset)
    value.backward()
    assert value >= 0
    assert all(torch.isfinite(tensor.grad).all() for tensor in (features, scale, offset))
