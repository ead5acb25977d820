"""Run folders made by hand with the engine's own means: pictures of the street world, labels and scores to order."""

import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from clouds.assembly import Assembly, assemble
from clouds.data.images import write_gray, write_image, write_labels
from clouds.data.world import DOMAINS, render_scene
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_json
from clouds.engine.ledger import DONE, FAILED, Record
from clouds.engine.shard import Shard
from clouds.engine.stage import Stage
from clouds.ops.confusion import confusion_matrix
from clouds.report.comparison import PREDICTION
from clouds.scoring.scores import scores_json

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"
Row = dict[str, Any]


def open_run(run_dir: Path, *overrides: str) -> Assembly:
    """The stages of the smallest config, on a run folder of our own."""
    # without repainting: its section of the report is tested on a run that paints
    return assemble(str(SMOKE), [f"run_dir={run_dir}", "repaint=null", "adapt=null", *overrides])


def stage_of(assembly: Assembly, name: str) -> Stage:
    return next(stage for stage in assembly.stages if stage.name == name)


def begin(stage: Stage, size: int, *, complete: bool, document: Row | None = None) -> None:
    content = {"unit": stage.unit, "size": size, "complete": complete, "document": document or {}}
    stage.artifact.describe(content)


def publish(artifact: Artifact, shard: str, rows: Iterable[Row], failed: dict[str, str] | None = None) -> None:
    """Publish a shard whose files the caller has written to its scratch folder, or that has none."""
    done = [Record(row["id"], DONE, row=row, seconds=0.5) for row in rows]
    records = [*done, *(Record(id_, FAILED, error=error) for id_, error in (failed or {}).items())]
    made = Shard(shard, len(records))
    artifact.open_shard(made).append(records)
    artifact.publish(made, records, "digest", keep_items=shard != "model")


def scratch(artifact: Artifact, shard: str) -> Path:
    artifact.open_shard(Shard(shard, 1))
    return artifact.scratch_folder(shard)


def log_training(stage: Stage, losses: Iterable[float], *, complete: bool) -> None:
    """A training's log, in its published folder or in its scratch folder."""
    values = list(losses)
    begin(stage, len(values), complete=complete)
    folder = scratch(stage.artifact, "model")
    lines = (json.dumps({"step": step, "lr": 1e-3, "loss": loss}) + "\n" for step, loss in enumerate(values, 1))
    (folder / "log.jsonl").write_text("".join(lines), encoding="utf-8")
    if complete:
        publish(stage.artifact, "model", [{"file_name": "model.safetensors", "id": "model"}])


