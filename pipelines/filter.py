"""The stage `filter`: keeps the labels to be trusted, by what was measured, and says how often each image is drawn.

It runs no model: a changed threshold reruns this stage only, in moments. What it drops becomes ignore; an image of
which nothing is left is drawn no more.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from clouds.config import ConfigModel, Neutral
from clouds.data.images import read_labels, write_labels
from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic, write_json
from clouds.engine.shard import Item, Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.errors import CloudsError, InputError, UsageError
from clouds.models.judge_config import LOSS_FILE, VOTES_FILE, ClipConfig, ViewsConfig
from clouds.ops.filters import filtered, times_by_hardness
from clouds.report.cards import labels_card
from clouds.report.filtered import SUMMARY, counts_text
from clouds.training.filter_counts import FilterCounts
from clouds.training.trust import (
    AnyFilter,
    ClassLosses,
    ClipScoreFilter,
    Evidence,
    HarderConfig,
    MeanOver,
    Totals,
    Wanted,
)

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime

_log = logging.getLogger(__name__)

# images whose files are written before the next records
_AT_ONCE = 16


class FilterConfig(ConfigModel):
    """Which pixels and images of the generated set to learn from; filters look at every pixel alone, in this order."""

    filters: tuple[AnyFilter, ...] = ()
    """Each drops what it does not trust; the counts of one that comes later are of what is left."""
    harder: HarderConfig | None = None
    """Draw images of hard classes more often; null: all alike."""
    # the stages that measure have these in their fingerprints
    views: Neutral[ViewsConfig] = ViewsConfig()
    """What `view_agreement` compares."""
    clip: Neutral[ClipConfig | None] = None
    """What `clip_score` asks; null: the CLIP of the segmenter's backbone, as it was before it learned."""
    batch_size: Neutral[Annotated[int, Field(ge=1)]] = 8
    """Images per forward pass, where the segmenter measures."""

    @model_validator(mode="after")
    def _does_something_once(self) -> "FilterConfig":
        types = [one.type for one in self.filters]
        twice = sorted({one for one in types if types.count(one) > 1})
        if twice:
            raise ValueError(f"`filters` has {', '.join(twice)} twice; the stricter one alone does the same")
        if not self.filters and self.harder is None:
            raise ValueError("nothing is asked for: give `filters` or `harder`, or set `filter` to null")
        return self

    def wants(self) -> frozenset[Wanted]:
        """What must be known of each image."""
        asked = [one.wants for one in self.filters] + ([self.harder.wants] if self.harder else [])
        return frozenset[Wanted]().union(*asked)


@dataclass(frozen=True)
class Judges:
    """The stages that measured what filters want to know; None where none is wanted."""

    loss: Stage | None = None
    views: Stage | None = None
    prompt: Stage | None = None
    source: Stage | None = None


