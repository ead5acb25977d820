"""Scores for images of any sizes by a protocol: views and windows, batched by size. It knows no file and no data set.

Images are never padded to one another's size: those of one size share forward passes, others do not meet.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from clouds.models.protocol import ProtocolConfig

Autocast = Callable[[], AbstractContextManager[None]]


class Segmenter(Protocol):
    """What gives class scores (B, K, H, W) in [0, 1] for images (B, 3, H, W) in 0..255; its parameters say where."""

    def predict(self, images_BCHW: Tensor) -> Tensor: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...


def predict_scores(
    segmenter: Segmenter,
    images_HWC: Sequence[NDArray[np.uint8]],
    autocast: Autocast,
    protocol: ProtocolConfig | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Class scores of each image at its own resolution, images of one size in one forward pass.

    At most as many views or windows go through the model at a time as there are images. Beside the scores of one
    forward pass, memory holds one sum of scores for each image of a size where there are several views, and one for
    each image whose windows are not all done.

    Args:
        images_HWC: uint8 RGB, each of its own size.
        autocast: opens the precision to compute in, for each forward pass; the caller's own work is outside of it.
        protocol: at which sizes, in which windows, how often each image is shown; by default whole, once, as it is.

    Yields:
        (position in `images_HWC`, float32 scores (K, H, W) on the model's device), grouped by size. Scores of several
        views or windows are averaged, so that they stay in [0, 1].
    """
    views = _Views(segmenter, autocast, protocol or ProtocolConfig(), at_once=len(images_HWC))
    by_size: dict[tuple[int, int], list[int]] = {}
    for position, image_HWC in enumerate(images_HWC):
        by_size.setdefault((image_HWC.shape[0], image_HWC.shape[1]), []).append(position)
    for positions in by_size.values():
        stacked = np.stack([images_HWC[position] for position in positions])
        images_BCHW = torch.from_numpy(stacked).permute(0, 3, 1, 2).to(next(segmenter.parameters()).device)
        yield from zip(positions, views.scores(images_BCHW), strict=True)


class _Views:
    """Shows images of one size to a segmenter as a protocol says."""

    def __init__(self, segmenter: Segmenter, autocast: Autocast, protocol: ProtocolConfig, at_once: int) -> None:
        self._segmenter, self._autocast = segmenter, autocast
        self._protocol, self._at_once = protocol, at_once

    def scores(self, images_BCHW: Tensor) -> Iterator[Tensor]:
        """The mean scores (K, H, W) of each image over its views, at the images' own size."""
        size = (images_BCHW.shape[-2], images_BCHW.shape[-1])
        sides = (False, True) if self._protocol.flip else (False,)
        views = [(view_size, mirrored) for view_size in self._protocol.view_sizes(size) for mirrored in sides]
        if len(views) == 1:
            # nothing to add up: each image is finished before the next
            yield from self._view(images_BCHW, *views[0])
            return
        sums: list[Tensor] = []
        for view in views:
            for place, scores_KHW in enumerate(self._view(images_BCHW, *view)):
                if place == len(sums):
                    sums.append(torch.zeros_like(scores_KHW))
                sums[place] += scores_KHW
        yield from (sum_KHW.div_(len(views)) for sum_KHW in sums)

    def _view(self, images_BCHW: Tensor, size: tuple[int, int], mirrored: bool) -> Iterator[Tensor]:
        """Scores (K, H, W) of each image at its own size, as it is shown at this one, mirrored or not."""
        own_size = (images_BCHW.shape[-2], images_BCHW.shape[-1])
        view_BChw = _resized(images_BCHW, size)
        shown_BChw = view_BChw.flip(-1) if mirrored else view_BChw
        corners = self._protocol.window_corners(size)
        parts = self._forward(shown_BChw) if len(corners) == 1 else self._windows(shown_BChw, corners)
        for scores_Khw in parts:
            scores_KHW = _at(scores_Khw, own_size)
            yield scores_KHW.flip(-1) if mirrored else scores_KHW

    def _windows(self, view_BChw: Tensor, corners: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
        """Scores (K, h, w) of each image, averaged where its windows overlap; a batch may hold windows of several."""
        height, width = view_BChw.shape[-2:]
        assert self._protocol.window is not None
        tall, wide = min(self._protocol.window[0], height), min(self._protocol.window[1], width)
        areas = [(..., slice(row, row + tall), slice(column, column + wide)) for row, column in corners]
        times_hw = view_BChw.new_zeros(height, width, dtype=torch.float32)
        for area in areas:
            times_hw[area] += 1
        sums: dict[int, Tensor] = {}
        places = [(image, area) for image in range(len(view_BChw)) for area in areas]
        for start in range(0, len(places), self._at_once):
            batch = places[start : start + self._at_once]
            scores_WKhw = self._forward(torch.stack([view_BChw[image][area] for image, area in batch]))
            for (image, area), scores_Khw in zip(batch, scores_WKhw, strict=True):
                if image not in sums:
                    sums[image] = scores_Khw.new_zeros(len(scores_Khw), height, width)
                sums[image][area] += scores_Khw
            open_from = places[start + len(batch)][0] if start + len(batch) < len(places) else len(view_BChw)
            for image in [image for image in sums if image < open_from]:
                yield sums.pop(image).div_(times_hw)

    def _forward(self, images_BCHW: Tensor) -> Tensor:
        with self._autocast():
            return self._segmenter.predict(images_BCHW)


def _resized(images_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    if (images_BCHW.shape[-2], images_BCHW.shape[-1]) == size:
        return images_BCHW
    resized = F.interpolate(images_BCHW.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized.clamp(0, 255)


def _at(scores_KHW: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(scores_KHW.shape[-2:]) == size:
        return scores_KHW
    return F.interpolate(scores_KHW[None], size=size, mode="bilinear", align_corners=False)[0]
