"""The contrastive loss: against the published one, against all pairs at once, and what must not change it."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clouds.ops.contrast import pixel_contrast_loss

ORACLE = Path(__file__).parents[3] / "shared" / "oracle" / "cluda_contrastive.pth"


def pixels(seed: int, count: int = 50, classes: int = 4, channels: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features_NC = torch.randn(count, channels, generator=generator)
    return features_NC, torch.randint(classes, (count,), generator=generator)


def all_pairs(features_NC: Tensor, labels_N: Tensor, weights_N: Tensor, temperature: float) -> Tensor:
    """The definition, pair by pair."""
    directions = features_NC.double() / features_NC.double().norm(dim=1, keepdim=True)
    costs = []
    for one, label in enumerate(labels_N):
        similarity = directions @ directions[one] / temperature
        others = similarity[labels_N != label].exp().sum()
        pairs = [
            weights_N[one] * weights_N[two] * ((similarity[two].exp() + others).log() - similarity[two])
            for two in range(len(labels_N))
            if two != one and labels_N[two] == label
        ]
        costs.append(sum(pairs) / len(pairs) if pairs else 0.0 * similarity.sum())
    return sum(costs) / len(costs)  # type: ignore[return-value]


@pytest.mark.skipif(not ORACLE.exists(), reason="the recordings are not here: shared/oracle")
@pytest.mark.parametrize("number", range(4))
def test_it_is_the_published_loss_and_gradient(number: int) -> None:
    case = torch.load(ORACLE, weights_only=True)[number]
    features_BCHW = case["features"].clone().requires_grad_()
    # published, features are ordered by place before image, and labels by image before place
    features_NC = features_BCHW.permute(2, 3, 0, 1).flatten(0, 2)
    weights_N = None if case["pseudo_weight"] is None else case["pseudo_weight"].flatten()
    loss = pixel_contrast_loss(features_NC, case["labels"].flatten(), weights_N, block=100)
    loss.backward()
    assert features_BCHW.grad is not None
    torch.testing.assert_close(loss.detach(), case["loss"], atol=1e-5, rtol=0)
    torch.testing.assert_close(features_BCHW.grad, case["grad"], atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), block=st.integers(1, 60), temperature=st.sampled_from([0.2, 1.0, 3.0]))
def test_blocks_give_the_loss_and_the_gradient_of_all_pairs(seed: int, block: int, temperature: float) -> None:
    features_NC, labels_N = pixels(seed)
    weights_N = torch.rand(len(labels_N), generator=torch.Generator().manual_seed(seed))
    ours, wanted = features_NC.clone().requires_grad_(), features_NC.clone().requires_grad_()
    loss = pixel_contrast_loss(ours, labels_N, weights_N, temperature=temperature, block=block)
    reference = all_pairs(wanted, labels_N, weights_N, temperature)
    torch.testing.assert_close(loss.double(), reference, atol=1e-5, rtol=1e-5)
    loss.backward()
    reference.backward()
    torch.testing.assert_close(ours.grad, wanted.grad, atol=1e-5, rtol=1e-4)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_neither_the_order_of_pixels_nor_the_names_of_classes_matter(seed: int) -> None:
    features_NC, labels_N = pixels(seed)
    generator = torch.Generator().manual_seed(seed)
    order_N, names_K = torch.randperm(len(labels_N), generator=generator), torch.randperm(9, generator=generator)
    loss = pixel_contrast_loss(features_NC, labels_N)
    torch.testing.assert_close(pixel_contrast_loss(features_NC[order_N], names_K[labels_N[order_N]]), loss)


def test_ignored_pixels_take_no_part() -> None:
    features_NC, labels_N = pixels(1)
    labels_N[::3] = 255
    features_NC.requires_grad_()
    loss = pixel_contrast_loss(features_NC, labels_N)
    loss.backward()
    kept_N = labels_N != 255
    torch.testing.assert_close(loss, pixel_contrast_loss(features_NC.detach()[kept_N], labels_N[kept_N]))
    assert features_NC.grad is not None
    assert not features_NC.grad[~kept_N].any() and features_NC.grad[kept_N].any()


@pytest.mark.parametrize("label", [255, 3])
def test_no_label_or_one_class_alone_is_finite(label: int) -> None:
    features_NC, labels_N = pixels(2)
    features_NC.requires_grad_()
    loss = pixel_contrast_loss(features_NC, torch.full_like(labels_N, label))
    loss.backward()
    assert features_NC.grad is not None
    # nothing to be told from: nothing to pay
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(features_NC.grad, torch.zeros_like(features_NC))


def test_half_precision_features_give_a_full_precision_loss() -> None:
    features_NC, labels_N = pixels(3)
    loss = pixel_contrast_loss(features_NC.bfloat16(), labels_N)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, pixel_contrast_loss(features_NC, labels_N), atol=0.02, rtol=0.02)
