"""The loss of mask classification: matched masks, sampled points, ignored pixels left out. It knows no model.

Mask2Former's loss (arXiv 2112.01527, section 3.3) with two changes:

- A pixel marked ignore carries no loss. Points are drawn from labelled pixels only, and where the bilinear reading of
  the label at a point touches an ignored pixel, that share of the point has weight zero. An image without a labelled
  pixel is left out altogether, its class loss included.
- An image's points are drawn once, from the image's own generator, and serve all its masks and all decoder layers.
  Each mask still picks its own most uncertain ones.

Labels that are guessed may count by how far they are trusted (`clouds.ops.label_trust`), and an image's dice term by a
factor of its own.

Every term is a sum over images divided by totals the caller gives, so the losses of micro-batches, or of processes,
add up to the loss of the whole batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from clouds.ops.label_trust import CountedTargets, Trust, trust_at
from clouds.ops.mask_points import PointTargets, draw_points, read_points, sample_masks


@dataclass(frozen=True, kw_only=True)
class MaskLossSettings:
    """The numbers of the loss; the defaults are the published ones."""

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    no_object_weight: float = 0.1
    num_points: int = 12544
    oversample_ratio: float = 3.0
    importance_ratio: float = 0.75
    ignore: int = 255
    stride: int = 4
    """Pixels of the labels per cell of the masks."""


def point_counts(settings: MaskLossSettings) -> tuple[int, int, int]:
    """How many points an image draws: for matching, as candidates for importance sampling, uniform."""
    uncertain = int(settings.importance_ratio * settings.num_points)
    candidates = int(settings.oversample_ratio * settings.num_points)
    return settings.num_points, candidates, settings.num_points - uncertain


def present_classes(labels_HW: Tensor, ignore: int) -> list[int]:
    """The class ids that occur in integer labels, ascending, without `ignore`."""
    counts = np.bincount(labels_HW.cpu().numpy().ravel(), minlength=ignore + 1)
    return [int(class_id) for class_id in np.flatnonzero(counts) if class_id != ignore]


def count_masks(labels_BHW: Tensor, ignore: int = 255) -> int:
    """The number of target masks in a batch of integer labels: one per class and image."""
    return sum(len(present_classes(labels_HW, ignore)) for labels_HW in labels_BHW)


def count_labelled(labels_BHW: Tensor, ignore: int = 255) -> int:
    """The number of images of a batch of integer labels that have a labelled pixel."""
    return int((labels_BHW != ignore).flatten(1).any(1).sum())


def mask_loss(
    class_logits: Sequence[Tensor],
    mask_logits: Sequence[Tensor],
    labels_BHW: Tensor,
    *,
    num_masks: float,
    num_images: float,
    generators: Sequence[torch.Generator],
    settings: MaskLossSettings,
    weights_BHW: Tensor | None = None,
    dice_B: Tensor | None = None,
) -> dict[str, Tensor]:
    """The weighted loss of a batch, summed over decoder layers.

    Args:
        class_logits: per decoder layer (B, Q, K + 1), the last column being "no object".
        mask_logits: per decoder layer (B, Q, h, w); with `settings.stride` pixels a cell they cover the labels.
        labels_BHW: integer class ids, `settings.ignore` where there is none; best kept on the CPU.
        num_masks: target masks (`count_masks`) in everything that makes one optimizer step. Where processes average
            their gradients, multiply the loss by their number.
        num_images: images with a labelled pixel (`count_labelled`) in the same.
        generators: one CPU generator per image; the same one gives the same points whatever the batch.
        settings: the weights and the sampling.
        weights_BHW: float in [0, 1], how far each pixel's label is trusted; None: wholly. They do not change the
            totals, so that a batch that is trusted less moves the model less.
        dice_B: a factor on the dice term of each image; None: 1.

    Returns:
        float32 scalars `class`, `mask`, `dice` (weighted) and `loss`, their sum. `mask` and `dice` are divided by
        `num_masks`, as published. `class` is divided by the total weight of all queries, which the two counts give;
        so with the counts of the whole batch it is the published mean. Both counts are taken as at least one.

    Raises:
        ValueError: a label is neither a class nor ignore, or the shapes do not fit.
    """
    labels_BHW = labels_BHW.cpu()
    _check(class_logits[-1], mask_logits[-1], labels_BHW, generators, settings)
    classes = [present_classes(labels_HW, settings.ignore) for labels_HW in labels_BHW]
    kept = [index for index, ids in enumerate(classes) if ids]
    if not kept:
        return _no_loss([*class_logits, *mask_logits])
    count = sum(point_counts(settings))
    points = [draw_points(labels_BHW[index], count, generators[index], settings.ignore) for index in kept]
    device = mask_logits[-1].device
    classes_BT = _pad_classes([classes[index] for index in kept]).to(device)
    with torch.autocast(device.type, enabled=False):
        points_BN2 = torch.stack(points)
        targets = read_points(
            points_BN2,
            labels_BHW[kept],
            classes_BT,
            ignore=settings.ignore,
            covered=_covered(mask_logits[-1], settings),
        )
        trust = (
            None
            if weights_BHW is None
            else trust_at(points_BN2, weights_BHW.cpu()[kept], labels_BHW[kept] != settings.ignore, targets)
        )
        dice_K = None if dice_B is None else dice_B[kept].to(device)
        counted = CountedTargets(targets, trust, dice_K)
        sums = _layer_sums(zip(class_logits, mask_logits, strict=True), kept, classes_BT, counted, settings)
    masks = max(num_masks, 1.0)
    queries = max(num_images, 1.0) * class_logits[-1].shape[1]
    losses = {
        "class": settings.class_weight * sums[0] / (masks + settings.no_object_weight * (queries - masks)),
        "mask": settings.mask_weight * sums[1] / masks,
        "dice": settings.dice_weight * sums[2] / masks,
    }
    return {**losses, "loss": losses["class"] + losses["mask"] + losses["dice"]}


@torch.no_grad()
def matching_cost(
    class_logits_BQC: Tensor,
    mask_logits_BQhw: Tensor,
    classes_BT: Tensor,
    targets: PointTargets,
    settings: MaskLossSettings,
) -> Tensor:
    """float32 (B, Q, T): what it costs each query to stand for each class of its image."""
    classes_BQT = classes_BT.clamp(min=0)[:, None].expand(-1, class_logits_BQC.shape[1], -1)
    cost_class = -class_logits_BQC.softmax(-1).gather(2, classes_BQT)
    logits_BQN = sample_masks(mask_logits_BQhw, targets.grid_BN2)
    probabilities_BQN = logits_BQN.sigmoid()
    positive_BNT = targets.positive_BTN.transpose(1, 2)
    valid_BN1 = targets.valid_BN[:, :, None]
    # -log sigmoid(x) = softplus(x) - x, so one product with the positives serves both halves of the cross-entropy
    cost_mask = (F.softplus(logits_BQN) @ valid_BN1 - logits_BQN @ positive_BNT) / valid_BN1.sum(1, keepdim=True)
    overlap = 2 * probabilities_BQN @ positive_BNT + 1
    cost_dice = 1 - overlap / (probabilities_BQN @ valid_BN1 + positive_BNT.sum(1, keepdim=True) + 1)
    return settings.class_weight * cost_class + settings.mask_weight * cost_mask + settings.dice_weight * cost_dice


def match(costs_BQT: Tensor, classes_BT: Tensor) -> Tensor:
    """The query given to each class at the least total cost: int64 (B, T), -1 where a class has none.

    Costs that are not finite count as the largest number, so they are taken last.
    """
    largest = torch.finfo(costs_BQT.dtype).max
    costs = torch.nan_to_num(costs_BQT, nan=largest, posinf=largest, neginf=largest).cpu().numpy()
    queries_BT = torch.full(classes_BT.shape, -1)
    for image, count in enumerate((classes_BT >= 0).sum(1).tolist()):
        rows, columns = linear_sum_assignment(costs[image, :, :count])
        queries_BT[image, columns] = torch.from_numpy(rows)
    return queries_BT.to(classes_BT.device)


def class_loss(
    class_logits_BQC: Tensor,
    classes_BT: Tensor,
    queries_BT: Tensor,
    no_object_weight: float,
    trust: Trust | None = None,
) -> Tensor:
    """Cross-entropy summed over all queries; those without a class count as "no object", with its weight.

    A query counts by the trust in its mask, one without a mask by that in its image.
    """
    images, queries, columns = class_logits_BQC.shape
    target_BQ = torch.full((images, queries + 1), columns - 1, device=class_logits_BQC.device)
    # classes without a query write into the spare last column
    places_BT = queries_BT.where(queries_BT >= 0, queries)
    target_BQ = target_BQ.scatter(1, places_BT, classes_BT)[:, :-1]
    weights_C = class_logits_BQC.new_ones(columns)
    weights_C[-1] = no_object_weight
    logits_BCQ = class_logits_BQC.transpose(1, 2)
    if trust is None:
        return F.cross_entropy(logits_BCQ, target_BQ, weight=weights_C, reduction="sum")
    trust_BQ = trust.images_B[:, None].expand(-1, queries + 1).scatter(1, places_BT, trust.masks_BT)[:, :-1]
    return (F.cross_entropy(logits_BCQ, target_BQ, weight=weights_C, reduction="none") * trust_BQ).sum()


def mask_point_losses(
    mask_logits_BQhw: Tensor, queries_BT: Tensor, counted: CountedTargets, settings: MaskLossSettings
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and dice of the matched masks, each averaged over a mask's points and summed over masks.

    A mask's points are the most uncertain of the candidates (logit nearest zero) and the uniform rest.
    """
    targets, trust = counted.targets, counted.trust
    index_BThw = queries_BT.clamp(min=0)[:, :, None, None].expand(-1, -1, *mask_logits_BQhw.shape[2:])
    logits_BTN = sample_masks(mask_logits_BQhw.gather(1, index_BThw), targets.grid_BN2)
    chosen_BTP = _choose(logits_BTN.detach(), settings)
    logits = logits_BTN.gather(2, chosen_BTP)
    positive = targets.positive_BTN.gather(2, chosen_BTP)
    valid = targets.valid_BN[:, None].expand_as(logits_BTN).gather(2, chosen_BTP)

    cross_entropy = valid * F.softplus(logits) - positive * logits
    points = valid.sum(-1)
    if trust is not None:
        cross_entropy = cross_entropy * trust.points_BN[:, None].expand_as(logits_BTN).gather(2, chosen_BTP)
        relative = trust.relative_BN[:, None].expand_as(logits_BTN).gather(2, chosen_BTP)
        valid, positive = valid * relative, positive * relative
    cross_entropy = cross_entropy.sum(-1) / points
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * positive).sum(-1) + 1
    dice = 1 - overlap / ((probabilities * valid).sum(-1) + positive.sum(-1) + 1)
    matched_BT = queries_BT >= 0
    if trust is not None:
        dice = dice * trust.masks_BT
    if counted.dice_B is not None:
        dice = dice * counted.dice_B[:, None]
    return (cross_entropy * matched_BT).sum(), (dice * matched_BT).sum()


