"""Runs with labelled images, made by hand with the engine's own means: tiny, of several sizes, with every awkwardness.

Labels have nested pieces, pieces that touch at a corner, ignored pixels inside and at the border, and classes that are
absent.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from clouds.data.images import write_gray, write_image, write_labels
from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact
from clouds.engine.ledger import DONE, FAILED, Record
from clouds.engine.shard import Shard
from clouds.export.images import LabelledImages, Sample, open_images
from clouds.export.parts import Splits
from clouds.export.registry import FORMATS
from clouds.export.run import Options, export_images

Row = dict[str, Any]
CLASSES = ("road", "building", "sky", "person", "car")
IGNORE = 255
MODEL = {"model": "owner/diffuser", "revision": "abc123", "steps": 4, "guidance": 7.0, "negative_prompt": None}


def made_run(
    folder: Path, count: int = 7, *, classes: Sequence[str] = CLASSES, shard_items: int = 3, failed: int = 0
) -> Path:
    """A run whose stages `generate`, `label-1` and `refine-1` are finished; refine has other labels than label."""
    config = {"name": "made", "data": {"classes": [_entry(one) for one in LabelMap.of(list(classes)).classes]}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    shards = [range(start, min(start + shard_items, count)) for start in range(0, count, shard_items)]
    for number, items in enumerate(shards):
        _generate(folder, f"{number:05d}", items)
        _label(folder, f"{number:05d}", items, len(classes))
        _refine(folder, f"{number:05d}", items, len(classes), failed if number == 0 else 0)
    recorded = {"classes.classes": LabelMap.of(list(classes)).describe()["classes"], "classes.ignore": IGNORE}
    describe(folder / "generate", count)
    describe(folder / "label-1", count, inputs=recorded, upstream={"generate": ""})
    describe(folder / "refine-1", count, upstream={"generate": "", "label-1": ""})
    return folder


def made_repaint(folder: Path, count: int = 4) -> Path:
    """A finished stage `repaint`: images with their labels in one shard."""
    made = Artifact(folder / "repaint")
    scratch = open_shard(made, "00000", count)
    (scratch / "labels").mkdir()
    rows = []
    for index in range(count):
        write_image(scratch / f"{index:06d}.png", image_of(index))
        write_labels(scratch / "labels" / f"{index:06d}.png", labels_of(index, 1, len(CLASSES)))
        rows.append(
            {
                "file_name": f"{index:06d}.png",
                "labels_file_name": f"labels/{index:06d}.png",
                "id": f"{index:06d}",
                "source": f"town-{index}",
                "prompt": "at night",
                "seed": index,
                **MODEL,
                "strength": 0.65,
            }
        )
    publish(made, "00000", rows)
    recorded = {"classes.classes": LabelMap.of(list(CLASSES)).describe()["classes"], "classes.ignore": IGNORE}
    describe(made.folder, count, inputs=recorded)
    return made.folder


def describe(folder: Path, size: int, *, complete: bool = True, **document: Any) -> None:
    content = {"stage": folder.name, "unit": "image", "size": size, "complete": complete, "document": document}
    Artifact(folder).describe(content)


def open_shard(artifact: Artifact, shard: str, size: int) -> Path:
    artifact.open_shard(Shard(shard, size))
    return artifact.scratch_folder(shard)


def publish(artifact: Artifact, shard: str, rows: Sequence[Row], failed: Sequence[str] = ()) -> None:
    records = [Record(row["id"], DONE, row=row, seconds=0.1) for row in rows]
    records += [Record(id_, FAILED, error="broken") for id_ in failed]
    made = Shard(shard, len(records))
    artifact.open_shard(made).append(records)
    artifact.publish(made, records, f"digest {len(rows)}")


def image_of(index: int) -> np.ndarray:
    """uint8 [H, W, 3]; sizes differ and are odd."""
    height, width = size_of(index)
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)


def size_of(index: int) -> tuple[int, int]:
    return (24, 40) if index % 3 else (17, 31)


def labels_of(index: int, salt: int, classes: int) -> np.ndarray:
    """uint8 [H, W]: rectangles in rectangles and stray pixels, some ignored; the last class is in every second only."""
    height, width = size_of(index)
    rng = np.random.default_rng([index, salt])
    labels_HW = np.full((height, width), 1, np.uint8)
    for _ in range(6):
        top, left = rng.integers(0, height - 4), rng.integers(0, width - 6)
        high, wide = rng.integers(3, height // 2), rng.integers(4, width // 2)
        labels_HW[top : top + high, left : left + wide] = rng.integers(0, classes - index % 2)
        labels_HW[top + 1 : top + high - 1, left + 1 : left + wide - 1] = rng.choice([0, 3, IGNORE])
    labels_HW[-2:, -5:] = IGNORE
    stray = rng.random((height, width)) < 0.02
    labels_HW[stray] = rng.choice([3, 0, IGNORE], size=int(stray.sum()))
    return labels_HW


def truth(images: LabelledImages) -> Iterator[tuple[Sample, np.ndarray, np.ndarray]]:
    """Each sample with its image and labels as they are in the run."""
    for sample in images.samples():
        yield sample, np.asarray(Image.open(sample.place.image)), np.asarray(Image.open(sample.place.mask))


def opened(run: Path, stage: str = "refine-1") -> LabelledImages:
    return open_images(run / stage)


def export(images: LabelledImages, name: str, out: Path, *, share: float = 0.0, **options: Any) -> list[str]:
    """Export in this process; what was said."""
    said: list[str] = []
    chosen = Options(**{"splits": Splits(val_share=share), "workers": 1, **options})
    export_images(images, FORMATS[name], out, chosen, said.append)
    return said


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _entry(one: Any) -> Row:
    return {"name": one.name, "color": list(one.color), "synonyms": list(one.synonyms)}


def _generate(run: Path, shard: str, items: range) -> None:
    artifact = Artifact(run / "generate")
    scratch, rows = open_shard(artifact, shard, len(items)), []
    for index in items:
        write_image(scratch / f"{index:06d}.png", image_of(index))
        row = {
            "file_name": f"{index:06d}.png",
            "id": f"{index:06d}",
            "prompt": f"a “street” {index}",
            "seed": 2**62 + index,
        }
        rows.append({**row, **MODEL})
    publish(artifact, shard, rows)


def _label(run: Path, shard: str, items: range, classes: int) -> None:
    artifact = Artifact(run / "label-1")
    scratch, rows = open_shard(artifact, shard, len(items)), []
    for folder in ("labels", "confidence"):
        (scratch / folder).mkdir()
    for index in items:
        name = f"{index:06d}.png"
        write_labels(scratch / "labels" / name, labels_of(index, 0, classes))
        write_gray(scratch / "confidence" / name, np.full(size_of(index), 200, np.uint8))
        rows.append(
            {
                "file_name": f"labels/{name}",
                "confidence_file_name": f"confidence/{name}",
                "id": f"{index:06d}",
                "source_image": f"generate/{shard}/{name}",
                "model": "train/model",
                "mean_confidence": 0.5 + index / 100,
            }
        )
    publish(artifact, shard, rows)


def _refine(run: Path, shard: str, items: range, classes: int, failed: int) -> None:
    artifact = Artifact(run / "refine-1")
    scratch, rows = open_shard(artifact, shard, len(items)), []
    for index in items[failed:]:
        name = f"{index:06d}.png"
        write_labels(scratch / name, labels_of(index, 1, classes))
        rows.append(
            {
                "file_name": name,
                "id": f"{index:06d}",
                "source_image": f"generate/{shard}/{name}",
                "labels": f"label-1/{shard}/labels/{name}",
                "seed": index,
                "sam": {"kind": "local", "sha256": "feed"},
            }
        )
    publish(artifact, shard, rows, [f"{index:06d}" for index in items[:failed]])
