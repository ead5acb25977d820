"""Registers labelled images of a run with detectron2, where they lie: no file is written, and no model is known here.

from clouds.export.detectron2 import register
register("runs/mine/refine-2", "mine_refined")      # then cfg.DATASETS.TRAIN = ("mine_refined",)
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clouds.data.images import image_size
from clouds.export.images import LabelledImages, open_images
from clouds.models.detectron2_config import missing_detectron2


def register(artifact: str | Path, name: str) -> None:
    """Make an artifact known to detectron2 as a semantic segmentation data set; files are listed when it is asked for.

    Raises `CloudsError` where detectron2 is not installed, and as `open_images` does.
    """
    data = _detectron2_data()
    images = open_images(artifact)
    data.DatasetCatalog.register(name, lambda: list(records(images)))
    data.MetadataCatalog.get(name).set(
        stuff_classes=list(images.label_map.names),
        stuff_colors=[list(one.color) for one in images.label_map.classes],
        ignore_label=images.label_map.ignore,
        evaluator_type="sem_seg",
    )


def records(images: LabelledImages) -> Iterator[dict[str, Any]]:
    """One dict per image, in detectron2's standard form, with what is known of the image beside it."""
    for sample in images.samples():
        height, width = image_size(sample.place.image)
        yield {
            "file_name": str(sample.place.image),
            "sem_seg_file_name": str(sample.place.mask),
            "height": height,
            "width": width,
            "image_id": sample.id,
            **sample.facts,
        }


def _detectron2_data() -> Any:
    try:
        from detectron2 import data
    except ImportError as error:
        raise missing_detectron2() from error
    return data
