"""What one generated image and its labels look like and amount to: small pictures and numbers. It knows no page."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clouds.data.images import read_image, read_labels
from clouds.data.labels import LabelMap
from clouds.errors import InputError
from clouds.ops.class_pixels import Pixels_K1, class_pixels, packed_ids
from clouds.report.items import Item
from clouds.report.palette import BLUE, GREEN, ORANGE, Color
from clouds.report.pictures import (
    Ids_HW,
    Image_HWC,
    base64_text,
    confidence_ramp,
    ids_png,
    shrink_ids,
    shrink_image,
    webp,
)

CHANGES: tuple[tuple[str, Color], ...] = (
    ("changed to another class", ORANGE),
    ("label taken away", BLUE),
    ("label added", GREEN),
)
"""What may become of a pixel's label, in the colours of `changes_png`."""

_CONFIDENCE_LEVELS = 16
_PHOTO_QUALITY = 72
# a class on fewer pixels than this is not found by the filter: most such are specks of a wrong label
_PRESENT = 0.001


@dataclass(frozen=True)
class Thumbnail:
    """An item's pictures and numbers: `pictures` by short keys, base64; shares in [0, 1], None where unknown.

    Keys: `p` photo (WebP), `b` labels before refinement, `a` after, `c` confidence, `d` differences (palette PNGs),
    `e` refined labels of earlier rounds as [stage, picture]; `w` and `h` the size. `classes` are [id, share], the
    largest first.
    """

    item: Item
    pictures: dict[str, Any] = field(default_factory=dict)
    changed: float | None = None
    ignored: float | None = None
    classes: tuple[tuple[int, float], ...] = ()
    before_K1: Pixels_K1 | None = None
    after_K1: Pixels_K1 | None = None
    problem: str = ""

    def row(self) -> list[Any]:
        """What the page lists of it, ready for JSON; the seed as text, since a page's numbers have 53 bits."""
        one, shares = self.item, [[id_, round(share, 4)] for id_, share in self.classes]
        seed = None if one.seed is None else str(one.seed)
        numbers = [None if value is None else round(value, 4) for value in (one.confidence, self.changed, self.ignored)]
        return [one.id, one.prompt, seed, *numbers, shares, self.problem]


def thumbnail(item: Item, label_map: LabelMap | None) -> Thumbnail:
    """The pictures of an item; one whose files cannot be read says so instead."""
    try:
        return _thumbnail(item, label_map)
    except InputError as error:
        return Thumbnail(item, problem=error.message)


def class_ids_png(labels_HW: Ids_HW, label_map: LabelMap) -> bytes:
    """Labels in the colours of their classes, [H, W] as they are; what is ignored is clear."""
    return ids_png(
        packed_ids(labels_HW, label_map.num_classes), (*label_map.colors, (0, 0, 0)), clear=label_map.num_classes
    )


def differences(before_HW: Ids_HW, after_HW: Ids_HW, ignore: int) -> NDArray[np.uint8]:
    """For each pixel 0 where nothing changed, or the position in `CHANGES` from 1 of what did."""
    kind_HW = (before_HW != after_HW).astype(np.uint8)
    kind_HW[(before_HW != ignore) & (after_HW == ignore)] = 2
    kind_HW[(before_HW == ignore) & (after_HW != ignore)] = 3
    return kind_HW


def _thumbnail(item: Item, label_map: LabelMap | None) -> Thumbnail:
    image_HWC = read_image(item.image)
    small_HWC = shrink_image(image_HWC)
    pictures: dict[str, Any] = {
        "p": base64_text(webp(small_HWC, _PHOTO_QUALITY, 2)),
        "w": small_HWC.shape[1],
        "h": small_HWC.shape[0],
    }
    if label_map is None or item.labels is None:
        return Thumbnail(item, pictures)
    before_HW = _read(item.labels, image_HWC, label_map)
    pictures["b"] = base64_text(class_ids_png(shrink_ids(before_HW), label_map))
    if item.confidence_map is not None:
        pictures["c"] = _confidence(read_labels(item.confidence_map))
    if item.refined is None:
        return _with_counts(Thumbnail(item, pictures), before_HW, None, label_map)
    after_HW = _read(item.refined, image_HWC, label_map)
    pictures["a"] = base64_text(class_ids_png(shrink_ids(after_HW), label_map))
    kinds_HW = differences(shrink_ids(before_HW), shrink_ids(after_HW), label_map.ignore)
    pictures["d"] = base64_text(ids_png(kinds_HW, ((0, 0, 0), *(color for _, color in CHANGES)), clear=0))
    earlier = ((name, _read(path, image_HWC, label_map)) for name, path in item.earlier)
    pictures["e"] = [[name, base64_text(class_ids_png(shrink_ids(ids_HW), label_map))] for name, ids_HW in earlier]
    return _with_counts(Thumbnail(item, pictures), before_HW, after_HW, label_map)


def _with_counts(made: Thumbnail, before_HW: Ids_HW, after_HW: Ids_HW | None, label_map: LabelMap) -> Thumbnail:
    shown_HW = before_HW if after_HW is None else after_HW
    counts_K1 = class_pixels(shown_HW, label_map.num_classes)
    shares = counts_K1 / shown_HW.size
    order = [int(id_) for id_ in np.argsort(-shares[:-1], kind="stable") if shares[id_] >= _PRESENT]
    return Thumbnail(
        made.item,
        made.pictures,
        changed=None if after_HW is None else float(np.mean(before_HW != after_HW)),
        ignored=float(shares[-1]),
        classes=tuple((id_, float(shares[id_])) for id_ in order),
        before_K1=class_pixels(before_HW, label_map.num_classes),
        after_K1=None if after_HW is None else counts_K1,
    )


def _read(path: Path, image_HWC: Image_HWC, label_map: LabelMap) -> Ids_HW:
    labels_HW = read_labels(path)
    if labels_HW.shape != image_HWC.shape[:2]:
        raise InputError(f"labels {path}: size {labels_HW.shape} differs from the image's {image_HWC.shape[:2]}")
    return labels_HW


def _confidence(confidence_HW: Ids_HW) -> str:
    levels_HW = (shrink_ids(confidence_HW).astype(np.uint16) * _CONFIDENCE_LEVELS // 256).astype(np.uint8)
    colors = [(int(r), int(g), int(b)) for r, g, b in confidence_ramp(_CONFIDENCE_LEVELS)]
    return base64_text(ids_png(levels_HW, colors))
