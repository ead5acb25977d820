"""Our scores beside those of the evaluators others use, on the same predictions: equal to 1e-10."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clouds.data.cityscapes import CATEGORIES, original_id
from clouds.data.images import write_labels
from clouds.data.labels import LabelMap
from clouds.data.submission import PredictionFiles
from clouds.engine.artifact import Artifact
from clouds.engine.ledger import DONE, Record
from clouds.engine.shard import Shard
from clouds.ops.confusion import confusion_matrix, scores
from clouds.scoring.counts import ScoringConfig, count
from clouds.scoring.scores import score

IGNORE = 255
EQUAL = 1e-10
SETTINGS = ScoringConfig(resamples=20)


def image(seed: int, classes: Sequence[int], shape: tuple[int, int] = (64, 128)) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth in blobs, a fifth of them ignored and half of the rest right."""
    rng = np.random.default_rng(seed)
    coarse = (shape[0] // 8, shape[1] // 8)
    truth = rng.choice(classes, coarse)
    prediction = np.where(rng.random(coarse) < 0.5, truth, rng.choice(classes, coarse))
    truth = np.where(rng.random(coarse) < 0.2, IGNORE, truth)
    return tuple(one.astype(np.uint8).repeat(8, 0).repeat(8, 1) for one in (prediction, truth))  # type: ignore[return-value]


def our_scores(folder: Path, images: Sequence[tuple[np.ndarray, np.ndarray]], label_map: LabelMap) -> dict[str, Any]:
    """By the way of a run: counts in the rows of two shards, added up from what lies on disk."""
    artifact = Artifact(folder)
    for number, part in enumerate((images[:2], images[2:])):
        shard = Shard(f"set-{number:05d}", len(part))
        rows = [{"id": f"{number}-{place}", **count(*one, label_map, SETTINGS)} for place, one in enumerate(part)]
        records = [Record(row["id"], DONE, row=row) for row in rows]
        artifact.open_shard(shard).append(records)
        artifact.publish(shard, records, "made")
    return score(artifact, artifact.shard_ids(), label_map, SETTINGS)


@pytest.fixture
def official(tmp_path):
    """cityscapesScripts' evaluation of predictions that are written as its server takes them."""
    script = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")

    def evaluate(images: Sequence[tuple[np.ndarray, np.ndarray]], label_map: LabelMap) -> dict[str, Any]:
        files = PredictionFiles.of("cityscapes", label_map)
        stored = np.zeros(256, np.uint8)
        for one in label_map.classes:
            stored[one.id] = original_id(one.name)
        truths = []
        for number, (prediction_HW, truth_HW) in enumerate(images):
            name = f"berlin_000000_{number:06d}"
            truths.append(str(tmp_path / f"{name}_gtFine_labelIds.png"))
            write_labels(truths[-1], stored[truth_HW])
            (tmp_path / "results").mkdir(exist_ok=True)
            files.write(tmp_path / "results", f"berlin__{name}_leftImg8bit", prediction_HW)
        settings = script.args
        settings.evalInstLevelScore, settings.JSONOutput, settings.quiet = False, False, True
        settings.predictionPath, settings.predictionWalk = str(tmp_path / "results"), None
        with contextlib.redirect_stdout(io.StringIO()):
            found = [script.getPrediction(settings, truth) for truth in truths]
            return dict(script.evaluateImgLists(found, truths, settings))

    return evaluate


def assert_equal(ours: float | None, theirs: float, what: str) -> None:
    assert ours is not None and abs(ours - theirs) < EQUAL, f"{what}: {ours} is not {theirs}"


def test_cityscapes_scripts_agree_on_every_class_category_and_mean(official, tmp_path):
    label_map = LabelMap.of("cityscapes19")
    images = [image(seed, range(19)) for seed in range(4)]
    ours, theirs = our_scores(tmp_path / "ours", images, label_map), official(images, label_map)
    for name in label_map.names:
        assert_equal(ours["iou"][name], theirs["classScores"][name], name)
    for name in CATEGORIES:
        assert_equal(ours["category_iou"][name], theirs["categoryScores"][name], name)
    assert_equal(ours["mean_iou"], theirs["averageScoreClasses"], "mean IoU")
    assert_equal(ours["mean_category_iou"], theirs["averageScoreCategories"], "mean category IoU")


def test_a_run_with_a_part_of_the_classes_is_scored_as_they_score_it(official, tmp_path):
    label_map = LabelMap.of("street11")
    images = [image(seed, range(label_map.num_classes)) for seed in range(3)]
    ours, theirs = our_scores(tmp_path / "ours", images, label_map), official(images, label_map)
    for name in label_map.names:
        assert_equal(ours["iou"][name], theirs["classScores"][name], name)
    assert ours["category_iou"].keys() == CATEGORIES.keys()
    for name in CATEGORIES:
        assert_equal(ours["category_iou"][name], theirs["categoryScores"][name], name)
    assert_equal(ours["mean_iou"], theirs["averageScoreClasses"], "mean IoU")


def test_only_a_class_that_is_predicted_without_being_there_is_another_matter(official, tmp_path):
    label_map = LabelMap.of("cityscapes19")
    prediction_HW, truth_HW = image(0, range(10))
    truth_HW[truth_HW == 9] = 0
    ours, theirs = (
        our_scores(tmp_path / "ours", [(prediction_HW, truth_HW)], label_map),
        official([(prediction_HW, truth_HW)], label_map),
    )
    # a class without ground truth: they count it as 0 once it is predicted, we leave it out of the mean
    assert (prediction_HW == 9).any() and ours["iou"]["terrain"] is None and theirs["classScores"]["terrain"] == 0
    assert_equal(ours["mean_iou"], theirs["averageScoreClasses"] * 10 / 9, "mean IoU")


def test_torchmetrics_agrees(monkeypatch):
    metrics = pytest.importorskip("torchmetrics.classification")
    # their counts are integers, their quotients of 32 bits: 64 are enough to see whether the rest is equal
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    images = [image(seed, range(7)) for seed in range(3)]
    matrix = np.sum([confusion_matrix(*one, 7) for one in images], axis=0)
    found = scores(matrix)
    pairs = {
        "iou": (found.iou_K, metrics.MulticlassJaccardIndex(7, average=None, ignore_index=IGNORE)),
        "mean_iou": (found.mean_iou, metrics.MulticlassJaccardIndex(7, average="macro", ignore_index=IGNORE)),
        "weighted": (
            found.frequency_weighted_iou,
            metrics.MulticlassJaccardIndex(7, average="weighted", ignore_index=IGNORE),
        ),
        "accuracy": (found.accuracy_K, metrics.MulticlassAccuracy(7, average=None, ignore_index=IGNORE)),
        "mean_accuracy": (found.mean_accuracy, metrics.MulticlassAccuracy(7, average="macro", ignore_index=IGNORE)),
        "pixel_accuracy": (found.pixel_accuracy, metrics.MulticlassAccuracy(7, average="micro", ignore_index=IGNORE)),
        "matrix": (matrix[:, :7], metrics.MulticlassConfusionMatrix(7, ignore_index=IGNORE)),
    }
    for name, (ours, metric) in pairs.items():
        for prediction_HW, truth_HW in images:
            metric.update(torch.from_numpy(prediction_HW).long(), torch.from_numpy(truth_HW).long())
        np.testing.assert_allclose(ours, metric.compute().numpy(), rtol=0, atol=EQUAL, err_msg=name)
