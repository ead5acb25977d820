"""How the labels of one round differ from those of the round before. It labels nothing, and reads a sample of images.

The number of files it opens depends on `SHOWN`, not on how many images a run has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clouds.data.images import read_labels
from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact
from clouds.engine.stage import Stage
from clouds.errors import InputError
from clouds.report.samples import published_rows, spread_rows

SHOWN = 200
"""Images that are compared at most, spread evenly over a round's."""

_IDS = 256


@dataclass(frozen=True)
class RoundChange:
    """What changed between the labels of two stages, in shares of pixels, on so many images.

    `changed` counts a label that came or went, too; `agreement` is over pixels that have one in both, None where none
    has. `shares` are of the labelled pixels, before and after, by class.
    """

    before: str
    after: str
    images: int
    changed: float
    agreement: float | None
    shares: dict[str, tuple[float, float]]

    def json(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        shares = {name: {"before": before, "after": after} for name, (before, after) in self.shares.items()}
        whole = {"before": self.before, "after": self.after, "images": self.images, "changed": self.changed}
        return {**whole, "agreement": self.agreement, "class_shares": shares}

    @property
    def sentence(self) -> str:
        """In one sentence."""
        agreement = "" if self.agreement is None else f"; of those labelled in both, {self.agreement:.1%} agree"
        return (
            f"From {self.before} to {self.after}, {self.changed:.1%} of the pixels changed their label{agreement} "
            f"({self.images} images)."
        )

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Each class with its shares of the labelled pixels."""
        return [(name, f"{before:.1%}", f"{after:.1%}") for name, (before, after) in self.shares.items()]


def round_changes(stages: Sequence[Stage], label_map: LabelMap | None) -> list[RoundChange]:
    """The change from each stage that refines to the next one; those of which nothing can be compared are left out."""
    refining = [stage for stage in stages if stage.kind == "refine"]
    if label_map is None:
        return []
    found = (_change(before, after, label_map) for before, after in pairwise(refining))
    return [change for change in found if change is not None]


def joint_counts(before_HW: NDArray[np.integer[Any]], after_HW: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """int64 (256, 256): how many pixels had one id (row) and have another (column)."""
    codes = before_HW.astype(np.int64).ravel() * _IDS + after_HW.ravel()
    return np.bincount(codes, minlength=_IDS * _IDS).reshape(_IDS, _IDS)


def _change(before: Stage, after: Stage, label_map: LabelMap) -> RoundChange | None:
    total, images = np.zeros((_IDS, _IDS), dtype=np.int64), 0
    for pair in _pairs(before.artifact, after.artifact):
        try:
            before_HW, after_HW = map(read_labels, pair)
        except InputError:
            continue
        if before_HW.shape == after_HW.shape:
            total, images = total + joint_counts(before_HW, after_HW), images + 1
    if not total.sum():
        return None
    classes = [one.id for one in label_map.classes]
    labelled = total[np.ix_(classes, classes)]
    return RoundChange(
        before.name,
        after.name,
        images,
        changed=1 - float(np.trace(total) / total.sum()),
        agreement=float(np.trace(labelled) / labelled.sum()) if labelled.any() else None,
        shares=_shares(total.sum(axis=1)[classes], total.sum(axis=0)[classes], label_map),
    )


def _shares(
    before_K: NDArray[np.int64], after_K: NDArray[np.int64], label_map: LabelMap
) -> dict[str, tuple[float, float]]:
    """Each class that there is, with its shares of the labelled pixels."""
    both = np.stack([before_K, after_K]) / np.maximum([[before_K.sum()], [after_K.sum()]], 1)
    named = zip(label_map.classes, both.T.tolist(), strict=True)
    return {one.name: (before, after) for one, (before, after) in named if before or after}


def _pairs(before: Artifact, after: Artifact) -> Iterator[tuple[Path, Path]]:
    """The files of images that both have: a stage that follows another shard by shard keeps the shards' names."""
    wanted: dict[str, dict[str, str]] = {}
    for shard, row in spread_rows(after, SHOWN):
        wanted.setdefault(shard, {})[row["id"]] = row["file_name"]
    for shard, files in wanted.items():
        for row in published_rows(before, shard):
            if row["id"] in files:
                yield before.shard_folder(shard) / row["file_name"], after.shard_folder(shard) / files[row["id"]]