# no repr: it would tell all stages before it, once for every way to them
@dataclass(frozen=True, repr=False)
class Filter:
    """The labels of an artifact with what is not to be trusted taken out."""

    artifact: Artifact
    config: FilterConfig
    pseudo: Stage
    labels: Stage
    judges: Judges
    label_map: LabelMap

    kind: ClassVar[str] = "filter"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.pseudo is self.labels and "pseudo" in self.config.wants():
            raise UsageError(
                f"{self.name}: 'sam_agreement' compares refined labels with pseudo-labels, and nothing refines them",
                "take it out of `filter.filters`",
            )

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> Sequence[Stage]:
        return tuple({stage.name: stage for stage in (self.labels, *self._read.values())}.values())

    def identity(self) -> Mapping[str, Any]:
        return {"classes": self.label_map.describe()}

    def fetch(self) -> None:
        """Nothing: it has no weights."""

    def shards(self) -> Iterable[Shard]:
        return self.labels.artifact.mirrored(self._token())

    def prepare(self, runtime: "Runtime") -> Worker:
        totals, token = self._totals(), self._token()
        times = self._times(totals)
        of_images: dict[Wanted, Stage] = {want: stage for want, stage in self._read.items() if want != "source_loss"}
        if runtime.is_main:
            for one in self.config.filters:
                told = one.idle(len(totals.prompt_scores)) if isinstance(one, ClipScoreFilter) else ""
                if told:
                    _log.warning("%s: %s", self.name, told)

        def work_on(shard: Shard, work: ShardWork) -> None:
            known = _Known(of_images, shard.id, self.label_map.ignore)

            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                return [self._filtered(item, shard, work.folder, known, totals, times) for item in batch]

            rows = self.labels.artifact.stamped_rows(shard.id)
            work.map([Item(row["id"], token + stamp, row) for row, stamp in rows], process, _AT_ONCE)

        return work_on

    def finish(self) -> None:
        counts = FilterCounts.of(_rows(self), self.config.filters, self.label_map.names)
        problem = counts.nothing_left()
        if problem is not None:
            raise CloudsError(f"{self.name}: {problem[0]}", problem[1])
        summary = counts.summary(self.labels.name)
        write_json(self.artifact.folder / SUMMARY, summary)
        what = f"those of {self.labels.name}, with ignore where they are not trusted"
        card = labels_card(self.artifact, self.label_map, what)
        write_atomic(self.artifact.folder / "README.md", f"{card}\n{counts_text(summary)}")

    @property
    def _read(self) -> dict[Wanted, Stage]:
        """The stage that tells each thing the filters want to know."""
        judges = self.judges
        known: dict[Wanted, Stage | None] = {"confidence": self.pseudo, "pseudo": self.pseudo}
        known |= {"loss": judges.loss, "views": judges.views, "prompt": judges.prompt, "source_loss": judges.source}
        found = {want: known[want] for want in sorted(self.config.wants())}
        return {want: stage for want, stage in found.items() if stage is not None}

    def _token(self) -> str:
        # what one image says changes what becomes of others: the means of classes, the ranks
        return digest(stage.artifact.stamp() for stage in self._read.values())

    def _totals(self) -> Totals:
        measured: dict[MeanOver, Stage | None] = {
            "generated": self._read.get("loss"),
            "source": self._read.get("source_loss"),
        }
        losses = {
            over: ClassLosses.of((row["classes"] for row in _rows(stage)), self.label_map.num_classes)
            for over, stage in measured.items()
            if stage is not None
        }
        scores = sorted(row["clip_score"] for row in _rows(self._read.get("prompt")))
        return Totals(losses=losses, prompt_scores=scores)

    def _times(self, totals: Totals) -> dict[str, int]:
        """How often each image is drawn in a round, by its id; none where all are drawn alike."""
        harder = self.config.harder
        if harder is None:
            return {}
        hard = {row["id"]: totals.hardness(row["classes"], harder.mean_over) for row in _rows(self._read["loss"])}
        times_N = times_by_hardness(np.array(list(hard.values())), harder.most)
        return dict(zip(hard, times_N.tolist(), strict=True))

    def _filtered(
        self, item: Item, shard: Shard, folder: Path, known: "_Known", totals: Totals, times: Mapping[str, int]
    ) -> Row | Exception:
        """Write one image's labels as far as they are trusted; its row."""
        name = f"{item.id}.png"
        before = item.payload["file_name"]
        try:
            labels_HW = read_labels(self.labels.artifact.shard_folder(shard.id) / before).astype(np.uint8)
            seen = known.evidence(item.id, labels_HW)
        except InputError as error:
            return error
        result = filtered(labels_HW, {one.type: one.keep(seen, totals) for one in self.config.filters}, seen.ignore)
        write_labels(folder / name, result.labels_HW)
        path = f"{self.labels.name}/{shard.id}/{before}"
        return {
            "file_name": name,
            "id": item.id,
            "source_image": item.payload["source_image"],
            # the pseudo-label, and what refined it, as rows of refined labels have them
            "labels": item.payload.get("labels", path),
            **({"sam": item.payload["sam"]} if "sam" in item.payload else {}),
            "filtered": path,
            "times": times.get(item.id, 1) if result.kept else 0,
            "labelled_pixels": result.labelled,
            "kept_pixels": result.kept,
            "classes": _by_class(labels_HW, result.labels_HW, seen.ignore),
            "dropped": {
                one.type: {
                    "alone": result.alone[one.type],
                    "first": result.first[one.type],
                    "best": one.best(seen, totals),
                }
                for one in self.config.filters
            },
        }


class _Known:
    """What was measured of the images of a shard."""

    def __init__(self, read: Mapping[Wanted, Stage], shard: str, ignore: int) -> None:
        self._stages, self._shard, self._ignore = read, shard, ignore
        self._rows = {want: {row["id"]: row for row in stage.artifact.rows(shard)} for want, stage in read.items()}

    def evidence(self, item: str, labels_HW: NDArray[np.uint8]) -> Evidence:
        """What is known of one image. Raises `InputError` where it was not measured, or its files cannot be read."""
        return Evidence(
            labels_HW=labels_HW,
            ignore=self._ignore,
            pseudo_HW=self._map("pseudo", item, "file_name"),
            confidence_HW=self._map("confidence", item, "confidence_file_name"),
            loss_HW=self._map("loss", item, LOSS_FILE),
            votes_HW=self._map("views", item, VOTES_FILE),
            views=self._value("views", item, "views"),
            prompt_score=self._value("prompt", item, "clip_score"),
        )

    def _map(self, want: Wanted, item: str, key: str) -> Any:
        name = self._value(want, item, key)
        return None if name is None else read_labels(self._stages[want].artifact.shard_folder(self._shard) / name)

    def _value(self, want: Wanted, item: str, key: str) -> Any:
        if want not in self._stages:
            return None
        row = self._rows[want].get(item)
        if row is None:
            raise InputError(
                f"{self._stages[want].name} has nothing on {item}", "`clouds retry` takes up what failed there"
            )
        return row[key]


def _rows(stage: Stage | None) -> Iterator[Row]:
    """All rows of a stage; none of none."""
    if stage is not None:
        for shard in stage.artifact.shard_ids():
            yield from stage.artifact.rows(shard)


def _by_class(before_HW: NDArray[np.uint8], after_HW: NDArray[np.uint8], ignore: int) -> list[list[int]]:
    """[class, its pixels, those kept] of each class in an image's labels."""
    before, after = (np.bincount(labels_HW.ravel(), minlength=256).tolist() for labels_HW in (before_HW, after_HW))
    return [[one, count, after[one]] for one, count in enumerate(before) if count and one != ignore]
