"""Exports for Hugging Face and WebDataset, read back by the libraries themselves: every pixel and what is known."""

import io
import json
import tarfile

import numpy as np
import pytest
import yaml
from made_images import CLASSES, IGNORE, export, made_repaint, opened, truth
from PIL import Image

from clouds.export.parts import Splits

datasets = pytest.importorskip("datasets")
SHARE = 0.4


def load(out, tmp_path):
    return datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))


def check(loaded, images):
    """Every item is in its split, with its pixels and its facts."""
    splits = Splits(val_share=SHARE)
    by_id = {one["id"]: (name, one) for name, split in loaded.items() for one in split}
    seen = 0
    for sample, image_HWC, labels_HW in truth(images):
        # Hugging Face calls a split `val` as its folder does, or `validation`
        name, one = by_id[sample.id]
        assert name.startswith(splits.of(sample.id))
        assert np.array_equal(np.asarray(one["image"]), image_HWC)
        assert one["mask"].mode == "L" and np.array_equal(np.asarray(one["mask"]), labels_HW)
        assert {key: one[key] for key in sample.facts} == sample.facts
        seen += 1
    assert seen == len(by_id) == images.total


def test_imagefolder_opens_with_images_masks_and_facts(images, tmp_path):
    export(images, "imagefolder", tmp_path / "out", share=SHARE)
    loaded = load(tmp_path / "out", tmp_path)
    check(loaded, images)
    first = loaded["train"][0]
    assert first["prompt"].startswith("a “street”") and first["seed"] >= 2**62
    assert first["labelled_by"] == "train/model" and first["refined_by"] == "local, sha256 feed"
    assert first["mean_confidence"] == pytest.approx(0.5 + int(first["id"]) / 100)
    assert json.loads((tmp_path / "out" / "id2label.json").read_text()) == {
        str(id_): name for id_, name in enumerate(CLASSES)
    }


def test_imagefolder_opens_by_its_folders_alone(images, tmp_path):
    export(images, "imagefolder", tmp_path / "out", share=SHARE)
    (tmp_path / "out" / "README.md").unlink()
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    check(loaded, images)


def test_a_split_has_the_name_it_is_given(images, tmp_path):
    export(images, "imagefolder", tmp_path / "out", splits=Splits("dusk"))
    assert list(load(tmp_path / "out", tmp_path)) == ["dusk"]


def test_imagefolder_keeps_every_file_as_it_is(images, tmp_path):
    export(images, "imagefolder", tmp_path / "out")
    for sample in images.samples():
        for folder, source in (("images", sample.place.image), ("masks", sample.place.mask)):
            copy = tmp_path / "out" / "train" / folder / f"{sample.path}.png"
            assert copy.read_bytes() == source.read_bytes() and not copy.samefile(source)


def test_links_are_the_same_files(images, tmp_path):
    export(images, "imagefolder", tmp_path / "out", link=True)
    for sample in images.samples():
        assert (tmp_path / "out" / "train" / "images" / f"{sample.path}.png").samefile(sample.place.image)
        assert (tmp_path / "out" / "train" / "masks" / f"{sample.path}.png").samefile(sample.place.mask)


def test_repainted_images_are_labelled_images_too(tmp_path):
    images = opened(made_repaint(tmp_path / "run").parent, "repaint")
    export(images, "imagefolder", tmp_path / "out", share=SHARE)
    loaded = load(tmp_path / "out", tmp_path)
    check(loaded, images)
    assert {one["source"] for split in loaded.values() for one in split} == {f"town-{index}" for index in range(4)}


def test_parquet_opens_with_image_columns_and_class_names(images, tmp_path):
    export(images, "parquet", tmp_path / "out", share=SHARE)
    loaded = load(tmp_path / "out", tmp_path)
    check(loaded, images)
    features = loaded["train"].features
    assert isinstance(features["image"], datasets.Image) and isinstance(features["mask"], datasets.Image)
    assert features["classes"].feature.names == list(CLASSES)
    for one in loaded["train"]:
        assert one["classes"] == sorted(set(np.unique(np.asarray(one["mask"])).tolist()) - {IGNORE})


def test_parquet_is_cut_into_files_of_bounded_size(images, tmp_path, monkeypatch):
    # a megabyte is the smallest bound a user can set; these images are small
    monkeypatch.setattr("clouds.export.parts._OVERHEAD", 400_000)
    export(images, "parquet", tmp_path / "out", shard_mb=1)
    files = sorted((tmp_path / "out" / "data").iterdir())
    assert [path.name for path in files] == [f"train-{number:05d}.parquet" for number in range(4)]
    loaded = load(tmp_path / "out", tmp_path)["train"]
    assert loaded["id"] == [sample.id for sample in images.samples()]


def test_webdataset_reads_every_key(images, tmp_path, monkeypatch):
    webdataset = pytest.importorskip("webdataset")
    monkeypatch.setattr("clouds.export.parts._OVERHEAD", 400_000)
    export(images, "webdataset", tmp_path / "out", shard_mb=1)
    tars = sorted(str(path) for path in (tmp_path / "out").glob("train-*.tar"))
    assert len(tars) == 4
    read = {one["__key__"]: one for one in webdataset.WebDataset(tars, shardshuffle=False)}
    assert list(read) == [sample.id for sample in images.samples()]
    for sample, image_HWC, labels_HW in truth(images):
        one = read[sample.id]
        assert one["png"] == sample.place.image.read_bytes() and one["mask.png"] == sample.place.mask.read_bytes()
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(one["png"]))), image_HWC)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(one["mask.png"]))), labels_HW)
        assert json.loads(one["json"]) == {"id": sample.id, **sample.facts}


def test_webdataset_opens_with_datasets_as_well(images, tmp_path):
    export(images, "webdataset", tmp_path / "out", share=SHARE)
    loaded = load(tmp_path / "out", tmp_path)
    pixels = {one["json"]["id"]: np.asarray(one["png"]) for split in loaded.values() for one in split}
    for sample, image_HWC, _ in truth(images):
        assert np.array_equal(pixels[sample.id], image_HWC)


def test_a_dot_in_an_id_does_not_end_a_webdataset_key(tmp_path):
    folder = made_repaint(tmp_path / "run")
    rows = folder / "00000" / "metadata.jsonl"
    rows.write_text(rows.read_text().replace('"id": "000001"', '"id": "a.b"'))
    export(opened(folder.parent, "repaint"), "webdataset", tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "train-00000.tar") as tar:
        assert {name.partition(".")[0] for name in tar.getnames()} == {"000000", "a%2Eb", "000002", "000003"}


def test_the_card_counts_and_names_sources(images, tmp_path):
    export(images, "imagefolder", tmp_path / "out", share=SHARE)
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---\n")[1])
    assert [one["split"] for one in header["configs"][0]["data_files"]] == ["train", "val"]
    labels = [labels_HW for _, _, labels_HW in truth(images)]
    for id_, name in enumerate(CLASSES):
        pixels = sum(int((labels_HW == id_).sum()) for labels_HW in labels)
        shown = sum(bool((labels_HW == id_).any()) for labels_HW in labels)
        assert f"| {id_} | {name} | {pixels} |" in text and f"| {shown} |" in text
    ignored = sum(int((labels_HW == IGNORE).sum()) for labels_HW in labels)
    assert f"{ignored} pixels" in text
    for source in ("owner/diffuser", "abc123", "train/model", "sha256 feed", "## Licence"):
        assert source in text
