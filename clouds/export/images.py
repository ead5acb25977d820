"""The labelled images of a run: where each image and its labels lie, and what is known of them. It writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import subfolders
from clouds.engine.shard import digest
from clouds.engine.status import stage_status
from clouds.errors import CloudsError, UsageError, nearest
from clouds.export.classes import classes_of, upstream
from clouds.export.facts import facts_of

Row = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where one labelled image lies: its id, unique in the artifact, its shard, and the two files."""

    id: str
    shard: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Sample:
    """One labelled image with what is known of it; `number` counts the artifact's images from 0."""

    number: int
    place: Place
    facts: dict[str, str | int | float]

    @property
    def id(self) -> str:
        return self.place.id

    @property
    def path(self) -> str:
        """What the sample's files are named by, without suffix: `SHARD/ID`, so that no folder holds too many."""
        return f"{self.place.shard}/{self.place.id}"


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """A finished artifact of labels with the images they are of."""

    artifact: Artifact
    label_map: LabelMap

    @property
    def total(self) -> int:
        """How many labelled images there are."""
        summaries = (self.artifact.summary(shard) for shard in self.artifact.shard_ids())
        return sum(summary.done for summary in summaries if summary is not None)

    @property
    def failed(self) -> int:
        """How many images have no labels, since they failed."""
        return stage_status(self.artifact, self.artifact.name).failed

    def stamp(self) -> str:
        """What changes when any of the labels, or the classes, do."""
        classes = [f"{one.id} {one.name} {one.color}" for one in self.label_map.classes]
        return digest([self.artifact.name, self.artifact.stamp(), str(self.artifact.edition()), *classes])

    def places(self) -> Iterator[Place]:
        """Where the images lie, in order."""
        for shard in self.artifact.shard_ids():
            for row in self.artifact.rows(shard):
                yield self._place(shard, row)

    def samples(self) -> Iterator[Sample]:
        """The images in order, with what is known of them; one shard's metadata is in memory at a time."""
        rows_of = lru_cache(maxsize=4)(self._rows_by_file)
        number = 0
        for shard in self.artifact.shard_ids():
            for row in self.artifact.rows(shard):
                yield Sample(number, self._place(shard, row), self._facts(shard, row, rows_of))
                number += 1

    def _place(self, shard: str, row: Row) -> Place:
        folder = self.artifact.shard_folder(shard)
        _check_id(row, folder)
        if "source_image" in row:
            return Place(row["id"], shard, self.artifact.folder.parent / row["source_image"], folder / row["file_name"])
        return Place(row["id"], shard, folder / row["file_name"], folder / row["labels_file_name"])

    def _facts(self, shard: str, row: Row, rows_of: Any) -> dict[str, str | int | float]:
        if "source_image" not in row:
            return facts_of(row, {}, {}, f"{self.artifact.name}/{shard}/{row['file_name']}")
        image = _find(row["source_image"], rows_of)
        if "labels" in row:
            return facts_of(image, _find(row["labels"], rows_of), row, row["source_image"])
        return facts_of(image, row, {}, row["source_image"])

    def _rows_by_file(self, stage: str, shard: str) -> dict[str, Row]:
        """The metadata of another artifact's shard by file name; none where it is no longer there."""
        try:
            rows = Artifact(self.artifact.folder.parent / stage).rows(shard)
            return {row["file_name"]: row for row in rows}
        except (OSError, ValueError, KeyError):
            return {}


def open_images(folder: str | Path) -> LabelledImages:
    """The labelled images of a stage's folder, or of a run's: then those that were labelled last.

    Raises `UsageError` for a folder that holds none, and `CloudsError` for an artifact that is not finished.
    """
    path = Path(folder).expanduser().absolute()
    artifact = Artifact(path) if Artifact(path).description() is not None else _last_labelled(path)
    _check_finished(artifact)
    if not _is_labelled(artifact):
        labelled = ", ".join(one.name for one in labelled_artifacts(artifact.folder.parent)) or "none yet"
        raise UsageError(f"{artifact.folder}: holds no labelled images", f"in this run these do: {labelled}")
    return LabelledImages(artifact, classes_of(artifact))


def is_stage_or_run(folder: Path) -> bool:
    """Whether a folder is a stage's output or a run that has any."""
    return Artifact(folder).description() is not None or any(True for _ in _stages(folder))


def labelled_artifacts(run_folder: Path) -> list[Artifact]:
    """A run's artifacts that hold labelled images, each after those it was made from."""
    found = [one for one in _stages(run_folder) if _is_labelled(one)]
    return sorted(found, key=lambda one: (len(_ancestors(one)), one.name))


def not_an_artifact(path: Path) -> UsageError:
    """What to say of a folder that is neither a stage's nor a run's."""
    mend = "give a stage's folder of a run, such as runs/NAME/refine-2, or a run's folder"
    if not path.exists():
        near = nearest(path.name, sorted(subfolders(path.parent))) if path.parent.is_dir() else ""
        return UsageError(f"{path} does not exist", f"{mend}; {near}" if near else mend)
    if Artifact(path.parent).description() is not None:
        return UsageError(f"{path} is a part of an artifact", f"give all of it: {path.parent}")
    return UsageError(f"{path} is no artifact of a run: it has no stage.json", mend)


def _last_labelled(run_folder: Path) -> Artifact:
    if not is_stage_or_run(run_folder):
        raise not_an_artifact(run_folder)
    labelled = labelled_artifacts(run_folder)
    if not labelled:
        stages = ", ".join(one.name for one in _stages(run_folder))
        raise UsageError(f"run {run_folder} has no labelled images yet, only: {stages}", f"`clouds run {run_folder}`")
    return labelled[-1]


def _check_finished(artifact: Artifact) -> None:
    status = stage_status(artifact, artifact.name)
    if not status.complete or artifact.unfinished():
        size = "?" if status.size is None else status.size
        raise CloudsError(
            f"{artifact.folder} is not finished: {status.done} of {size} {status.unit or 'item'}s",
            f"`clouds run {artifact.folder.parent}` goes on with it",
        )


def _stages(run_folder: Path) -> Iterator[Artifact]:
    artifacts = (Artifact(run_folder / name) for name in subfolders(run_folder))
    return (one for one in artifacts if one.description() is not None)


def _is_labelled(artifact: Artifact) -> bool:
    row = next((row for shard in artifact.shard_ids() for row in artifact.rows(shard)), {})
    return "file_name" in row and ("source_image" in row or "labels_file_name" in row)


def _ancestors(artifact: Artifact) -> set[str]:
    """The names of all artifacts that this one was made from, however indirectly."""
    found: set[str] = set()
    open_ = upstream(artifact)
    while open_:
        one = open_.pop()
        if one.name not in found:
            found.add(one.name)
            open_ += upstream(one)
    return found


def _find(reference: str, rows_of: Any) -> Row:
    """The metadata of a file named as STAGE/SHARD/FILE_NAME."""
    stage, shard, name = reference.split("/", 2)
    found: Row = rows_of(stage, shard).get(name, {})
    return found


def _check_id(row: Row, folder: Path) -> None:
    if not row["id"] or "/" in row["id"] or row["id"].startswith("."):
        raise CloudsError(f"{folder}: item id {row['id']!r} cannot name a file", "make the artifact anew")
