"""The scored images that the last model is worst and best at. It reads the counts that scoring kept, and no picture."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clouds.engine.artifact import Artifact
from clouds.engine.stage import Stage
from clouds.report.extremes import Entry, best_first, keep
from clouds.report.samples import published_rows
from clouds.report.tables import scores_of

SHOWN = 3


@dataclass(frozen=True)
class ImageScore:
    """One image: the share of its pixels with a truth that the first and the last model take for what they are."""

    id: str
    before: float | None
    after: float


def image_scores(stages: Sequence[Stage], count: int = SHOWN) -> dict[str, dict[str, list[ImageScore]]]:
    """By data set, the `worst` and the `best` images of the last model that was scored; memory holds these alone."""
    scored = [stage.artifact for stage in stages if stage.kind == "evaluate" and scores_of([stage.artifact])]
    if not scored:
        return {}
    heaps: dict[str, dict[str, list[Entry[str]]]] = {}
    for number, (dataset, id_, share) in enumerate(_shares(scored[-1])):
        kept = heaps.setdefault(dataset, {"worst": [], "best": []})
        keep(kept["worst"], (-share, -number, id_), count)
        keep(kept["best"], (share, -number, id_), count)
    wanted = {(dataset, entry[2]) for dataset, kept in heaps.items() for heap in kept.values() for entry in heap}
    before = {} if len(scored) == 1 else {one[:2]: one[2] for one in _shares(scored[0]) if one[:2] in wanted}
    return {
        dataset: {
            end: [ImageScore(id_, before.get((dataset, id_)), abs(share)) for share, _, id_ in best_first(heap)]
            for end, heap in kept.items()
        }
        for dataset, kept in heaps.items()
    }


def _shares(artifact: Artifact) -> Iterator[tuple[str, str, float]]:
    """Data set, id and share of pixels that are right, of each image with any truth."""
    for shard in artifact.shard_ids():
        for row in published_rows(artifact, shard):
            share = _right(row.get("cells", ()))
            if share is not None:
                yield shard.rpartition("-")[0], row["id"], share


def _right(cells: Sequence[Sequence[Any]]) -> float | None:
    """From [truth, prediction, pixels]; None where there is no truth."""
    total = sum(pixels for _, _, pixels in cells)
    return sum(pixels for truth, predicted, pixels in cells if truth == predicted) / total if total else None


def rows_of(images: Mapping[str, Mapping[str, Sequence[ImageScore]]]) -> Iterator[tuple[str, str, ImageScore]]:
    """Data set, end and image, one after the other."""
    return ((dataset, end, one) for dataset, ends in images.items() for end, found in ends.items() for one in found)