def _layer_sums(
    layers: Iterable[tuple[Tensor, Tensor]],
    kept: Sequence[int],
    classes_BT: Tensor,
    counted: CountedTargets,
    settings: MaskLossSettings,
) -> list[Tensor]:
    """Class, mask and dice losses of the kept images over all decoder layers, neither weighted nor divided."""
    matching = point_counts(settings)[0]
    for_matching, for_loss = counted.relative.part(slice(matching)), counted.part(slice(matching, None))
    sums = [classes_BT.new_zeros((), dtype=torch.float32) for _ in range(3)]
    for layer in layers:
        class_logits_BQC, mask_logits_BQhw = (_images(logits, kept).float() for logits in layer)
        costs_BQT = matching_cost(class_logits_BQC, mask_logits_BQhw, classes_BT, for_matching, settings)
        queries_BT = match(costs_BQT, classes_BT)
        parts = (
            class_loss(class_logits_BQC, classes_BT, queries_BT, settings.no_object_weight, counted.trust),
            *mask_point_losses(mask_logits_BQhw, queries_BT, for_loss, settings),
        )
        sums = [total + part for total, part in zip(sums, parts, strict=True)]
    return sums


def _images(logits: Tensor, kept: Sequence[int]) -> Tensor:
    """The kept images of a batch; no copy is made of a whole one."""
    return logits if len(kept) == len(logits) else logits[list(kept)]


