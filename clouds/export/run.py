"""Exports the labelled images of a run: claims the folder, writes parts in several processes, puts the rest together.

It knows no particular format.
"""

import importlib.util
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clouds.data.labels import LabelMap
from clouds.data.names import name_key
from clouds.data.paired import PairedFiles
from clouds.engine.atomic import write_atomic, write_json
from clouds.engine.progress import Progress
from clouds.engine.work import explain_os_error
from clouds.errors import UsageError, nearest
from clouds.export.card import CARD, card
from clouds.export.files import PartFiles
from clouds.export.folder import ExportFolder
from clouds.export.format import Format, Job, Pair, Tally
from clouds.export.images import LabelledImages
from clouds.export.notes import Notes
from clouds.export.parts import SHARD_ITEMS, TREE_ITEMS, Bounds, Part, Splits, part_order, parts_of, survey
from clouds.export.pool import default_workers, run_all

EXTRA = "pip install 'clouds-segmentation[export]'"

# what Cityscapes counts as things
_THINGS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle", "caravan", "trailer")
_THING_MAP = LabelMap.of(_THINGS)

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may say of an export.

    `things` are names of classes, empty for those that Cityscapes counts as things. `shard_mb` bounds the files of
    formats that keep many images in one. `workers` 0 is one per core; neither it nor `link` changes what a reader sees.
    `size` (height, width) is that of the images a segmenter's graph is for.
    """

    splits: Splits = field(default_factory=Splits)
    things: Sequence[str] = ()
    shard_mb: int = 256
    link: bool = False
    workers: int = 0
    size: tuple[int, int] | None = None
    force: bool = False


@dataclass(frozen=True)
class Exported:
    """What an export holds: images by split, and whether they were all there before."""

    out: Path
    items: dict[str, int]
    up_to_date: bool


def export_images(
    images: LabelledImages, format_: Format, out: Path, options: Options, say: Callable[[str], None]
) -> Exported:
    """Write an artifact in a format; the same call goes on with what an earlier one began.

    Raises `UsageError` before anything is written, and `InputError` for a file of the artifact that is unusable.
    """
    check_packages(format_.name, format_.packages, EXTRA)
    things = thing_ids(images.label_map, options.things)
    job = Job(_title(images), out, images.label_map, options.splits.names, things, options.link)
    format_.check(job)
    folder = ExportFolder(out, _request(images, format_, job, options))
    folder.check(force=options.force)
    if folder.complete and not options.force:
        folder.clear()
        return Exported(out, folder.summary["items"], True)
    items = survey(images, options.splits)
    if not items:
        raise UsageError(f"{images.artifact.folder}: holds no labelled image", "see `clouds status` for why")
    job = replace(job, splits=tuple(items))
    say(f"{job.name} -> {format_.name}: {sum(items.values())} images to {out}")
    for sentence in format_.lost(job):
        say(f"lost: {sentence}")
    try:
        with folder.held():
            # another export may have come and gone since
            folder.check(force=options.force)
            _export(images, format_, job, folder, items, options)
        folder.clear()
    except OSError as error:
        raise explain_os_error(error, out) from error
    return Exported(out, items, False)


def thing_ids(label_map: LabelMap, names: Sequence[str]) -> frozenset[int]:
    """The ids of the classes that count as things. Raises `UsageError` for a name that is no class."""
    if not names:
        return frozenset(one.id for one in label_map.classes if _THING_MAP.find(name_key(one.name)) is not None)
    found = {name: label_map.find(name) for name in names}
    for name, id_ in found.items():
        if id_ is None:
            raise UsageError(f"--things {name}: no such class", nearest(name, label_map.names))
    return frozenset(id_ for id_ in found.values() if id_ is not None)


def check_packages(name: str, packages: Sequence[str], install: str) -> None:
    """Raise `UsageError` that says what to install where the writer of the format `name` lacks packages."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UsageError(f"--format {name} needs {', '.join(missing)}, which {verb} not installed", install)


def write_part(format_: Format, job: Job, part: Part) -> tuple[str, Row]:
    """Write one part, in whatever process; its name and what it counts."""
    counts = _Counts()
    with PartFiles(job.out, part.name, link=job.link) as files:
        format_.write(job, part, counts.watch(_pairs(job, part)), files)
    return part.name, {"split": part.split, "items": len(part.samples), **counts.row()}


