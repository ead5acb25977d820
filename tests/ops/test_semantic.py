"""Class scores of pixels from scored masks."""

import pytest
import torch

from clouds.ops.semantic import semantic_scores


def certain(class_ids, classes=3):
    logits = torch.full((len(class_ids), classes + 1), -50.0)
    return logits.scatter(1, torch.tensor(class_ids)[:, None], 50.0)


def test_pixels_take_the_class_of_their_mask():
    masks = torch.full((2, 2, 2), -50.0)
    masks[0, :, 0], masks[1, :, 1] = 50.0, 50.0
    scores = semantic_scores(certain([2, 0]), masks, stride=4, size=(8, 7))
    assert scores.shape == (3, 8, 7)
    assert (scores[2, :, :3] > 0.99).all() and (scores[0, :, 5:] > 0.99).all()


def test_masks_of_one_class_add_up_and_stay_below_one():
    scores = semantic_scores(certain([1, 1, 0]), torch.zeros(3, 2, 2), stride=4, size=(8, 8))
    torch.testing.assert_close(scores[1], torch.full((8, 8), 2 / 3))
    assert scores.sum(0).max() <= 1 + 1e-6


def test_pixels_that_no_mask_claims_have_no_class():
    nothing = certain([3, 3])
    assert semantic_scores(nothing, torch.full((2, 2, 2), 9.0), stride=4, size=(8, 8)).max() < 1e-6


def test_the_number_of_queries_at_a_time_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(40, 4, generator=generator), torch.randn(40, 2, 3, generator=generator)
    order = torch.randperm(40, generator=generator)
    whole = semantic_scores(classes, masks, stride=4, size=(8, 12))
    torch.testing.assert_close(semantic_scores(classes[order], masks[order], stride=4, size=(8, 12)), whole)


def test_masks_that_do_not_cover_the_image_are_refused():
    with pytest.raises(ValueError, match=r"cover \(8, 8\) pixels"):
        semantic_scores(certain([0]), torch.zeros(1, 2, 2), stride=4, size=(8, 9))
