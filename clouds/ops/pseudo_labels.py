"""Class scores to labels and how sure they are. It does not know which model scored."""

import torch
from torch import Tensor


def pseudo_labels(scores: Tensor, threshold: float = 0.0, ignore: int = 255) -> tuple[Tensor, Tensor]:
    """The best class of each pixel and its confidence.

    Args:
        scores: (K, H, W) or (B, K, H, W), any float dtype, at least 0.
        threshold: pixels of less confidence become `ignore`, as do pixels without any score.
        ignore: the id that belongs to no class; K may not exceed it.

    Returns:
        labels uint8 and confidence float32 in [0, 1], both (H, W) or (B, H, W). The confidence is the winner's share of
        its pixel's scores; where these sum to less than 1, what is missing counts for no class. It is also given where
        the label is `ignore`.
    """
    if scores.ndim not in (3, 4):
        raise ValueError(f"scores have shape (K, H, W) or (B, K, H, W), not {tuple(scores.shape)}")
    if not scores.shape[-3] <= ignore <= 255:
        raise ValueError(f"{scores.shape[-3]} classes and ignore = {ignore} do not fit into one byte")
    scores = scores.float()
    best, labels = scores.max(dim=-3)
    # a broken pixel (NaN, infinity) is sure of nothing
    confidence = (best / scores.sum(dim=-3).clamp(min=1.0)).nan_to_num(nan=0.0, posinf=0.0)
    unsure = (confidence < threshold) | (confidence <= 0)
    return labels.masked_fill(unsure, ignore).to(torch.uint8), confidence


def confidence_to_uint8(confidence: Tensor) -> Tensor:
    """Confidence in [0, 1] as uint8 in [0, 255], rounded to the nearest step."""
    return (confidence * 255).round().clamp(0, 255).to(torch.uint8)


def confidence_from_uint8(confidence: Tensor) -> Tensor:
    """The float32 confidence in [0, 1] of its uint8 steps."""
    return confidence.to(torch.float32) / 255
