"""The documentation of exports: every format is in its table, and the Python it shows reads what was written."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest
from made_images import export

from clouds.export.format import Job
from clouds.export.models.formats import FORMATS as MODEL_FORMATS
from clouds.export.registry import FORMATS

DOCS = Path(__file__).parents[2] / "docs" / "exports.md"
ROWS = dict(re.findall(r"^\| `([\w-]+)` \|.*\| `([^`|]+)` \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
ROOTS = (
    "datasets",
    "webdataset",
    "torchvision",
    "mmseg",
    "mmengine",
    "numpy",
    "PIL",
    "json",
    "pycocotools",
    "fiftyone",
)
MODULES = {"PIL": "PIL.Image", "pycocotools": "pycocotools.coco", "mmseg": "mmseg.registry"}


def test_every_format_is_in_the_table():
    assert list(ROWS) == [*FORMATS, *MODEL_FORMATS]


@pytest.mark.parametrize("name", FORMATS)
def test_the_python_shown_reads_the_export(images, tmp_path, monkeypatch, name):
    job = Job("made", tmp_path, images.label_map, ("train",), frozenset())
    line = FORMATS[name].read_back(job)
    assert ROWS[name] == line
    used = [root for root in (*ROOTS, "fiftyone") if re.search(rf"\b{root}\.", line)]
    missing = [root for root in used if importlib.util.find_spec(root) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    if "datasets" in used:
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    export(images, name, tmp_path / "out")
    for root in used:
        importlib.import_module(MODULES.get(root, root))
    known = {root: importlib.import_module(root) for root in used}
    sample = next(images.samples())
    found = eval(line.replace("DIR", str(tmp_path / "out")).replace("SHARD/ID", sample.path), known)
    assert len(found if hasattr(found, "__len__") else list(getattr(found, "imgs", found))) > 0
