"""The labels a segmenter gives one image in several views. It does not judge whether they agree."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clouds.models.inference import Autocast, predict_scores
from clouds.models.judge_config import ViewsConfig
from clouds.models.protocol import ProtocolConfig
from clouds.models.segmenter import MaskSegmenter
from clouds.ops.pseudo_labels import pseudo_labels


@dataclass(frozen=True)
class View:
    """One way to show an image: at a multiple of the protocol's size, mirrored or not."""

    scale: float = 1.0
    mirrored: bool = False


def views_of(config: ViewsConfig) -> list[View]:
    """The views of an image, the plain one first."""
    return [View(), *([View(mirrored=True)] if config.flip else []), *(View(scale) for scale in config.scales)]


def labels_of_views(
    segmenter: MaskSegmenter,
    images_HWC: Sequence[NDArray[np.uint8]],
    autocast: Autocast,
    protocol: ProtocolConfig,
    views: Sequence[View],
    ignore: int = 255,
) -> list[list[NDArray[np.uint8]]]:
    """The labels of each image in each view, at the image's own size and orientation: uint8 (H, W).

    Each view is shown by the protocol, but not mirrored besides. A pixel without any score is `ignore`.
    """
    found: list[list[NDArray[np.uint8]]] = [[] for _ in images_HWC]
    for view in views:
        for position, labels_HW in _in_view(segmenter, images_HWC, autocast, protocol, view, ignore):
            found[position].append(labels_HW)
    return found


def _in_view(
    segmenter: MaskSegmenter,
    images_HWC: Sequence[NDArray[np.uint8]],
    autocast: Autocast,
    protocol: ProtocolConfig,
    view: View,
    ignore: int,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    scales = tuple(view.scale * scale for scale in protocol.scales)
    shown = [image_HWC[:, ::-1] if view.mirrored else image_HWC for image_HWC in images_HWC]
    once = protocol.model_copy(update={"scales": scales, "flip": False})
    for position, scores_KHW in predict_scores(segmenter, shown, autocast, once):
        labels_HW = pseudo_labels(scores_KHW, ignore=ignore)[0].cpu().numpy()
        yield position, np.ascontiguousarray(labels_HW[:, ::-1]) if view.mirrored else labels_HW
