"""detectron2 reads a run where it lies: its records, and the registration itself where detectron2 is installed."""

import importlib.util

import numpy as np
import pytest
from made_images import CLASSES, IGNORE, truth
from PIL import Image

from clouds.errors import CloudsError
from clouds.export.detectron2 import records, register


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
