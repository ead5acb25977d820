"""The units work comes in: shards, and the items in them. It does not know what they are."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Listed:
    """Things that are there already, such as a data set's, and the shards of so many each that they come in.

    `stamp` is of the thing at a position, `of` of all that is made of them. Shards are `00000`, `00001`, ..., behind a
    dash and the `name` where there is one, since a stage may have several lists; the last has the rest.
    """

    ids: Sequence[str]
    stamp: Callable[[int], str]
    shard_items: int
    name: str = ""
    of: str | None = None

    def shards(self) -> Iterator[Shard]:
        """All of them, in order."""
        of = () if self.of is None else (self.of,)
        for number, start in enumerate(range(0, len(self.ids), self.shard_items)):
            indices = range(start, min(start + self.shard_items, len(self.ids)))
            inputs = digest((*of, *(f"{self.ids[index]} {self.stamp(index)}" for index in indices)))
            yield Shard(f"{self.name}-{number:05d}".removeprefix("-"), len(indices), inputs)

    def items(self, shard: Shard) -> list[Item]:
        """Those of a shard; the payload is the position in the list."""
        start = int(shard.id.rpartition("-")[2]) * self.shard_items
        return [self._item(index) for index in range(start, start + shard.size)]

    def _item(self, index: int) -> Item:
        id_ = self.ids[index]
        return Item(id_, f"{id_ if self.of is None else self.of} {self.stamp(index)}", index)


def list_name(shard_id: str) -> str:
    """The name of the list that a shard is of."""
    return shard_id.rpartition("-")[0]


def made_from(stamp: str, identity: Mapping[str, Any]) -> str:
    """What stamps all that is made of a list of things: the stamp of who makes it, and what tells the list."""
    return digest([stamp, json.dumps(identity, sort_keys=True)])


def digest(parts: Iterable[str]) -> str:
    """A short hash of a sequence of texts; the order counts."""
    state = hashlib.blake2b(digest_size=12)
    for part in parts:
        state.update(part.encode("utf-8") + b"\0")
    return state.hexdigest()
