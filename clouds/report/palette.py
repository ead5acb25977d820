"""Colours of classes that readers with any kind of colour vision tell apart. It knows no picture and no page.

Colours are seen as by Machado, Oliveira and Fernandes (IEEE TVCG 15, 2009; severity 1.0) and compared by their distance
in CIE L*a*b* (1976, D65). The few colours of charts are those of Okabe and Ito (2008).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clouds.data.labels import LabelMap

Color: TypeAlias = tuple[int, int, int]
Colors_N3: TypeAlias = NDArray[np.float64]

ORANGE: Color = (230, 159, 0)
BLUE: Color = (0, 114, 178)
GREEN: Color = (0, 158, 115)
"""Okabe and Ito's orange, blue and bluish green."""

_VISIONS = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])

# 9 levels a channel: fine enough to stay near a colour, few enough to search in milliseconds
_LEVELS = np.linspace(15, 255, 9).round()
_WANTED = (20, 18, 16, 14, 12, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)


def seen(colors_N3: NDArray[np.integer]) -> Colors_N3:
    """L*a*b* [4, N, 3] of sRGB colours of 0..255: as most people see them, then without red, green and blue cones."""
    shares_N3 = np.asarray(colors_N3, np.float64) / 255
    linear_N3 = np.where(shares_N3 <= 0.04045, shares_N3 / 12.92, ((shares_N3 + 0.055) / 1.055) ** 2.4)
    seen_VN3 = np.clip(np.einsum("vij,nj->vni", _VISIONS, linear_N3), 0, 1)
    xyz_VN3 = seen_VN3 @ _TO_XYZ.T / _WHITE
    cubic_VN3 = np.where(xyz_VN3 > 216 / 24389, np.cbrt(xyz_VN3), (24389 / 27 * xyz_VN3 + 16) / 116)
    x, y, z = np.moveaxis(cubic_VN3, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def least_distance(colors: Sequence[Color]) -> float:
    """The distance of the two colours that are hardest to tell apart, in whichever vision that is."""
    lab_VN3 = seen(np.array(colors))
    apart_VNN = np.linalg.norm(lab_VN3[:, :, None] - lab_VN3[:, None], axis=-1)
    return float(apart_VNN[:, ~np.eye(len(colors), dtype=bool)].min()) if len(colors) > 1 else float("inf")


def told_apart(colors: Sequence[Color]) -> list[Color]:
    """As many colours, each moved from its own no further than it takes to tell all apart in every vision.

    They are as far apart as a greedy search finds possible, up to 20, where a difference is seen at a glance.
    """
    candidates = [*((int(r), int(g), int(b)) for r in _LEVELS for g in _LEVELS for b in _LEVELS)]
    lab_VM3 = seen(np.array([*candidates, *colors]))
    for wanted in _WANTED:
        chosen = _choose(lab_VM3, len(candidates), len(colors), wanted)
        if chosen is not None:
            break
    assert chosen is not None, "with no distance wanted every colour will do"
    return [([*candidates, *colors])[index] for index in chosen]


def safe_map(label_map: LabelMap) -> LabelMap:
    """The same classes in colours that are told apart."""
    colors = told_apart(label_map.colors)
    classes = (replace(one, color=color) for one, color in zip(label_map.classes, colors, strict=True))
    return replace(label_map, classes=tuple(classes))


def _choose(lab_VM3: Colors_N3, first_own: int, count: int, wanted: float) -> list[int] | None:
    """For each colour in turn the nearest candidate that is far enough from all before it; None where there is none."""
    apart_M = np.full(lab_VM3.shape[1], np.inf)
    chosen: list[int] = []
    for own in range(first_own, first_own + count):
        moved_M = np.linalg.norm(lab_VM3[0] - lab_VM3[0, own], axis=-1)
        moved_M[apart_M < wanted] = np.inf
        best = int(moved_M.argmin())
        if not np.isfinite(moved_M[best]):
            return None
        chosen.append(best)
        to_best_VM = np.linalg.norm(lab_VM3 - lab_VM3[:, best : best + 1], axis=-1)
        apart_M = np.minimum(apart_M, to_best_VM.min(axis=0))
    return chosen
