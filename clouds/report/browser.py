"""The gallery behind the report's page: lists of all generated images, and their small pictures in files beside it.

    report/gallery/00000.json       a shard's items, with what they add up to
    report/gallery/00000-00.js      the pictures of some of them; the page loads it when one of them is seen

A shard whose artifacts are as they were is not made again, so that a report goes on after an interruption and is quick
the next time. Memory holds the rows of one shard and the pictures of one file.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clouds.data.labels import LabelMap
from clouds.engine.atomic import read_json, write_atomic
from clouds.engine.progress import Progress
from clouds.engine.shard import digest
from clouds.engine.stage import Stage
from clouds.ops.class_pixels import Pixels_K1
from clouds.report.items import Chain, image_shards, shard_items
from clouds.report.pictures import MAX_WIDTH
from clouds.report.thumbnails import Thumbnail, thumbnail

FILE_ITEMS = 48
"""At most so many items share a file of pictures."""

EMBEDDED_BYTES = 4_000_000
"""Pictures that the page itself holds, those of its first items; a run of some hundred images is one file."""

MASKS = ("components", "prompted", "accepted", "rejected")
"""What a row of refined labels counts."""

_COUNTED = ("images", "labelled", "refined", "unreadable")
_AVERAGED = ("sure", "changed")
_VERSION = 1
_THREADS = 4
# below this a bar would only flicker
_SHOWN_FROM = 200
_CALL = "cloudsPictures("


@dataclass(frozen=True)
class Totals:
    """What the items add up to; pixels are [K + 1] with those ignored last, of the labels before and after refining.

    `masks` counts what refinement made of components, by `MASKS`; means are over items, None where there are none.
    """

    images: int
    labelled: int
    refined: int
    unreadable: int
    masks: Mapping[str, int]
    before_K1: Pixels_K1
    after_K1: Pixels_K1
    changed: float | None
    confidence: float | None


@dataclass(frozen=True)
class Browser:
    """A gallery that is up to date: its folder, and its shards in order."""

    folder: Path
    shards: tuple[str, ...]
    num_classes: int

    def lists(self) -> Iterator[str]:
        """The items of each shard as JSON that may stand in a script, one shard at a time."""
        for shard in self.shards:
            content = self._content(shard)
            yield in_script({"shard": shard, "per": content["per"], "items": content["items"]})

    def embedded(self, budget: int = EMBEDDED_BYTES) -> Iterator[tuple[str, str]]:
        """Name and content of the first files of pictures, as far as they fit into so many bytes; at least one."""
        spent = 0
        for shard in self.shards:
            for name in _names(shard, self._content(shard)):
                text = (self.folder / f"{name}.js").read_text(encoding="utf-8")
                spent += len(text)
                if spent > budget and spent > len(text):
                    return
                yield name, text[text.index(",") + 1 : text.rindex(")")]

    def rows(self) -> Iterator[list[Any]]:
        """The row of every item, in order; see `Thumbnail.row`."""
        for shard in self.shards:
            yield from self._content(shard)["items"]

    def totals(self) -> Totals:
        """What all items add up to."""
        sums = [self._content(shard)["sums"] for shard in self.shards]
        pixels = {
            key: np.sum([np.zeros(self.num_classes + 1, np.int64), *(one[key] for one in sums)], axis=0)
            for key in ("before", "after")
        }
        counts = {key: sum(one[key] for one in sums) for key in (*_COUNTED, *_AVERAGED)}
        return Totals(
            **{key: counts[key] for key in _COUNTED},
            masks={key: sum(one["masks"].get(key, 0) for one in sums) for key in MASKS},
            before_K1=pixels["before"],
            after_K1=pixels["after"],
            changed=counts["changed"] / counts["refined"] if counts["refined"] else None,
            confidence=counts["sure"] / counts["labelled"] if counts["labelled"] else None,
        )

    def drop_others(self) -> None:
        """Remove files of shards that are there no more, or had more items."""
        kept = {f"{shard}.json" for shard in self.shards}
        kept |= {f"{name}.js" for shard in self.shards for name in _names(shard, self._content(shard))}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def _content(self, shard: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / f"{shard}.json").read_text(encoding="utf-8"))
        return content


def bring_up_to_date(folder: Path, stages: Sequence[Stage], label_map: LabelMap | None) -> Browser:
    """Make what is missing of the gallery in a folder, drop what no shard has any more."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = {shard: (size, chain) for shard, size, chain in image_shards(stages)}
    keys = {shard: _key(chain, shard, label_map) for shard, (_, chain) in shards.items()}
    pending = [shard for shard in shards if not _is_made(folder, shard, keys[shard])]
    total = sum(shards[shard][0] for shard in pending)
    progress = Progress("report", total, 0, "image", shown=total >= _SHOWN_FROM)
    try:
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            for shard in pending:
                size, chain = shards[shard]
                content = {"key": keys[shard], **_make_shard(folder, shard, chain, label_map, pool)}
                write_atomic(folder / f"{shard}.json", json.dumps(content, ensure_ascii=False))
                progress.advance(size)
    finally:
        progress.close()
    made = Browser(folder, tuple(shards), 0 if label_map is None else label_map.num_classes)
    made.drop_others()
    return made


