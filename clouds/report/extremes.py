"""The items of a run at either end: least and most sure, most changed. It holds no more than it returns."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

SHOWN = 5

T = TypeVar("T")
Entry: TypeAlias = tuple[float, int, T]
"""A value, a number that is different for each, and what has them."""


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
    kept: dict[str, list[Entry[End]]] = {"worst": [], "best": [], "most_changed": []}
    for number, item in enumerate(items):
        if item.confidence is not None:
            keep(kept["worst"], (-item.confidence, -number, item), count)
            keep(kept["best"], (item.confidence, -number, item), count)
        if item.changed is not None:
            keep(kept["most_changed"], (item.changed, -number, item), count)
    return {
        name: [item for _, _, item in sorted(heap, key=lambda one: one[:2], reverse=True)]
        for name, heap in kept.items()
    }


def keep(heap: list[Entry[T]], entry: Entry[T], count: int) -> None:
    """Keep so many entries of the highest values; of equal ones those of the highest second number."""
    if len(heap) < count:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)


def best_first(heap: Iterable[Entry[T]]) -> list[Entry[T]]:
    """The entries from the highest value to the lowest."""
    return sorted(heap, key=lambda entry: entry[:2], reverse=True)
