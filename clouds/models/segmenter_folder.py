"""What a segmenter's folder tells without its weights being loaded: that it is one, which, and its classes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clouds.data.label_maps import LABEL_MAPS, Color
from clouds.data.labels import LabelClass, LabelMap
from clouds.errors import CloudsError
from clouds.models.weights import HashCache

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TEXT_FOLDER = "text"
"""The text tower of a segmenter that classifies by names."""
COLORS = "colors"
"""The key of `SegmenterInfo.extra` that holds a colour for each class, (red, green, blue) in 0..255."""

_FORMAT = "clouds-segmenter"


def is_segmenter(folder: Path) -> bool:
    """Whether a folder is a segmenter's; other models' folders have a config file, too."""
    return str(_config(folder).get("format", "")).startswith(_FORMAT) and (folder / WEIGHTS_FILE).is_file()


def check_segmenter(folder: Path) -> None:
    """Raises `CloudsError` for a folder that is no segmenter's."""
    if not is_segmenter(folder):
        problem = "holds no segmenter" if folder.exists() else "does not exist"
        raise CloudsError(
            f"segmenter {folder}: {problem}",
            f"give the `model` folder that a training stage wrote: it holds {CONFIG_FILE} and {WEIGHTS_FILE}",
        )


def segmenter_identity(folder: Path, cache: HashCache) -> dict[str, str]:
    """What a fingerprint needs to know of a segmenter: its files' content, not where they lie.

    Raises as `check_segmenter` does.
    """
    check_segmenter(folder)
    tower = sorted(path for path in (folder / TEXT_FOLDER).rglob("*") if path.is_file())
    files = [folder / CONFIG_FILE, folder / WEIGHTS_FILE, *tower]
    identity = {file.relative_to(folder).as_posix(): cache.sha256(file) for file in files}
    cache.save()
    return identity


def segmenter_classes(folder: Path) -> LabelMap:
    """The classes a segmenter tells apart, with their colours: its own, a known list's, or ones easy to tell apart.

    Raises as `check_segmenter` does.
    """
    check_segmenter(folder)
    config = _config(folder)
    return named_classes(config["class_names"], config.get("extra", {}).get(COLORS))


def named_classes(names: Sequence[str], colors: Sequence[Sequence[int]] | None = None) -> LabelMap:
    """Classes of these names in the order of their ids; without colours, those of a known list, or generated ones."""
    found = _as_colors(colors) if colors is not None and len(colors) == len(names) else _known_colors(names)
    rows = enumerate(zip(names, found, strict=True))
    return LabelMap(tuple(LabelClass(name, id_, color) for id_, (name, color) in rows))


def _known_colors(names: Sequence[str]) -> list[Color]:
    for rows in LABEL_MAPS.values():
        if [row[0] for row in rows] == list(names):
            return [row[1] for row in rows]
    return [one.color for one in LabelMap.of(list(names)).classes]


def _as_colors(colors: Sequence[Sequence[int]]) -> list[Color]:
    return [(int(red), int(green), int(blue)) for red, green, blue in colors]


def _config(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
