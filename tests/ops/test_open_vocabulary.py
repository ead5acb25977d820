"""Pooled masks, the best of several names, and the geometric ensemble, against their definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.ops.open_vocabulary import best_names, geometric_ensemble, name_logits, pool_masks


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_mask_pools_the_mean_of_its_pixels():
    pixels, masks = random(2, 5, 6, 8), random(2, 3, 6, 8, seed=1)
    masks[1, 2] = -1
    pooled = pool_masks(pixels, masks)
    for image in range(2):
        for query in range(3):
            inside = masks[image, query] > 0
            expected = pixels[image][:, inside].mean(1) if inside.any() else torch.zeros(5)
            torch.testing.assert_close(pooled[image, query], expected)


def test_a_mask_of_another_size_is_resized_before_it_is_cut():
    pixels = random(1, 4, 2, 2)
    masks = torch.full((1, 1, 4, 4), -1.0)
    # the mean of the upper left four is positive, though half of them are not
    masks[0, 0, :2, :2] = torch.tensor([[5.0, -1], [-1, 5]])
    torch.testing.assert_close(pool_masks(pixels, masks)[0, 0], pixels[0, :, 0, 0])


def test_no_gradient_goes_to_the_masks():
    pixels, masks = random(1, 4, 3, 3).requires_grad_(), random(1, 2, 3, 3, seed=1).requires_grad_()
    pool_masks(pixels, masks).square().sum().backward()
    assert masks.grad is None and pixels.grad.abs().sum() > 0


def test_name_logits_are_scaled_cosines_with_a_bound():
    vectors, texts = random(1, 2, 4), torch.nn.functional.normalize(random(3, 4, seed=1), dim=-1)
    cosines = torch.cosine_similarity(vectors[:, :, None], texts, dim=-1)
    for log_scale, factor in ((0.0, 1.0), (2.0, 7.389056), (9.0, 100.0)):
        torch.testing.assert_close(name_logits(vectors, texts, torch.tensor(log_scale)), factor * cosines)


def test_a_class_has_the_logit_of_its_best_name():
    logits = torch.tensor([[[1.0, 5, 2, 3, 0]]])
    assert best_names(logits, (1, 3, 1)).tolist() == [[[1, 5, 0]]]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), seen=st.floats(0, 1), unseen=st.floats(0, 1))
def test_the_ensemble_is_the_published_formula(seed, seen, unseen):
    own, clip = random(2, 3, 6, seed=seed), random(2, 3, 5, seed=seed + 100)
    flags = random(5, seed=seed + 200) > 0
    exponent = torch.where(flags, torch.tensor(seen), torch.tensor(unseen))
    joint = own[..., :-1].softmax(-1) ** (1 - exponent) * clip.softmax(-1) ** exponent
    no_object = own.softmax(-1)[..., -1:]
    expected = torch.cat([joint / joint.sum(-1, keepdim=True) * (1 - no_object), no_object], -1)
    found = geometric_ensemble(own, clip, flags, seen=seen, unseen=unseen).softmax(-1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_at_the_ends_one_of_the_two_decides_alone():
    own, clip, seen = random(1, 2, 4), random(1, 2, 3, seed=1), torch.tensor([True, True, False])
    alone = geometric_ensemble(own, clip, seen, seen=0.0, unseen=0.0).softmax(-1)
    torch.testing.assert_close(alone, own.softmax(-1), rtol=1e-5, atol=1e-6)
    others = geometric_ensemble(own, clip, seen, seen=1.0, unseen=1.0).softmax(-1)[..., :-1]
    torch.testing.assert_close(others / others.sum(-1, keepdim=True), clip.softmax(-1), rtol=1e-5, atol=1e-6)


def test_a_certain_query_stays_finite():
    own = torch.tensor([[[200.0, -200, -200]]])
    found = geometric_ensemble(own, torch.zeros(1, 1, 2), torch.tensor([True, True]), seen=0.4, unseen=0.8)
    assert found.isfinite().all() and found.softmax(-1)[0, 0, 0] == pytest.approx(1, abs=1e-5)
