"""A comparison that is as small as it can be: two untrained segmenters, and data sets named as a benchmark's are."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from small_run import small_config

from clouds.data.labels import LabelMap
from clouds.models.segmenter import build_segmenter
from clouds.models.segmenter_config import SegmenterConfig
from clouds.models.segmenter_files import save_segmenter

NAMES = LabelMap.of("street11").names


def small_segmenters(models: Path, folder: Path) -> dict[str, Path]:
    """Two untrained segmenters' folders."""
    config = SegmenterConfig.model_validate(small_config(models, folder)["train"]["segmenter"])
    for seed, name in enumerate(("one", "two")):
        save_segmenter(build_segmenter(config, len(NAMES), seed=seed), folder / name, NAMES)
    return {"one": folder / "one", "two": folder / "two"}


def comparison(segmenters: dict[str, Path], run: Path, **changes: Any) -> dict[str, Any]:
    """The config as a tree; `changes` replace whole groups of it."""
    tree = {
        "pipeline": "compare",
        "name": "small",
        "run_dir": str(run),
        "shard_items": 3,
        "runtime": {"device": "cpu"},
        "data": {
            "classes": "street11",
            "sets": {
                "fog": {"type": "world", "domain": "fog", "count": 5, "height": 32, "width": 64},
                "night": {"type": "world", "domain": "night", "count": 3, "height": 30, "width": 50},
            },
        },
        "models": {name: str(folder) for name, folder in segmenters.items()},
        "evaluate": {"data": ["fog", "night"], "batch_size": 2, "scoring": {"resamples": 50}},
    }
    return {**tree, **changes}


def cityscapes_folder(root: Path, labels: bool = True) -> dict[str, Any]:
    """A data set of three images named as Cityscapes names them."""
    rng = np.random.default_rng(0)
    for index in range(3):
        name = root / "leftImg8bit" / "berlin" / f"berlin_000000_{index:06d}_leftImg8bit.png"
        truth = root / "gtFine" / "berlin" / f"berlin_000000_{index:06d}_gtFine_labelIds.png"
        for path, shape in ((name, (32, 64, 3)), (truth, (32, 64))):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(7, 9, shape, dtype=np.uint8)).save(path)
    found = {"type": "folder", "root": str(root), "images": "leftImg8bit", "image_suffix": "_leftImg8bit"}
    labelled = {"labels": "gtFine", "label_suffix": "_gtFine_labelIds", "classes": "cityscapes34"}
    return {**found, **(labelled if labels else {"labels": None})}


def only_berlin(root: Path, labels: bool = True) -> dict[str, Any]:
    """The `data` of a comparison on it alone."""
    return {"classes": "street11", "sets": {"berlin": cityscapes_folder(root, labels)}}
