"""Arrays as small pictures inside a page: thumbnails, palettes, data URIs. It knows no run and no file."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clouds.data.labels import LabelMap
from clouds.report.palette import BLUE, ORANGE, Color

MAX_WIDTH = 256
"""Pictures are no wider than this, in pixels."""

CHANGED = ORANGE
REMOVED = BLUE
"""Pixels that got another class, and pixels that lost theirs: colours that differ in lightness, not in hue alone."""

CONFIDENCE = ((12, 28, 78), (120, 122, 124), (252, 226, 72))
"""The colours of no, half and full confidence; ever lighter, so that they read without hue."""

_HATCH = (np.array((0, 0, 0), np.uint8), np.array((120, 120, 120), np.uint8))
_HATCH_WIDTH = 3
_PHOTO_QUALITY = 82

Image_HWC = NDArray[np.uint8]
Ids_HW = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Picture:
    """A picture ready for a page: its data URI, its size in pixels, what it shows, and what stands below it.

    A `flat` one has few colours and hard edges, which enlarging must not blur.
    """

    uri: str
    width: int
    height: int
    alt: str
    caption: str
    flat: bool


def photo(image_HWC: Image_HWC, alt: str, caption: str) -> Picture:
    """A picture of continuous tones, slightly compressed."""
    height, width = image_HWC.shape[:2]
    uri = f"data:image/webp;base64,{base64_text(webp(image_HWC, _PHOTO_QUALITY, 4))}"
    return Picture(uri, width, height, alt, caption, flat=False)


def drawing(image_HWC: Image_HWC, alt: str, caption: str) -> Picture:
    """A picture of at most 256 flat colours, exact; a page can exchange its colours without decoding it."""
    height, width = image_HWC.shape[:2]
    packed_HW = image_HWC.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    codes, ids = np.unique(packed_HW, return_inverse=True)
    colors = [(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in codes]
    data = ids_png(ids.reshape(height, width).astype(np.uint8), colors)
    return Picture(f"data:image/png;base64,{base64_text(data)}", width, height, alt, caption, flat=True)


def ids_png(ids_HW: NDArray[np.uint8], colors: Sequence[Color], clear: int | None = None) -> bytes:
    """A PNG whose pixels are ids and whose palette are their colours; `clear` is the id that shows what lies below."""
    image = Image.fromarray(ids_HW)
    image.putpalette([channel for color in colors for channel in color])
    buffer = io.BytesIO()
    bits = next(bits for bits in (1, 2, 4, 8) if len(colors) <= 2**bits)
    image.save(buffer, "PNG", bits=bits, **({} if clear is None else {"transparency": clear}))
    return buffer.getvalue()


def webp(image_HWC: Image_HWC, quality: int, method: int) -> bytes:
    """A photo as WebP; `method` 0..6 is the time spent on its size."""
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, "WEBP", quality=quality, method=method)
    return buffer.getvalue()


def base64_text(data: bytes) -> str:
    """Bytes as they stand in a page."""
    return base64.b64encode(data).decode("ascii")


def shrink_image(image_HWC: Image_HWC) -> Image_HWC:
    """At most `MAX_WIDTH` wide, averaged."""
    return np.asarray(Image.fromarray(image_HWC).resize(_size(image_HWC), Image.Resampling.BOX))


def shrink_ids(ids_HW: Ids_HW) -> NDArray[np.uint8]:
    """At most `MAX_WIDTH` wide, nearest: no id is invented."""
    small = Image.fromarray(ids_HW.astype(np.uint8)).resize(_size(ids_HW), Image.Resampling.NEAREST)
    return np.asarray(small)


def color_labels(labels_HW: Ids_HW, label_map: LabelMap) -> Image_HWC:
    """Labels in the colours of their classes; ignored pixels are hatched, which no class is."""
    colored_HWC = label_map.palette[labels_HW]
    rows, columns = np.indices(labels_HW.shape)
    stripe_HW = (rows + columns) // _HATCH_WIDTH % 2 == 1
    ignored_HW = labels_HW == label_map.ignore
    colored_HWC[ignored_HW & ~stripe_HW], colored_HWC[ignored_HW & stripe_HW] = _HATCH
    return colored_HWC


def lay_over(image_HWC: Image_HWC, colored_HWC: Image_HWC, strength: float = 0.55) -> Image_HWC:
    """Colours over an image of the same size; `strength` in [0, 1] is their share."""
    mixed_HWC = (1 - strength) * image_HWC + strength * colored_HWC
    return mixed_HWC.round().astype(np.uint8)


def color_confidence(confidence_HW: NDArray[np.uint8]) -> Image_HWC:
    """Confidence of 0..255 in the colours of `CONFIDENCE`."""
    return confidence_ramp(256)[confidence_HW]


def confidence_ramp(count: int) -> NDArray[np.uint8]:
    """Colours [count, 3] from no to full confidence."""
    stops, wanted = np.linspace(0, 1, len(CONFIDENCE)), np.linspace(0, 1, count)
    channels = [np.interp(wanted, stops, channel) for channel in zip(*CONFIDENCE, strict=True)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def color_changes(image_HWC: Image_HWC, before_HW: Ids_HW, after_HW: Ids_HW, ignore: int) -> Image_HWC:
    """What became of each label, over the image in pale grey."""
    grey_HW = (image_HWC.mean(axis=2) * 0.5 + 96).astype(np.uint8)
    shown_HWC = np.repeat(grey_HW[..., None], 3, axis=2)
    changed_HW = before_HW != after_HW
    removed_HW = changed_HW & (after_HW == ignore)
    shown_HWC[changed_HW] = CHANGED
    shown_HWC[removed_HW] = REMOVED
    return shown_HWC


def largest_classes(labels_HW: Ids_HW, label_map: LabelMap, count: int = 3) -> str:
    """The classes that cover most of a label map, in words: what its colours say to those who see them."""
    ids, pixels = np.unique(labels_HW, return_counts=True)
    order = np.argsort(-pixels, kind="stable")[:count]
    names = {**label_map.id2label, label_map.ignore: "ignored"}
    return ", ".join(f"{names.get(int(ids[index]), 'unknown')} {pixels[index] / labels_HW.size:.0%}" for index in order)


def _size(array: NDArray[Any]) -> tuple[int, int]:
    """Width and height of the thumbnail of an array [H, W, ...]; small ones stay as they are."""
    height, width = array.shape[:2]
    if width <= MAX_WIDTH:
        return width, height
    return MAX_WIDTH, max(1, round(height * MAX_WIDTH / width))
