"""The items of a run at either end: least and most sure, most changed. It holds no more than it returns."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHOWN = 5


@dataclass(frozen=True)
class End:
    """One item: its id, prompt and seed (as text), mean confidence and share of changed pixels in [0, 1]."""

    id: str
    prompt: str
    seed: str | None
    confidence: float | None
    changed: float | None


def ends(rows: Iterable[Sequence[Any]], count: int = SHOWN) -> Mapping[str, list[End]]:
    """`worst` and `best` by the segmenter's confidence, and `most_changed` by refinement; `Thumbnail.row`s are read."""
    items = (End(*row[:5]) for row in rows)
    kept: dict[str, list[tuple[float, int, End]]] = {"worst": [], "best": [], "most_changed": []}
    for number, item in enumerate(items):
        if item.confidence is not None:
            _keep(kept["worst"], (-item.confidence, -number, item), count)
            _keep(kept["best"], (item.confidence, -number, item), count)
        if item.changed is not None:
            _keep(kept["most_changed"], (item.changed, -number, item), count)
    return {
        name: [item for _, _, item in sorted(heap, key=lambda one: one[:2], reverse=True)]
        for name, heap in kept.items()
    }


def _keep(heap: list[tuple[float, int, End]], entry: tuple[float, int, End], count: int) -> None:
    """Keep the entries of the highest values; of equal ones the first."""
    if len(heap) < count:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)