def _choose(logits_BTN: Tensor, settings: MaskLossSettings) -> Tensor:
    """Indices (B, T, P) of each mask's points among the candidates and the uniform rest that follows them."""
    _, candidates, uniform = point_counts(settings)
    uncertain = logits_BTN[:, :, :candidates].abs().topk(settings.num_points - uniform, largest=False).indices
    rest = torch.arange(candidates, candidates + uniform, device=logits_BTN.device)
    return torch.cat([uncertain, rest.expand(*logits_BTN.shape[:2], -1)], dim=2)


def _covered(masks_BQhw: Tensor, settings: MaskLossSettings) -> tuple[int, int]:
    """The height and width in pixels that masks extend over."""
    return masks_BQhw.shape[2] * settings.stride, masks_BQhw.shape[3] * settings.stride


def _pad_classes(classes: Sequence[Sequence[int]]) -> Tensor:
    """The images' class lists as int64 (B, T), filled up with -1."""
    longest = max(len(ids) for ids in classes)
    return torch.tensor([[*ids, *[-1] * (longest - len(ids))] for ids in classes])


def _no_loss(logits: Sequence[Tensor]) -> dict[str, Tensor]:
    """Zeros whose gradient is exactly zero but reaches every parameter, which data parallel training waits for."""
    zero = torch.stack([part[:0].float().sum() for part in logits]).sum()
    return dict.fromkeys(("class", "mask", "dice", "loss"), zero)


def _check(
    class_logits_BQC: Tensor,
    mask_logits_BQhw: Tensor,
    labels_BHW: Tensor,
    generators: Sequence[torch.Generator],
    settings: MaskLossSettings,
) -> None:
    images, height, width = labels_BHW.shape
    if not images == len(class_logits_BQC) == len(mask_logits_BQhw) == len(generators):
        counts = (len(class_logits_BQC), len(mask_logits_BQhw), images, len(generators))
        raise ValueError(f"class logits, mask logits, labels and generators are of {counts} images")
    covered = _covered(mask_logits_BQhw, settings)
    if covered[0] < height or covered[1] < width:
        raise ValueError(f"masks cover {covered} pixels, less than the labels' {(height, width)}")
    num_classes = class_logits_BQC.shape[2] - 1
    known = labels_BHW[labels_BHW != settings.ignore]
    if known.numel() and not 0 <= int(known.min()) <= int(known.max()) < num_classes:
        raise ValueError(f"labels reach {int(known.max())}, but there are {num_classes} classes and {settings.ignore}")
