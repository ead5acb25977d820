"""The mask loss against transformers' own, and what ours adds: ignored pixels, additive batches, owned randomness."""

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from clouds.ops.mask_loss import MaskLossSettings, count_labelled, count_masks, mask_loss, point_counts
from clouds.ops.mask_points import draw_points

IGNORE, CLASSES, QUERIES = 255, 5, 8
SETTINGS = MaskLossSettings(num_points=200, ignore=IGNORE, stride=4)


def make_logits(images, cells=(8, 12), layers=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    classes = [torch.randn(images, QUERIES, CLASSES + 1, generator=generator) for _ in range(layers)]
    masks = [3 * torch.randn(images, QUERIES, *cells, generator=generator) for _ in range(layers)]
    return [c.requires_grad_() for c in classes], [m.requires_grad_() for m in masks]


def make_labels(images, cells=(8, 12), seed=1):
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, CLASSES, (images, cells[0] // 4, cells[1] // 4), generator=generator)
    return blocks.repeat_interleave(16, 1).repeat_interleave(16, 2).to(torch.uint8)


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def points_of(labels_HW, generator):
    return draw_points(labels_HW, sum(point_counts(SETTINGS)), generator, IGNORE)


def own_loss(class_logits, mask_logits, labels, seeds, settings=SETTINGS, totals=None):
    num_masks, num_images = totals or (count_masks(labels), count_labelled(labels))
    return mask_loss(
        class_logits,
        mask_logits,
        labels,
        num_masks=num_masks,
        num_images=num_images,
        generators=generators(*seeds),
        settings=settings,
    )


def gradients(losses, *logits):
    flat = [tensor for group in logits for tensor in group]
    return torch.autograd.grad(losses["loss"], flat)


def replayed_rand(points, boxes_per_image, size_wh, settings):
    """`torch.rand` for transformers' loss, giving it our points: first the matcher's, then those of the masks."""
    matching, candidates, _ = point_counts(settings)
    unit = [p / torch.tensor(size_wh) for p in points]

    def of_boxes(part):
        return torch.cat([p[None, part].expand(n, -1, -1) for p, n in zip(unit, boxes_per_image, strict=True)])

    second = matching + candidates
    of_matcher = [p[None, :matching] for p in unit]
    one_layer = [*of_matcher, of_boxes(slice(matching, second)), of_boxes(slice(second, None))]

    def rand(*shape, **_):
        answer = answers.pop(0)
        assert answer.shape == shape
        return answer

    answers = one_layer * 2
    return rand


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_transformers_on_the_same_points_when_nothing_is_ignored(seed):
    class_logits, mask_logits = make_logits(3, seed=seed)
    labels = make_labels(3, seed=seed)
    ours = own_loss(class_logits, mask_logits, labels, (10, 11, 12))

    config = Mask2FormerConfig(
        num_labels=CLASSES,
        num_queries=QUERIES,
        train_num_points=SETTINGS.num_points,
        id2label={i: str(i) for i in range(CLASSES)},
    )
    weights = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
    published = Mask2FormerLoss(config, weights)
    present = [labels_HW.unique().long() for labels_HW in labels]
    masks = [(labels_HW == ids[:, None, None]).float() for labels_HW, ids in zip(labels, present, strict=True)]
    points = [points_of(labels[i], g) for i, g in enumerate(generators(10, 11, 12))]
    rand = replayed_rand(points, [len(ids) for ids in present], (48, 32), SETTINGS)
    with mock.patch("torch.rand", rand):
        parts = published(
            mask_logits[1],
            class_logits[1],
            masks,
            present,
            [{"masks_queries_logits": mask_logits[0], "class_queries_logits": class_logits[0]}],
        )
    theirs = {
        name: weights[key] * (parts[key] + parts[f"{key}_0"])
        for name, key in (("class", "loss_cross_entropy"), ("mask", "loss_mask"), ("dice", "loss_dice"))
    }
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-5)
    expected = gradients({"loss": sum(theirs.values())}, class_logits, mask_logits)
    for own, other in zip(gradients(ours, class_logits, mask_logits), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_an_image_without_labels_has_no_loss_and_no_gradient():
    class_logits, mask_logits = make_logits(2)
    labels = torch.full((2, 32, 48), IGNORE, dtype=torch.uint8)
    losses = own_loss(class_logits, mask_logits, labels, (0, 1))
    assert all(value == 0 for value in losses.values())
    assert all((gradient == 0).all() for gradient in gradients(losses, class_logits, mask_logits))

    labels[1] = make_labels(1)[0]
    losses = own_loss(class_logits, mask_logits, labels, (0, 1))
    alone = own_loss([c[1:] for c in class_logits], [m[1:] for m in mask_logits], labels[1:], (1,))
    assert losses["loss"] == alone["loss"] > 0
    for gradient in gradients(losses, class_logits, mask_logits):
        assert (gradient[0] == 0).all() and (gradient[1] != 0).any()


def test_logits_under_ignored_pixels_do_not_count():
    class_logits, mask_logits = make_logits(1)
    labels = make_labels(1)
    labels[:, :, 20:] = IGNORE
    losses = own_loss(class_logits, mask_logits, labels, (3,))
    before = gradients(losses, class_logits, mask_logits)
    # cell 5 reaches half a cell to its left, into labelled pixels, when masks are read bilinearly; cell 6 does not
    changed = [m.detach().clone() for m in mask_logits]
    for mask in changed:
        mask[..., 6:] = 50 * torch.randn(mask[..., 6:].shape, generator=generators(9)[0])
        mask.requires_grad_()
    after_losses = own_loss(class_logits, changed, labels, (3,))
    assert after_losses["loss"] == losses["loss"]
    for own, other in zip(gradients(after_losses, class_logits, changed), before, strict=True):
        assert torch.equal(own, other)
    assert all((gradient[..., 6:] == 0).all() for gradient in before[len(class_logits) :])


def test_a_few_labelled_pixels_get_all_the_points():
    labels = torch.full((32, 48), IGNORE, dtype=torch.uint8)
    labels[5, 7:9] = 2
    points = points_of(labels, generators(0)[0])
    assert (points[:, 1].floor() == 5).all()
    assert {7, 8} == set(points[:, 0].floor().int().tolist())
    class_logits, mask_logits = make_logits(1)
    labels = labels[None]
    losses = own_loss(class_logits, mask_logits, labels, (0,))
    # a certain and right prediction of the two pixels, whatever it says elsewhere
    right = [torch.full_like(m, -30.0) for m in mask_logits]
    for mask in right:
        mask[..., 0:3, 0:4] = 30.0
    better = own_loss(class_logits, right, labels, (0,))
    assert better["mask"] < 1e-4 < losses["mask"]
    assert better["dice"] < 0.1 < losses["dice"]


def test_micro_batches_add_up():
    class_logits, mask_logits = make_logits(4)
    labels = make_labels(4)
    labels[1, :, :30] = IGNORE
    labels[2] = IGNORE
    totals = count_masks(labels), count_labelled(labels)
    assert totals[1] == 3
    whole = own_loss(class_logits, mask_logits, labels, range(4), totals=totals)
    expected = gradients(whole, class_logits, mask_logits)
    summed, loss = [torch.zeros_like(gradient) for gradient in expected], 0.0
    for part in (slice(0, 1), slice(1, 4)):
        micro = [c[part] for c in class_logits], [m[part] for m in mask_logits]
        losses = own_loss(*micro, labels[part], range(4)[part], totals=totals)
        loss += losses["loss"].item()
        for total, gradient in zip(summed, gradients(losses, class_logits, mask_logits), strict=True):
            total += gradient
    assert loss == pytest.approx(whole["loss"].item(), rel=1e-5)
    for own, other in zip(summed, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-7)


def test_points_belong_to_the_image():
    class_logits, mask_logits = make_logits(3)
    labels = make_labels(3)
    once, again = (own_loss(class_logits, mask_logits, labels, (5, 6, 7)) for _ in range(2))
    assert once["loss"] == again["loss"]
    assert own_loss(class_logits, mask_logits, labels, (5, 6, 8))["loss"] != once["loss"]
    order = [2, 0, 1]
    shuffled = own_loss(
        [c[order] for c in class_logits], [m[order] for m in mask_logits], labels[order], (7, 5, 6)
    )  # fmt: skip
    torch.testing.assert_close(shuffled["loss"], once["loss"], rtol=1e-6, atol=0)


def test_labels_smaller_than_the_masks_are_read_from_the_top_left_corner():
    class_logits, mask_logits = make_logits(1)
    labels = make_labels(1)
    padded = labels.clone()
    padded[:, 30:], padded[:, :, 45:] = IGNORE, IGNORE
    cut = points_of(labels[0, :30, :45], generators(4)[0])
    assert torch.equal(cut, points_of(padded[0], generators(4)[0]))
    small = own_loss(class_logits, mask_logits, labels[:, :30, :45], (4,))
    # they differ only in the half pixel at the new border
    torch.testing.assert_close(
        small["loss"], own_loss(class_logits, mask_logits, padded, (4,))["loss"], rtol=0.02, atol=0
    )


def test_more_classes_than_queries_leaves_classes_unmatched():
    class_logits, mask_logits = make_logits(1)
    labels = make_labels(1)
    assert count_masks(labels) > 2
    few = [c[:, :2] for c in class_logits], [m[:, :2] for m in mask_logits]
    assert own_loss(*few, labels, (0,))["loss"].isfinite()


def test_half_precision_logits_give_a_single_precision_loss():
    class_logits, mask_logits = make_logits(2)
    labels = make_labels(2)
    exact = own_loss(class_logits, mask_logits, labels, (0, 1))
    half = [c.bfloat16() for c in class_logits], [m.bfloat16() for m in mask_logits]
    with torch.autocast("cpu", torch.bfloat16):
        losses = own_loss(*half, labels, (0, 1))
    assert losses["loss"].dtype == torch.float32
    torch.testing.assert_close(losses["loss"], exact["loss"], rtol=0.02, atol=0)


def test_published_weights_are_the_defaults():
    settings = MaskLossSettings()
    assert (settings.class_weight, settings.mask_weight, settings.dice_weight) == (2, 5, 5)
    assert (settings.no_object_weight, settings.num_points) == (0.1, 12544)
    assert (settings.oversample_ratio, settings.importance_ratio) == (3, 0.75)


def test_the_points_cover_labelled_pixels_evenly():
    labels = make_labels(1)[0]
    labels[8:, :] = IGNORE
    points = draw_points(labels, 20000, generators(0)[0], IGNORE)
    counts = torch.bincount(points[:, 0].long(), minlength=48).float()
    assert points[:, 1].max() <= 8
    assert counts.min() / counts.mean() > 0.8 and counts.max() / counts.mean() < 1.2


@pytest.mark.parametrize(
    ("labels", "count", "message"),
    [
        (torch.full((1, 32, 48), CLASSES, dtype=torch.uint8), 1, "labels reach 5"),
        (torch.zeros(1, 33, 48, dtype=torch.uint8), 1, "less than the labels"),
        (torch.zeros(1, 32, 48, dtype=torch.uint8), 2, r"of \(1, 1, 1, 2\) images"),
    ],
)
def test_what_does_not_fit_is_named(labels, count, message):
    class_logits, mask_logits = make_logits(1)
    with pytest.raises(ValueError, match=message):
        own_loss(class_logits, mask_logits, labels, range(count))


def test_counts():
    labels = torch.tensor([[[0, 0], [3, 255]], [[255, 255], [255, 255]], [[1, 1], [1, 1]]], dtype=torch.uint8)
    assert count_masks(labels) == 3
    assert count_labelled(labels) == 2
    assert count_masks(labels, ignore=0) == 4


def test_the_class_loss_alone_is_the_weighted_mean_over_all_queries():
    class_logits, mask_logits = make_logits(1, layers=1)
    labels = torch.full((1, 32, 48), 3, dtype=torch.uint8)
    losses = own_loss(class_logits, mask_logits, labels, (0,))
    weights = torch.tensor([1.0] * CLASSES + [0.1])
    candidates = []
    for query in range(QUERIES):
        target = torch.full((QUERIES,), CLASSES)
        target[query] = 3
        candidates.append(2 * F.cross_entropy(class_logits[0][0], target, weight=weights))
    assert any(torch.isclose(losses["class"], value) for value in candidates)
