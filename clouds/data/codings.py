"""Readers of label files that hold no plain ids: ids in one of several channels, colours, polygons.

Each gives stored ids, integer [H, W], as `read_labels` does. They do not know what the ids stand for.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clouds.data.images import LabelReader, check_lossless, opened, read_labels
from clouds.data.label_maps import Color
from clouds.errors import InputError

COLOR_IDS = 2**24
"""A colour that stands for no class has the id COLOR_IDS + 0xRRGGBB, beyond every id a file of ids can hold."""

# Pillow keeps the first byte of each 16-bit sample; told that the lesser byte comes first, it keeps the second
_LESSER_BYTES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}


def read_first_channel(path: str | Path) -> NDArray[np.integer[Any]]:
    """Integer [H, W]: the first channel of a label image of any number of channels, of 8 or 16 bits, as stored."""
    with opened(path) as image:
        check_lossless(path, image)
        raw_mode = image.tile[0][3] if image.tile else ""
        if image.mode not in ("RGB", "RGBA", "LA"):
            return read_labels(path)
        if raw_mode == "LA;16B":
            # four bytes a pixel: read as they are, the first two are the first channel
            bytes_HWC = _read_as(image, "RGBA").astype(np.uint16)
            first_HW: NDArray[np.integer[Any]] = bytes_HWC[..., 0] << 8 | bytes_HWC[..., 1]
            return first_HW
        greater_HW = np.array(image)[..., 0]
    if raw_mode not in _LESSER_BYTES:
        return greater_HW
    with opened(path) as image:
        lesser_HW = _read_as(image, _LESSER_BYTES[raw_mode])[..., 0]
    wide_HW: NDArray[np.integer[Any]] = greater_HW.astype(np.uint16) << 8 | lesser_HW
    return wide_HW


def _read_as(image: Any, raw_mode: str) -> NDArray[np.uint8]:
    codec, box, offset, _ = image.tile[0]
    image.tile = [(codec, box, offset, raw_mode)]
    return np.array(image)


@dataclass(frozen=True, eq=False)
class ColorLabels:
    """Reads label images that are drawn in colours: each colour's id, or that of an unknown colour."""

    ids: Mapping[Color, int]

    def __call__(self, path: str | Path) -> NDArray[np.integer[Any]]:
        """int32 [H, W]."""
        with opened(path) as image:
            check_lossless(path, image)
            colors_HWC = np.asarray(image.convert("RGB")).astype(np.int32)
        codes_HW = colors_HWC[..., 0] << 16 | colors_HWC[..., 1] << 8 | colors_HWC[..., 2]
        codes = {red << 16 | green << 8 | blue: id_ for (red, green, blue), id_ in self.ids.items()}
        known, ids = np.array(sorted(codes)), np.array([codes[code] for code in sorted(codes)])
        places_HW = np.searchsorted(known, codes_HW).clip(max=len(known) - 1)
        labels_HW: NDArray[np.integer[Any]] = np.where(
            known[places_HW] == codes_HW, ids[places_HW], COLOR_IDS + codes_HW
        ).astype(np.int32)
        return labels_HW


@dataclass(frozen=True, eq=False)
class PolygonLabels:
    """Draws the polygons of a JSON file in the form of Cityscapes, later ones over earlier ones.

    `ids` gives the id of each label by name; `background` is the id where nothing is drawn. A deleted object is left
    out, and `cargroup` is a `car`, as the tools of Cityscapes and IDD have it.
    """

    ids: Mapping[str, int]
    background: int

    def __call__(self, path: str | Path) -> NDArray[np.integer[Any]]:
        """int32 [H, W]. Raises `InputError` for a file of another form, and for labels that have no id."""
        content = _read_json(path)
        try:
            height, width = int(content["imgHeight"]), int(content["imgWidth"])
            shapes = [
                (str(entry["label"]), [(float(x), float(y)) for x, y in entry["polygon"]])
                for entry in content["objects"]
                if not entry.get("deleted")
            ]
            drawn = self._draw(path, shapes, (width, height))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"labels {path}: not polygons in the form of Cityscapes ({type(error).__name__}: {error})",
                "put the published file in its place, or take the pair out of the data set",
            ) from error
        return np.array(drawn, dtype=np.int32)

    def _draw(
        self, path: str | Path, shapes: list[tuple[str, list[tuple[float, float]]]], size: tuple[int, int]
    ) -> Image.Image:
        if min(size) < 1 or size[0] * size[1] > (Image.MAX_IMAGE_PIXELS or size[0] * size[1]):
            raise ValueError(f"{size[0]}x{size[1]} is no size of an image")
        names = [name if name in self.ids else name.removesuffix("group") for name, _ in shapes]
        unknown = sorted({name for name in names if name not in self.ids})
        if unknown:
            raise InputError(
                f"labels {path}: polygons of no known class: {', '.join(map(repr, unknown))}",
                "mend the file, or take the pair out of the data set",
            )
        drawn = Image.new("I", size, self.background)
        pen = ImageDraw.Draw(drawn)
        for name, (_, corners) in zip(names, shapes, strict=True):
            if len(corners) > 1:
                pen.polygon(corners, fill=self.ids[name])
        return drawn


def shown_id(id_: int) -> str:
    """A stored id as a user knows it: its number, or the colour it stands for."""
    return f"colour ({id_ >> 16 & 255}, {id_ >> 8 & 255}, {id_ & 255})" if id_ >= COLOR_IDS else str(id_)


def reader_stamp(read: LabelReader) -> str:
    """What changes when a reader gives other ids for the same file: a function's name, else a hash of its values."""
    if isinstance(read, (ColorLabels, PolygonLabels)):
        return f"{type(read).__name__} {hashlib.blake2b(repr(read).encode(), digest_size=8).hexdigest()}"
    return getattr(read, "__name__", type(read).__name__)


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"label file {path}: {error.strerror or error}", "make it a file this user may read"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"label file {path} is no valid JSON: {error}",
            "put an intact copy in its place, or take it out of the data set",
        ) from error