def _export(
    images: LabelledImages, format_: Format, job: Job, folder: ExportFolder, items: dict[str, int], options: Options
) -> None:
    # 1. the parts that are not there yet
    ledger = folder.begin(force=options.force)
    done = folder.done(ledger)
    bounds = Bounds(SHARD_ITEMS, options.shard_mb * 2**20) if format_.sharded else Bounds(TREE_ITEMS)
    pending = (part for part in parts_of(images, options.splits, bounds) if part.name not in done)
    progress = Progress(format_.name, sum(items.values()), 0, "image", shown=True)
    progress.skip(sum(row["items"] for row in done.values()))
    written = run_all(partial(write_part, format_, job), pending, _workers(options, items))
    with closing(progress), closing(written):
        for name, row in written:
            folder.record(ledger, name, row)
            progress.advance(row["items"])
    # 2. what describes the whole
    rows = folder.done(ledger)
    tally = _tally(job, rows.values())
    format_.finish(_Finish(job, Notes(folder.work, sorted(rows, key=part_order)), tally))
    first = next(images.samples()).facts
    write_atomic(folder.out / CARD, card(format_, job, tally, first, images.failed))
    folder.end({"items": items})


def _pairs(job: Job, part: Part) -> Iterator[Pair]:
    """The part's images with their labels, each looked at: of one size, and of no id that is no class."""
    data = PairedFiles(
        name=job.name,
        ids=[sample.id for sample in part.samples],
        images_at=[sample.place.image for sample in part.samples],
        labels_at=[sample.place.mask for sample in part.samples],
        lookup=job.label_map.own_lookup(),
    )
    for number, sample in enumerate(part.samples):
        yield Pair(sample, data.labels(number))


class _Counts:
    """Counts the pixels of the pairs that pass."""

    def __init__(self) -> None:
        self._pixels = np.zeros(256, np.int64)
        self._images = np.zeros(256, np.int64)

    def watch(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        for pair in pairs:
            counts = np.bincount(pair.labels_HW.ravel(), minlength=256)
            self._pixels += counts
            self._images += counts > 0
            yield pair

    def row(self) -> Row:
        shown = np.flatnonzero(self._pixels).tolist()
        return {
            "pixels": {str(id_): int(self._pixels[id_]) for id_ in shown},
            "shown": {str(id_): int(self._images[id_]) for id_ in shown},
        }


def _tally(job: Job, rows: Iterable[Row]) -> Tally:
    items: Counter[str] = Counter()
    pixels: Counter[int] = Counter()
    shown: dict[str, Counter[int]] = {}
    for row in rows:
        items[row["split"]] += row["items"]
        pixels.update({int(id_): count for id_, count in row["pixels"].items()})
        shown.setdefault(row["split"], Counter()).update({int(id_): count for id_, count in row["shown"].items()})
    ignored = pixels.pop(job.label_map.ignore, 0)
    return Tally({split: items[split] for split in job.splits}, pixels, ignored, shown)


@dataclass(frozen=True)
class _Finish:
    """Writes below the folder of the export; see `Finish`."""

    job: Job
    notes: Notes
    tally: Tally

    def text(self, name: str, pieces: Iterable[str]) -> None:
        with PartFiles(self.job.out, "finish") as files, files.create(name) as file:
            wrapped = io.TextIOWrapper(file, encoding="utf-8")
            for piece in pieces:
                wrapped.write(piece)
            wrapped.detach()

    def json(self, name: str, value: Any) -> None:
        write_json(self.job.out / name, value)


def _workers(options: Options, items: dict[str, int]) -> int:
    """One per part at most, since starting one takes a second."""
    return max(1, min(options.workers or default_workers(), sum(items.values()) // TREE_ITEMS))


def _request(images: LabelledImages, format_: Format, job: Job, options: Options) -> Row:
    """Everything that can change what is written, in the order in which differences are told."""
    request = {
        "format": format_.name,
        "artifact": images.artifact.name,
        "content": images.stamp(),
        "split": options.splits.name,
        "val_share": options.splits.val_share,
        "things": sorted(job.things),
    }
    return {**request, "shard_mb": options.shard_mb} if format_.sharded else request


def _title(images: LabelledImages) -> str:
    return f"{images.artifact.folder.parent.name}/{images.artifact.name}"
