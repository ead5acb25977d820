"""Published data sets at a tiny size: the folders, names and encodings of their archives, with pixels of our own."""

import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clouds.config import validate
from clouds.data.images import write_image, write_labels
from clouds.data.paired import PairedFiles
from clouds.data.table import DataTable

SIZE = (4, 6)
TRAIN_IDS = np.array([[0, 1, 2, 10, 18, 255]] * 4, np.uint8)
LABEL_IDS = np.array([[7, 8, 11, 23, 33, 4]] * 4, np.uint8)
"""The same pixels as `TRAIN_IDS` in Cityscapes' own ids; 4 is `static`."""


def opened(kind: str, root: Path, run: Any = "cityscapes19", **values: Any) -> PairedFiles:
    """A data set of this type, for a run of these classes."""
    sets = {"set": {"type": kind, "root": str(root), **values}}
    data = validate(DataTable, {"classes": run, "sets": sets}, "run.yaml").open("set")
    assert isinstance(data, PairedFiles)
    return data


def put_image(path: Path, size: tuple[int, int] = SIZE) -> Path:
    """A PNG or JPEG, by the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((*size, 3), 90, np.uint8))
    return path


def put_ids(path: Path, ids_HW: NDArray[np.uint8] = TRAIN_IDS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(path, ids_HW)
    return path


def put_palette(path: Path, ids_HW: NDArray[np.uint8]) -> Path:
    """An 8-bit palette PNG whose indices are the ids and whose colours are not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids_HW)
    image.putpalette([255 - level // 3 for level in range(768)])
    assert image.mode == "P"
    image.save(path)
    return path


def put_png16(path: Path, channels_HWC: NDArray[np.integer[Any]]) -> Path:
    """A 16-bit PNG of 1 to 4 channels, which Pillow cannot write; each row with another of PNG's filters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, count = channels_HWC.shape
    rows = [np.frombuffer(row.astype(">u2").tobytes(), np.uint8) for row in channels_HWC]
    zero = np.zeros(len(rows[0]), np.uint8)
    lines = b""
    for number, row in enumerate(rows):
        above = rows[number - 1] if number else zero
        left = np.concatenate([np.zeros(2 * count, np.uint8), row[: -2 * count]])
        filtered = (row, row - left, row - above)[number % 3]
        lines += bytes([number % 3]) + filtered.tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[count], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def put_colors(path: Path, colors_HWC: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.array(colors_HWC, np.uint8))
    return path


def put_polygons(path: Path, objects: Sequence[dict[str, Any]], size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"imgHeight": size[0], "imgWidth": size[1], "objects": list(objects)}))
    return path


def polygon(label: str, left: float, top: float, right: float, bottom: float, **more: Any) -> dict[str, Any]:
    """A rectangle, its far edges drawn."""
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return {"id": 1, "user": "x", "date": "x", "draw": True, "verified": 0, "label": label, "polygon": corners, **more}


def put_cityscapes(root: Path, split: str = "val", city: str = "lindau", frame: str = "000000_000019") -> None:
    stem = f"{city}_{frame}"
    put_image(root / f"leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png")
    labels = root / f"gtFine/{split}/{city}"
    put_ids(labels / f"{stem}_gtFine_labelIds.png", LABEL_IDS)
    put_ids(labels / f"{stem}_gtFine_instanceIds.png", LABEL_IDS)
    put_colors(labels / f"{stem}_gtFine_color.png", np.zeros((*SIZE, 3)))
    put_polygons(labels / f"{stem}_gtFine_polygons.json", [])
