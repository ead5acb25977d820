"""Exports that are folders by convention (Cityscapes, MMSegmentation, ADE20K, FiftyOne), read back pixel by pixel."""

import csv
import json
import os
import runpy

import numpy as np
import pytest
from made_images import CLASSES, IGNORE, export, image_of, made_run, opened, truth
from PIL import Image

from clouds.data.images import write_image
from clouds.errors import UsageError
from clouds.export.parts import Splits

# ids and train ids as Cityscapes' own scripts define them
CITYSCAPES = {"road": (7, 0), "building": (11, 2), "sky": (23, 10), "person": (24, 11), "car": (26, 13)}


def read(path):
    return np.asarray(Image.open(path))


def metadata(out):
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    return {row["id"]: row for row in rows}


def test_cityscapes_has_its_names_and_its_ids(images, tmp_path):
    assert export(images, "cityscapes", tmp_path / "out")[1:] == []
    table = np.array([CITYSCAPES[name] for name in CLASSES] + [(0, 0)] * (256 - len(CLASSES)))
    table[IGNORE] = (0, 255)
    rows = metadata(tmp_path / "out")
    for sample, image_HWC, labels_HW in truth(images):
        image = tmp_path / "out" / rows[sample.id]["file_name"]
        stem = str(image).replace("leftImg8bit/", "gtFine/").removesuffix("_leftImg8bit.png") + "_gtFine_"
        assert len(image.name.split("_")) == 4
        assert np.array_equal(read(image), image_HWC)
        assert np.array_equal(read(stem + "labelIds.png"), table[labels_HW, 0])
        assert np.array_equal(read(stem + "labelTrainIds.png"), table[labels_HW, 1])
        color_HWC = read(stem + "color.png")
        assert (color_HWC[labels_HW == 0] == (128, 64, 128)).all() and (color_HWC[labels_HW == IGNORE] == 0).all()
        assert {key: rows[sample.id][key] for key in sample.facts} == sample.facts


def test_torchvision_reads_cityscapes(images, tmp_path):
    from torchvision.datasets import Cityscapes

    export(images, "cityscapes", tmp_path / "out", share=0.4)
    splits = Splits(val_share=0.4)
    expected = {split: [] for split in splits.names}
    for sample, image_HWC, labels_HW in truth(images):
        expected[splits.of(sample.id)].append((image_HWC, labels_HW))
    ids = np.array([CITYSCAPES[name][0] for name in CLASSES] + [0] * (256 - len(CLASSES)))
    for split, pairs in expected.items():
        data = Cityscapes(str(tmp_path / "out"), split=split, target_type="semantic")
        found = [data[index] for _, index in sorted((path, index) for index, path in enumerate(data.images))]
        assert len(found) == len(pairs) > 0
        for (image, target), (image_HWC, labels_HW) in zip(found, pairs, strict=True):
            assert np.array_equal(np.asarray(image), image_HWC)
            assert np.array_equal(np.asarray(target), ids[labels_HW])


def test_cityscapes_says_which_classes_it_does_not_know(tmp_path):
    run = made_run(tmp_path / "run", 3, classes=("road", "river", "tree", "bush", "trailer"))
    said = export(opened(run), "cityscapes", tmp_path / "out")
    assert any("classes river: Cityscapes has no such class" in line for line in said)
    assert any("classes tree, bush: they are one class" in line for line in said)
    assert any("classes river, trailer: their pixels are ignored" in line for line in said) is False
    assert any("classes trailer: their pixels are ignored in labelTrainIds" in line for line in said)
    assert "river: Cityscapes has no such class" in (tmp_path / "out" / "README.md").read_text()
    for _, image in metadata(tmp_path / "out").items():
        labels = tmp_path / "out" / image["file_name"].replace("leftImg8bit/", "gtFine/")
        ids_HW = read(str(labels).replace("_leftImg8bit.png", "_gtFine_labelIds.png"))
        assert set(np.unique(ids_HW)) <= {0, 7, 21, 30}


