"""The units work comes in: shards, and the items in them. It does not know what they are."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shard:
    """A unit of work that is published whole.

    `id` names its folder, `size` counts its items or steps, `inputs` stamps what it reads: when the stamp changes, the
    shard is opened again and the items whose own stamp changed are redone.
    """

    id: str
    size: int
    inputs: str = ""


@dataclass(frozen=True)
class Item:
    """One thing to make: `id` names its files, `token` stamps its input, `payload` is whatever the stage needs."""

    id: str
    token: str = ""
    payload: Any = None


def numbered_shards(count: int, shard_items: int, of: str = "") -> Iterator[Shard]:
    """Shards `00000`, `00001`, ... of so many items each, the last with the rest; `of` stamps what they read."""
    for number, start in enumerate(range(0, count, shard_items)):
        size = min(shard_items, count - start)
        yield Shard(f"{number:05d}", size, inputs=f"{size} items{of}")


def named_shards(name: str, stamps: Sequence[str], shard_items: int, of: str) -> Iterator[Shard]:
    """Shards `NAME-00000`, ... of so many items each, the last with the rest; an item has a stamp of its own, all have
    that of `of`."""
    for number, start in enumerate(range(0, len(stamps), shard_items)):
        own = stamps[start : start + shard_items]
        yield Shard(f"{name}-{number:05d}", len(own), digest([of, *own]))


def digest(parts: Iterable[str]) -> str:
    """A short hash of a sequence of texts; the order counts."""
    state = hashlib.blake2b(digest_size=12)
    for part in parts:
        state.update(part.encode("utf-8") + b"\0")
    return state.hexdigest()
