"""Scores for images of any sizes, computed in groups of one size. It knows no file and no data set."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from clouds.models.segmenter import MaskSegmenter


def predict_scores(
    segmenter: MaskSegmenter,
    images_HWC: Sequence[NDArray[np.uint8]],
    autocast: Callable[[], AbstractContextManager[None]],
    short_edge: int | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Class scores of each image at its own resolution, images of one size in one forward pass.

    Args:
        images_HWC: uint8 RGB, each of its own size.
        autocast: opens the precision to compute in, for each forward pass; the caller's own work is outside of it.
        short_edge: resize so that the shorter edge has this many pixels before predicting; scores are brought back.

    Yields:
        (position in `images_HWC`, float32 scores (K, H, W) on the model's device), grouped by size.
    """
    device = next(segmenter.parameters()).device
    by_size: dict[tuple[int, int], list[int]] = {}
    for position, image_HWC in enumerate(images_HWC):
        by_size.setdefault((image_HWC.shape[0], image_HWC.shape[1]), []).append(position)
    for size, positions in by_size.items():
        stacked = np.stack([images_HWC[position] for position in positions])
        images_BCHW = torch.from_numpy(stacked).permute(0, 3, 1, 2).to(device)
        with autocast():
            scores_BKHW = segmenter.predict(_resized(images_BCHW, short_edge))
        for position, scores_KHW in zip(positions, scores_BKHW, strict=True):
            yield position, _at(scores_KHW, size)


def _resized(images_BCHW: Tensor, short_edge: int | None) -> Tensor:
    height, width = images_BCHW.shape[-2:]
    if short_edge is None or min(height, width) == short_edge:
        return images_BCHW
    factor = short_edge / min(height, width)
    size = (round(height * factor), round(width * factor))
    resized = F.interpolate(images_BCHW.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized.clamp(0, 255)


def _at(scores_KHW: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(scores_KHW.shape[-2:]) == size:
        return scores_KHW
    return F.interpolate(scores_KHW[None], size=size, mode="bilinear", align_corners=False)[0]
