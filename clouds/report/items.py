"""Generated images followed to their labels, a shard at a time, by their metadata alone. It decodes no picture.

Stages that follow one another keep the names of shards and the ids of items, which is what joins their rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clouds.engine.artifact import Artifact
from clouds.engine.shard import digest
from clouds.engine.stage import Stage
from clouds.report.samples import Row, published_rows

EARLIER_ROUNDS = 3


@dataclass(frozen=True)
class Item:
    """One generated image and the files that came of it; None where there is none yet.

    `earlier` are the refined labels of the rounds before, by the name of their stage. `confidence` is the mean over
    pixels, in [0, 1]; `refinement` is the metadata of the refined labels.
    """

    id: str
    image: Path
    prompt: str = ""
    seed: int | None = None
    labels: Path | None = None
    confidence_map: Path | None = None
    confidence: float | None = None
    refined: Path | None = None
    earlier: tuple[tuple[str, Path], ...] = ()
    refinement: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Chain:
    """The stages whose artifacts one shard's items are followed through: of the last round that has published it."""

    images: Stage
    label: Stage | None = None
    refine: Stage | None = None
    earlier: tuple[Stage, ...] = ()

    def names(self) -> tuple[str, ...]:
        """The stages it goes through, in order."""
        return tuple(stage.name for stage in (self.images, self.label, self.refine, *self.earlier) if stage)

    def stamp(self, shard: str) -> str:
        """What changes when any item of the shard does, or what it is followed through."""
        stages = [stage for stage in (self.images, self.label, self.refine, *self.earlier) if stage]
        found = ((stage.name, stage.artifact.summary(shard)) for stage in stages)
        return digest(f"{name} {summary.digest} {summary.done}" if summary else name for name, summary in found)


def image_shards(stages: Sequence[Stage]) -> Iterator[tuple[str, int, Chain]]:
    """Each published shard of generated images with its number of images and the chain that follows it."""
    images = next((stage for stage in stages if stage.kind == "generate"), None)
    if images is None:
        return
    for shard in images.artifact.shard_ids():
        summary = images.artifact.summary(shard)
        if summary is not None:
            yield shard, summary.done, _chain(stages, images, shard)


def shard_items(chain: Chain, shard: str) -> list[Item]:
    """The items of a shard in the order they were made. Memory holds the metadata of one shard."""
    labels, refined = _by_id(chain.label, shard), _by_id(chain.refine, shard)
    before = [(stage.name, stage.artifact, _by_id(stage, shard)) for stage in chain.earlier]
    items = []
    for row in published_rows(chain.images.artifact, shard):
        id_ = row["id"]
        label = labels.get(id_, {})
        items.append(
            Item(
                id=id_,
                image=chain.images.artifact.shard_folder(shard) / row["file_name"],
                prompt=row.get("prompt", ""),
                seed=row.get("seed"),
                labels=_file(chain.label, shard, label, "file_name"),
                confidence_map=_file(chain.label, shard, label, "confidence_file_name"),
                confidence=label.get("mean_confidence"),
                refined=_file(chain.refine, shard, refined.get(id_, {}), "file_name"),
                refinement=refined.get(id_, {}),
                earlier=tuple((name, _path(one, shard, rows[id_])) for name, one, rows in before if id_ in rows),
            )
        )
    return items


def _chain(stages: Sequence[Stage], images: Stage, shard: str) -> Chain:
    having = [stage for stage in stages if stage.artifact.summary(shard) is not None]
    refines = [stage for stage in having if stage.kind == "refine"]
    if not refines:
        labels = [stage for stage in having if stage.kind == "label"]
        return Chain(images, labels[-1] if labels else None)
    last = refines[-1]
    # the labels a refinement began with are those of the last stage before it
    before = [stage for stage in stages[: list(stages).index(last)] if stage.kind == "label"]
    label = before[-1] if before and before[-1] in having else None
    return Chain(images, label, last, tuple(refines[:-1][-EARLIER_ROUNDS:]))


def _by_id(stage: Stage | None, shard: str) -> dict[str, Row]:
    return {} if stage is None else {row["id"]: row for row in published_rows(stage.artifact, shard)}


def _file(stage: Stage | None, shard: str, row: Row, key: str) -> Path | None:
    return stage.artifact.shard_folder(shard) / row[key] if stage is not None and key in row else None


def _path(artifact: Artifact, shard: str, row: Row) -> Path:
    return artifact.shard_folder(shard) / str(row["file_name"])
