"""COCO exports, read back by pycocotools and by the panoptic format's definition: every pixel, and the objects."""

import json

import numpy as np
import pytest
from made_images import CLASSES, IGNORE, export, truth
from PIL import Image
from scipy import ndimage

from clouds.errors import UsageError
from clouds.export.coco import segments_of
from clouds.export.coco_rle import run_lengths
from clouds.export.parts import Splits
from clouds.ops.components import region_of

THINGS = {3, 4}


def labels_in(annotations, mask_of, size):
    """Class ids put together from masks, and how often a pixel was claimed."""
    labels_HW, claims_HW = np.full(size, IGNORE, np.uint8), np.zeros(size, int)
    for one in annotations:
        mask_HW = mask_of(one)
        labels_HW[mask_HW] = one["category_id"] - 1
        claims_HW += mask_HW
    return labels_HW, claims_HW


def test_panoptic_gives_every_pixel_and_the_objects_back(images, tmp_path):
    export(images, "coco-panoptic", tmp_path / "out", share=0.4)
    splits, seen = Splits(val_share=0.4), set()
    for split in splits.names:
        folder = tmp_path / "out" / "annotations" / f"panoptic_{split}"
        content = json.loads(folder.with_suffix(".json").read_text())
        assert [one["name"] for one in content["categories"]] == list(CLASSES)
        assert {one["id"] - 1 for one in content["categories"] if one["isthing"]} == THINGS
        files = {one["id"]: one for one in content["images"]}
        annotations = {files[one["image_id"]]["file_name"]: one for one in content["annotations"]}
        assert len(annotations) == len(files)
        for sample, image_HWC, labels_HW in truth(images):
            if splits.of(sample.id) != split:
                continue
            seen.add(sample.id)
            one = annotations[f"{sample.path}.png"]
            assert np.array_equal(read(tmp_path / "out/images" / split / f"{sample.path}.png"), image_HWC)
            assert files[one["image_id"]]["width"] == labels_HW.shape[1]
            ids_HW = read(folder / one["file_name"]).astype(int) @ [1, 256, 65536]
            check_segments(one["segments_info"], ids_HW, labels_HW)
    assert seen == {sample.id for sample in images.samples()}


def check_segments(infos, ids_HW, labels_HW):
    back_HW, claims_HW = labels_in(infos, lambda one: ids_HW == one["id"], labels_HW.shape)
    assert np.array_equal(back_HW, labels_HW) and claims_HW.max() == 1
    assert set(np.unique(ids_HW)) - {0} == {one["id"] for one in infos}
    for one in infos:
        rows, columns = np.nonzero(ids_HW == one["id"])
        assert one["area"] == len(rows)
        assert one["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    counts = {id_: sum(one["category_id"] == id_ + 1 for one in infos) for id_ in range(len(CLASSES))}
    for id_, count in counts.items():
        pieces = ndimage.label(labels_HW == id_, np.ones((3, 3)))[1]
        assert count == (pieces if id_ in THINGS else min(pieces, 1))


def test_run_lengths_give_every_pixel_back(images, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    said = export(images, "coco-rle", tmp_path / "out")
    assert any("objects (person, car) are the connected pieces" in line for line in said)
    files = {kind: str(tmp_path / "out/annotations" / f"{kind}_train.json") for kind in ("instances", "stuff")}
    instances, stuff = (coco.COCO(path) for path in files.values())
    assert {instances.cats[id_]["name"] for id_ in instances.getCatIds()} == set(CLASSES)
    assert sorted(instances.anns) == list(range(1, len(instances.anns) + 1))
    by_file = {one["file_name"]: id_ for id_, one in instances.imgs.items()}
    for sample, image_HWC, labels_HW in truth(images):
        id_ = by_file[f"{sample.path}.png"]
        assert np.array_equal(read(tmp_path / "out/images/train" / f"{sample.path}.png"), image_HWC)
        objects, rest = instances.imgToAnns[id_], stuff.imgToAnns[id_]
        assert {one["category_id"] - 1 for one in objects} <= THINGS
        assert not {one["category_id"] - 1 for one in rest} & THINGS
        for one in (*objects, *rest):
            assert coco.maskUtils.area(one["segmentation"]) == one["area"]
            assert list(coco.maskUtils.toBbox(one["segmentation"])) == one["bbox"]
        mask_of = lambda one: instances.annToMask(one).astype(bool)  # noqa: E731
        back_HW, claims_HW = labels_in([*objects, *rest], mask_of, labels_HW.shape)
        assert np.array_equal(back_HW, labels_HW) and claims_HW.max() == 1


def test_run_lengths_are_those_of_pycocotools_own_encoder():
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(5)
    for density in (0.05, 0.5, 0.95, 1.0):
        mask_HW = rng.random((13, 9)) < density
        mask_HW[6, 4] = True
        expected = mask.encode(np.asfortranarray(mask_HW.astype(np.uint8)))
        found = run_lengths(region_of(mask_HW, 0), mask_HW.shape)
        assert found["counts"].encode() == expected["counts"] and found["size"] == expected["size"]


def test_things_are_what_the_user_says(images, tmp_path):
    export(images, "coco-panoptic", tmp_path / "out", things=["sky"])
    content = json.loads((tmp_path / "out/annotations/panoptic_train.json").read_text())
    assert [one["name"] for one in content["categories"] if one["isthing"]] == ["sky"]
    with pytest.raises(UsageError, match="--things skye: no such class"):
        export(images, "coco-panoptic", tmp_path / "other", things=["skye"])


def test_a_label_map_without_things_has_stuff_only():
    labels_HW = np.array([[0, 0, 3], [3, IGNORE, 3]], np.uint8)
    segments = segments_of(labels_HW, [], IGNORE)
    assert [(one.category_id, one.is_thing, one.region.area) for one in segments] == [(1, False, 2), (4, False, 3)]


def read(path):
    return np.asarray(Image.open(path))