def in_script(value: Any) -> str:
    """JSON that may stand in a script element of a page, whatever texts it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _key(chain: Chain, shard: str, label_map: LabelMap | None) -> str:
    """What changes when a shard's files have to be made again."""
    looks = "" if label_map is None else repr([(one.name, one.color) for one in label_map.classes])
    return digest([str(_VERSION), str(MAX_WIDTH), str(FILE_ITEMS), looks, chain.stamp(shard)])


def _is_made(folder: Path, shard: str, key: str) -> bool:
    content = read_json(folder / f"{shard}.json")
    if not isinstance(content, dict) or content.get("key") != key:
        return False
    return all((folder / f"{name}.js").exists() for name in _names(shard, content))


def _make_shard(
    folder: Path, shard: str, chain: Chain, label_map: LabelMap | None, pool: ThreadPoolExecutor
) -> dict[str, Any]:
    items = shard_items(chain, shard)
    files = -(-len(items) // FILE_ITEMS)
    # files of about the same size: 50 items are 25 and 25, not 48 and 2
    per = max(1, -(-len(items) // max(1, files)))
    rows: list[list[Any]] = []
    sums = _Sums(0 if label_map is None else label_map.num_classes)
    for number in range(files):
        made = list(pool.map(lambda item: thumbnail(item, label_map), items[number * per : (number + 1) * per]))
        name = f"{shard}-{number:02d}"
        pictures = in_script([one.pictures for one in made])
        write_atomic(folder / f"{name}.js", f'{_CALL}"{name}",{pictures});\n')
        for one in made:
            sums.add(one)
        rows += [one.row() for one in made]
    return {"per": per, "items": rows, "sums": sums.content()}


def _names(shard: str, content: dict[str, Any]) -> list[str]:
    files = -(-len(content["items"]) // content["per"])
    return [f"{shard}-{number:02d}" for number in range(files)]


class _Sums:
    """What the items of a shard add up to."""

    def __init__(self, num_classes: int) -> None:
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._shares = dict.fromkeys(_AVERAGED, 0.0)
        self._masks = dict.fromkeys(MASKS, 0)
        self._pixels = {key: np.zeros(num_classes + 1, np.int64) for key in ("before", "after")}

    def add(self, one: Thumbnail) -> None:
        self._counts["images"] += 1
        self._counts["unreadable"] += bool(one.problem)
        if one.before_K1 is not None:
            self._counts["labelled"] += 1
            self._pixels["before"] += one.before_K1
            self._shares["sure"] += one.item.confidence or 0.0
        if one.after_K1 is not None:
            self._counts["refined"] += 1
            self._pixels["after"] += one.after_K1
            self._shares["changed"] += one.changed or 0.0
            for key in MASKS:
                self._masks[key] += int(one.item.refinement.get(key, 0))

    def content(self) -> dict[str, Any]:
        pixels = {key: pixels.tolist() for key, pixels in self._pixels.items()}
        return {**self._counts, **self._shares, "masks": self._masks, **pixels}
