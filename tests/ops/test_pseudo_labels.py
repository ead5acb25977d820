import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clouds.ops.pseudo_labels import confidence_from_uint8, confidence_to_uint8, pseudo_labels


def random_scores(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 10_000), st.integers(1, 19), st.floats(0, 1))
def test_labels_and_confidence_by_their_definition(seed, classes, threshold):
    scores_KHW = random_scores(seed, classes, 5, 6)
    labels_HW, confidence_HW = pseudo_labels(scores_KHW, threshold)
    assert labels_HW.dtype == torch.uint8 and confidence_HW.dtype == torch.float32
    for row in range(5):
        for column in range(6):
            scores = scores_KHW[:, row, column].tolist()
            confidence = max(scores) / max(sum(scores), 1.0)
            assert confidence_HW[row, column].item() == pytest.approx(confidence, abs=1e-6)
            if abs(confidence - threshold) > 1e-6:
                expected = scores.index(max(scores)) if confidence > threshold else 255
                assert labels_HW[row, column].item() == expected


def test_a_batch_is_its_images():
    scores_BKHW = random_scores(0, 3, 7, 4, 5)
    labels_BHW, confidence_BHW = pseudo_labels(scores_BKHW, 0.2)
    for scores_KHW, labels_HW, confidence_HW in zip(scores_BKHW, labels_BHW, confidence_BHW, strict=True):
        one_labels_HW, one_confidence_HW = pseudo_labels(scores_KHW, 0.2)
        assert torch.equal(labels_HW, one_labels_HW) and torch.equal(confidence_HW, one_confidence_HW)


def test_faint_scores_are_not_sure():
    scores_KHW = torch.tensor([0.03, 0.01]).reshape(2, 1, 1)
    labels_HW, confidence_HW = pseudo_labels(scores_KHW, threshold=0.5)
    assert labels_HW.item() == 255 and confidence_HW.item() == pytest.approx(0.03)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_pixel_without_scores_or_with_broken_ones_is_ignored(value):
    labels_HW, confidence_HW = pseudo_labels(torch.full((3, 1, 1), value))
    assert labels_HW.item() == 255 and confidence_HW.item() == 0.0


def test_half_precision_scores():
    scores_KHW = random_scores(0, 4, 3, 3).to(torch.bfloat16)
    labels_HW, confidence_HW = pseudo_labels(scores_KHW)
    assert torch.equal(labels_HW.long(), scores_KHW.argmax(0)) and confidence_HW.dtype == torch.float32


@pytest.mark.parametrize(("shape", "ignore"), [((256, 1, 1), 255), ((5, 1, 1), 4), ((3, 1, 1), 256), ((3, 1), 255)])
def test_what_does_not_fit_is_refused(shape, ignore):
    with pytest.raises(ValueError):
        pseudo_labels(torch.rand(shape), ignore=ignore)


def test_all_255_classes_fit():
    labels_HW, _ = pseudo_labels(torch.eye(255).reshape(255, 255, 1))
    assert labels_HW[:, 0].tolist() == list(range(255))


def test_uint8_confidence_rounds_and_comes_back():
    steps = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(confidence_to_uint8(confidence_from_uint8(steps)), steps)
    assert confidence_to_uint8(torch.tensor([0.0, 0.001, 0.9985, 1.0])).tolist() == [0, 0, 255, 255]
