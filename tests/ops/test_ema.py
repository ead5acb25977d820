import pytest
import torch

from clouds.ops.ema import ema_update


def state(seed):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    generator = torch.Generator().manual_seed(seed)
    drawn = {
        k: torch.randn(v.shape, generator=generator) for k, v in module.state_dict().items() if v.is_floating_point()
    }
    return drawn | {"1.num_batches_tracked": torch.tensor(seed)}


def test_many_steps_equal_the_closed_form():
    average, decay = state(0), 0.9
    start = {name: tensor.clone() for name, tensor in average.items()}
    current = state(1)
    for _ in range(20):
        ema_update(average, current, decay)
    for name, tensor in average.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, current[name] + decay**20 * (start[name] - current[name]))
    assert average["1.num_batches_tracked"] == 1


def test_it_moves_in_place_and_leaves_the_model_alone():
    average, current = state(0), state(1)
    tensors, before = list(average.values()), {k: v.clone() for k, v in current.items()}
    ema_update(average, current, 0.5)
    assert all(mine is old for mine, old in zip(average.values(), tensors, strict=True))
    assert all(torch.equal(current[name], before[name]) for name in before)


def test_the_ends_of_the_scale_are_exact():
    average, current = state(0), state(1)
    before = {name: tensor.clone() for name, tensor in average.items()}
    ema_update(average, current, 1.0)
    assert all(torch.equal(average[name], before[name]) for name in before if before[name].is_floating_point())
    ema_update(average, current, 0.0)
    assert all(torch.equal(average[name], current[name]) for name in before)


def test_small_steps_from_half_precision_are_not_lost():
    average = {"w": torch.ones(1)}
    for _ in range(100):
        ema_update(average, {"w": torch.full((1,), 2.0, dtype=torch.bfloat16)}, 0.999)
    assert average["w"].item() == pytest.approx(2 - 0.999**100, abs=1e-5)


def test_parameters_that_learn_can_be_averaged():
    weight = torch.nn.Parameter(torch.ones(2))
    average = {"w": torch.zeros(2)}
    ema_update(average, {"w": weight}, 0.5)
    assert not average["w"].requires_grad and average["w"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("average", "current", "decay", "told"),
    [
        ({"a": torch.ones(1)}, {"b": torch.ones(1)}, 0.5, r"\['a', 'b'\]"),
        ({"a": torch.ones(1)}, {"a": torch.ones(2)}, 0.5, "a: the average has shape"),
        ({"a": torch.ones(1).half()}, {"a": torch.ones(1)}, 0.5, "float16"),
        ({"a": torch.ones(1)}, {"a": torch.ones(1)}, 1.5, "decay is 1.5"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_moves(average, current, decay, told):
    with pytest.raises(ValueError, match=told):
        ema_update(average, current, decay)
    assert average["a"].item() == 1
