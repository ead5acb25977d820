"""detectron2 reads a run where it lies: its records, and the registration itself where detectron2 is installed."""

import importlib.util

import numpy as np
import pytest
import torch
from made_images import CLASSES, IGNORE, truth
from PIL import Image

from clouds.data.images import read_labels
from clouds.errors import CloudsError
from clouds.export.detectron2 import records, register
from clouds.ops.confusion import confusion_matrix
from clouds.scoring.scores import scores_json


def test_records_name_every_file(images):
    found = list(records(images))
    for one, (sample, image_HWC, labels_HW) in zip(found, truth(images), strict=True):
        assert one["image_id"] == sample.id and one["prompt"] == sample.facts["prompt"]
        assert (one["height"], one["width"]) == labels_HW.shape
        assert np.array_equal(np.asarray(Image.open(one["file_name"])), image_HWC)
        assert np.array_equal(np.asarray(Image.open(one["sem_seg_file_name"])), labels_HW)


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is not None, reason="detectron2 is installed")
def test_without_detectron2_one_line_says_where_it_is(run):
    with pytest.raises(CloudsError) as raised:
        register(run, "made")
    assert str(raised.value).count("\n") == 0
    assert "https://github.com/facebookresearch/detectron2" in str(raised.value)


def test_detectron2_knows_the_registered_images(run, images):
    data = pytest.importorskip("detectron2.data", reason="detectron2 is not installed")
    register(run / "refine-1", "clouds_made")
    try:
        assert data.DatasetCatalog.get("clouds_made") == list(records(images))
        known = data.MetadataCatalog.get("clouds_made")
        assert known.stuff_classes == list(CLASSES) and known.ignore_label == IGNORE
    finally:
        data.DatasetCatalog.remove("clouds_made")
        data.MetadataCatalog.remove("clouds_made")


def test_its_evaluator_counts_what_ours_does(run, images):
    """On predictions that are partly right: the labels, some moved to the next class."""
    evaluation = pytest.importorskip("detectron2.evaluation", reason="detectron2 is not installed")
    from detectron2.data import DatasetCatalog, MetadataCatalog

    register(run / "refine-1", "clouds_scored")
    classes, rng = len(CLASSES), np.random.default_rng(0)
    try:
        evaluator = evaluation.SemSegEvaluator("clouds_scored", distributed=False)
        evaluator.reset()
        matrix = np.zeros((classes, classes + 1), np.int64)
        for record in records(images):
            labels_HW = read_labels(record["sem_seg_file_name"])
            moved_HW = (labels_HW % classes + (rng.random(labels_HW.shape) < 0.3)) % classes
            matrix += confusion_matrix(moved_HW.astype(np.uint8), labels_HW, classes, IGNORE)
            scores_KHW = torch.from_numpy(np.eye(classes, dtype=np.float32)[moved_HW]).permute(2, 0, 1)
            evaluator.process([record], [{"sem_seg": scores_KHW}])
        theirs, ours = evaluator.evaluate()["sem_seg"], scores_json(matrix, CLASSES)
    finally:
        DatasetCatalog.remove("clouds_scored")
        MetadataCatalog.remove("clouds_scored")
    for key, name in {
        "mIoU": "mean_iou",
        "fwIoU": "frequency_weighted_iou",
        "mACC": "mean_accuracy",
        "pACC": "pixel_accuracy",
    }.items():
        assert theirs[key] == pytest.approx(100 * ours[name], abs=1e-8)
    for name, value in ours["iou"].items():
        if value is not None:
            assert theirs[f"IoU-{name}"] == pytest.approx(100 * value, abs=1e-8)