def generate(assembly: Assembly, prompts: list[str], *, shard_items: int = 4, width: int = 128) -> None:
    """Scenes of the street world in the place of generated images, shard by shard."""
    stage = stage_of(assembly, "generate")
    weights = {"config": {"weights": "owner/diffuser"}, "inputs": {"weights.kind": "hub", "weights.revision": "abc123"}}
    begin(stage, len(prompts), complete=True, document=weights)
    for start in range(0, len(prompts), shard_items):
        shard = f"{start // shard_items:05d}"
        folder, rows = scratch(stage.artifact, shard), []
        for index in range(start, min(start + shard_items, len(prompts))):
            write_image(folder / f"{index:06d}.png", _scene(index, width).image_HWC)
            row = {
                "file_name": f"{index:06d}.png",
                "id": f"{index:06d}",
                "prompt": prompts[index],
                "seed": 7000 + index,
            }
            rows.append({**row, "model": "owner/diffuser", "revision": "abc123", "height": width // 2, "width": width})
        publish(stage.artifact, shard, rows)


def label(assembly: Assembly, number: int, *, width: int = 128) -> None:
    """The scenes' own labels with blots of a wrong class, the confidence low on them."""
    stage, images = stage_of(assembly, f"label-{number}"), stage_of(assembly, "generate").artifact

    def make(folder: Path, row: Row) -> Row:
        labels_HW, wrong_HW = _blotted(int(row["id"]), width, blots=12 // number)
        for name in ("labels", "confidence"):
            (folder / name).mkdir(exist_ok=True)
        write_labels(folder / "labels" / row["file_name"], labels_HW)
        confidence_HW = np.where(wrong_HW, 90, 235).astype(np.uint8)
        write_gray(folder / "confidence" / row["file_name"], confidence_HW)
        return {
            "file_name": f"labels/{row['file_name']}",
            "confidence_file_name": f"confidence/{row['file_name']}",
            "id": row["id"],
            "mean_confidence": round(float(confidence_HW.mean()) / 255, 6),
        }

    _mirror(stage, images, make)


def refine(assembly: Assembly, number: int, *, width: int = 128) -> None:
    """The scenes' own labels: half of each one's mistakes mended, and a strip that is ignored."""
    stage, images = stage_of(assembly, f"refine-{number}"), stage_of(assembly, "generate").artifact

    def make(folder: Path, row: Row) -> Row:
        labels_HW, wrong_HW = _blotted(int(row["id"]), width, blots=12 // number)
        true_HW = _scene(int(row["id"]), width).labels_HW
        half = width // 2
        labels_HW[:, :half] = true_HW[:, :half]
        labels_HW[wrong_HW & (np.indices(wrong_HW.shape)[1] > width * 3 // 4)] = 255
        write_labels(folder / row["file_name"], labels_HW)
        return {
            "file_name": row["file_name"],
            "id": row["id"],
            "labels": f"label-{number}/{{shard}}/labels/{row['file_name']}",
        }

    _mirror(stage, images, make)


def score(assembly: Assembly, model: str, accuracy: dict[str, float], *, complete: bool = True) -> None:
    """Scores of a model that takes each pixel for what it is with this probability, by data set."""
    stage = stage_of(assembly, f"evaluate-{model}")
    begin(stage, 12, complete=complete)
    names = assembly.config.data.label_map().names  # type: ignore[attr-defined]
    results = {}
    for dataset, right in accuracy.items():
        rng = np.random.default_rng(3)
        truth_HW = rng.integers(0, len(names) - 1, (60, 100))
        predicted_HW = np.where(
            rng.random(truth_HW.shape) < right, truth_HW, rng.integers(0, len(names), truth_HW.shape)
        )
        result = scores_json(confusion_matrix(predicted_HW, truth_HW, len(names), 255), names)
        protocol = {"images": 6, "failed": 0, "short_edge": 512, "windows": "whole image", "compared_at": "label size"}
        results[dataset] = {**result, "protocol": protocol}
    write_json(stage.artifact.folder / "scores.json", {"model": model, "results": results})


def predict(assembly: Assembly, model: str, right: float, kept: int = 2) -> None:
    """Predictions of the first images of each data set, each pixel taken for what it is with this probability."""
    stage = stage_of(assembly, f"evaluate-{model}")
    for name, dataset in stage.datasets.items():  # type: ignore[attr-defined]
        folder, rows = scratch(stage.artifact, f"{name}-00000"), []
        for index, id_ in enumerate(dataset.ids):
            rows.append({"id": id_, "dataset": name, "cells": []})
            if index < kept:
                truth_HW, rng = dataset.labels(index), np.random.default_rng(index)
                predicted_HW = np.where(rng.random(truth_HW.shape) < right, truth_HW, (truth_HW + 1) % 11)
                write_labels(folder / f"{id_}.png", predicted_HW.astype(np.uint8))
                rows[-1][PREDICTION] = f"{id_}.png"
        publish(stage.artifact, f"{name}-00000", rows)


def finished_run(run_dir: Path, prompts: list[str], *, width: int = 128, after: float = 0.7) -> Assembly:
    """A finished run of two rounds."""
    assembly = open_run(run_dir)
    log_training(stage_of(assembly, "train"), [30 / step**0.3 for step in range(1, 41)], complete=True)
    score(assembly, "train", {"fog": 0.5, "night": 0.4})
    generate(assembly, prompts, width=width)
    for number in (1, 2):
        label(assembly, number, width=width)
        refine(assembly, number, width=width)
        log_training(stage_of(assembly, f"selftrain-{number}"), [9 - number, 8 - number, 6.5], complete=True)
        score(assembly, f"selftrain-{number}", {"fog": 0.5 + (after - 0.5) * number / 2, "night": after - 0.1})
    return assembly


def _mirror(stage: Stage, images: Artifact, make: Callable[[Path, Row], Row]) -> None:
    count = 0
    for shard in images.shard_ids():
        folder, rows = scratch(stage.artifact, shard), []
        for source in images.rows(shard):
            row = {**make(folder, source), "source_image": f"generate/{shard}/{source['file_name']}"}
            rows.append({key: value.format(shard=shard) if key == "labels" else value for key, value in row.items()})
        publish(stage.artifact, shard, rows)
        count += len(rows)
    begin(stage, count, complete=True)


@cache
def _scene(index: int, width: int) -> Any:
    domains = list(DOMAINS)
    return render_scene(domains[index % len(domains)], index, height=width // 2, width=width)


def _blotted(index: int, width: int, blots: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels with discs of another class, and where they are wrong."""
    true_HW = _scene(index, width).labels_HW
    labels_HW, rng = true_HW.copy(), np.random.default_rng(index)
    rows, columns = np.indices(labels_HW.shape)
    for _ in range(blots):
        row, column, radius = rng.integers(width // 2), rng.integers(width), width // 20 + 1
        labels_HW[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = rng.integers(0, 11)
    return labels_HW, labels_HW != true_HW
