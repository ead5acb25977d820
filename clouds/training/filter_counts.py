"""What filters dropped, added up over the rows of the stage `filter`. It reads no file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clouds.training.trust import TrustFilter


@dataclass
class FilterCounts:
    """Counts of pixels over all images; `alone`, `first` and `best` are of the filters by their type."""

    filters: Sequence[TrustFilter]
    class_names: Sequence[str]
    images: int = 0
    dropped_images: int = 0
    drawn: int = 0
    labelled_K: NDArray[np.int64] = field(init=False)
    kept_K: NDArray[np.int64] = field(init=False)
    alone: dict[str, int] = field(init=False)
    first: dict[str, int] = field(init=False)
    best: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.labelled_K, self.kept_K = (np.zeros(len(self.class_names), dtype=np.int64) for _ in range(2))
        self.alone, self.first = ({one.type: 0 for one in self.filters} for _ in range(2))

    @classmethod
    def of(
        cls, rows: Iterable[Mapping[str, Any]], filters: Sequence[TrustFilter], class_names: Sequence[str]
    ) -> "FilterCounts":
        """The counts of rows as the stage writes them."""
        counts = cls(filters, class_names)
        for row in rows:
            counts._add(row)
        return counts

    @property
    def labelled(self) -> int:
        """Pixels that had a label."""
        return int(self.labelled_K.sum())

    @property
    def kept(self) -> int:
        """Pixels that still have one."""
        return int(self.kept_K.sum())

    def nothing_left(self) -> tuple[str, str] | None:
        """What to say where filters leave nothing to learn from, and the mend; None where they leave something.

        Labels that were all ignore before are no filter's doing.
        """
        if self.kept or not self.labelled:
            return None
        of_all = f"every labelled pixel of {self.images} images"
        for one in self.filters:
            if self.alone[one.type] == self.labelled:
                return (
                    f"the filter '{one.type}' ({one.setting()}) would drop {of_all}; the {one.measure} seen is "
                    f"{self.best[one.type]:.4g}",
                    f"loosen it in `filter.filters`, or take {one.type} out",
                )
        each = ", ".join(
            f"'{one.type}' ({one.setting()}) {self.alone[one.type] / self.labelled:.0%}" for one in self.filters
        )
        return (
            f"the filters together would drop {of_all}; each alone: {each}",
            "loosen them in `filter.filters`, or take some out",
        )

    def summary(self, labels: str) -> dict[str, Any]:
        """All of it, ready for JSON; `labels` names the stage whose labels were filtered."""
        return {
            "labels": labels,
            "images": self.images,
            "dropped_images": self.dropped_images,
            "drawn_in_a_round": self.drawn,
            "labelled_pixels": self.labelled,
            "kept_pixels": self.kept,
            "filters": [
                {
                    "type": one.type,
                    "setting": one.setting(),
                    "alone_pixels": self.alone[one.type],
                    "first_pixels": self.first[one.type],
                    "best": self.best.get(one.type),
                }
                for one in self.filters
            ],
            "classes": {
                name: {"labelled_pixels": int(self.labelled_K[at]), "kept_pixels": int(self.kept_K[at])}
                for at, name in enumerate(self.class_names)
                if self.labelled_K[at]
            },
        }

    def _add(self, row: Mapping[str, Any]) -> None:
        self.images += 1
        self.drawn += row["times"]
        self.dropped_images += row["times"] == 0
        for class_id, labelled, kept in row["classes"]:
            self.labelled_K[class_id] += labelled
            self.kept_K[class_id] += kept
        for one in self.filters:
            found = row["dropped"][one.type]
            self.alone[one.type] += found["alone"]
            self.first[one.type] += found["first"]
            if found["best"] is not None:
                known = [self.best[one.type]] if one.type in self.best else []
                self.best[one.type] = (min if one.lower_is_better else max)([*known, found["best"]])