def test_cityscapes_needs_one_of_its_classes(tmp_path):
    run = made_run(tmp_path / "run", 1, classes=("cat", "dog", "mat", "hat", "rat"))
    with pytest.raises(UsageError, match="none of the classes is one of Cityscapes'"):
        export(opened(run), "cityscapes", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_mmsegs_config_finds_every_pair(images, tmp_path):
    export(images, "mmseg", tmp_path / "out", share=0.4)
    config = runpy.run_path(str(tmp_path / "out" / "dataset.py"))
    found = {}
    for split in ("train", "val"):
        data = config[f"{split}_dataset"]
        assert data["type"] == "BaseSegDataset" and not data["reduce_zero_label"] and data["ignore_index"] == IGNORE
        assert data["metainfo"]["classes"] == CLASSES and len(data["metainfo"]["palette"]) == len(CLASSES)
        # as BaseSegDataset pairs them: every image below img_path, and the same name below seg_map_path
        root, prefix = data["data_root"], data["data_prefix"]
        for folder, _, names in os.walk(os.path.join(root, prefix["img_path"])):
            for name in names:
                image = os.path.join(folder, name)
                relative = os.path.relpath(image, os.path.join(root, prefix["img_path"]))
                labels = relative[: -len(data["img_suffix"])] + data["seg_map_suffix"]
                found[name[:-4]] = (split, read(image), read(os.path.join(root, prefix["seg_map_path"], labels)))
    for sample, image_HWC, labels_HW in truth(images):
        split, image, labels = found.pop(sample.id)
        assert split == Splits(val_share=0.4).of(sample.id)
        assert np.array_equal(image, image_HWC) and np.array_equal(labels, labels_HW)
    assert not found


@pytest.mark.parametrize("name", ["mmseg", "cityscapes"])
def test_an_image_that_is_no_png_keeps_its_pixels_where_the_layout_asks_for_png(tmp_path, name):
    run = made_run(tmp_path / "run", 2)
    source = run / "generate" / "00000" / "000001"
    write_image(source.with_suffix(".jpg"), image_of(1))
    source.with_suffix(".png").unlink()
    for rows in (run / "generate" / "00000", run / "refine-1" / "00000"):
        text = (rows / "metadata.jsonl").read_text(encoding="utf-8")
        text = text.replace('"000001.png", "id": "000001", "prompt"', '"000001.jpg", "id": "000001", "prompt"')
        text = text.replace("generate/00000/000001.png", "generate/00000/000001.jpg")
        (rows / "metadata.jsonl").write_text(text, encoding="utf-8")
    export(opened(run), name, tmp_path / "out")
    [copy] = [row["file_name"] for id_, row in metadata(tmp_path / "out").items() if id_ == "000001"]
    assert copy.endswith(".png") and np.array_equal(read(tmp_path / "out" / copy), read(source.with_suffix(".jpg")))


def test_ade20k_counts_from_one(images, tmp_path):
    export(images, "ade20k", tmp_path / "out", share=0.4)
    folders = {"train": "training", "val": "validation"}
    shown = {name: {"train": 0, "val": 0} for name in CLASSES}
    pixels = np.zeros(256, int)
    for sample, image_HWC, labels_HW in truth(images):
        split = Splits(val_share=0.4).of(sample.id)
        assert np.array_equal(read(tmp_path / "out/images" / folders[split] / f"{sample.path}.png"), image_HWC)
        annotation_HW = read(tmp_path / "out/annotations" / folders[split] / f"{sample.path}.png")
        assert np.array_equal(annotation_HW, np.where(labels_HW == IGNORE, 0, labels_HW + 1))
        pixels += np.bincount(labels_HW.ravel(), minlength=256)
        for id_, name in enumerate(CLASSES):
            shown[name][split] += bool((labels_HW == id_).any())
    with (tmp_path / "out" / "objectInfo.txt").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [(int(row["Idx"]), row["Name"]) for row in rows] == list(enumerate(CLASSES, start=1))
    for id_, row in enumerate(rows):
        assert float(row["Ratio"]) == pytest.approx(pixels[id_] / pixels[: len(CLASSES)].sum(), abs=1e-4)
        assert (int(row["Images train"]), int(row["Images val"])) == tuple(shown[row["Name"]].values())


def test_fiftyone_pairs_data_and_labels_and_never_uses_zero_for_a_class(images, tmp_path):
    export(images, "fiftyone", tmp_path / "out", share=0.4)
    targets = json.loads((tmp_path / "out" / "mask_targets.json").read_text())
    assert targets == {str(id_): name for id_, name in enumerate(CLASSES, start=1)}
    found = {}
    for split in ("train", "val"):
        # as ImageSegmentationDirectory pairs them: the path below each folder, without suffix
        paths = {kind: list((tmp_path / "out" / split / kind).rglob("*.png")) for kind in ("data", "labels")}
        keys = {
            kind: {p.relative_to(tmp_path / "out" / split / kind).with_suffix("").as_posix(): p for p in some}
            for kind, some in paths.items()
        }
        assert keys["data"].keys() == keys["labels"].keys()
        found.update({key: (read(keys["data"][key]), read(keys["labels"][key])) for key in keys["data"]})
    for sample, image_HWC, labels_HW in truth(images):
        image, labels = found.pop(sample.path)
        assert np.array_equal(image, image_HWC)
        assert np.array_equal(labels, np.where(labels_HW == IGNORE, 0, labels_HW + 1))
    assert not found
