"""Every published data set, read from its own layout and encoding."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published_sets import (
    LABEL_IDS,
    SIZE,
    TRAIN_IDS,
    opened,
    polygon,
    put_cityscapes,
    put_colors,
    put_ids,
    put_image,
    put_palette,
    put_png16,
    put_polygons,
)

from clouds.data.published.reading import PRESETS
from clouds.errors import CloudsError, InputError, UsageError

CAMVID = Path(__file__).resolve().parents[3] / "shared/data/camvid"


def as_list(labels_HW: Any) -> list[int]:
    """The first row, and that the others are alike."""
    assert (labels_HW == labels_HW[0]).all()
    row: list[int] = labels_HW[0].tolist()
    return row


def test_gta5(tmp_path: Path) -> None:
    put_image(tmp_path / "images/00001.png")
    put_palette(tmp_path / "labels/00001.png", np.array([[7, 8, 23, 34, 0, 33]] * 4, np.uint8))
    data = opened("gta5", tmp_path)
    assert data.ids == ["00001"]
    assert data.image(0).shape == (*SIZE, 3)
    assert as_list(data.labels(0)) == [0, 1, 10, 255, 255, 18]
    assert not data.unmatched


def test_gta5_pairs_of_two_sizes_fail_alone(tmp_path: Path) -> None:
    for name, size in (("15188", (3, 6)), ("15189", SIZE)):
        put_image(tmp_path / f"images/{name}.png", size)
        put_palette(tmp_path / f"labels/{name}.png", LABEL_IDS)
    data = opened("gta5", tmp_path)
    with pytest.raises(InputError, match=r"15188\.png are 6x4 pixels.*is 6x3") as caught:
        data.labels(0)
    assert "take the pair out" in caught.value.mend
    assert as_list(data.labels(1)) == as_list(TRAIN_IDS)


def test_gta5_by_folders_and_lists(tmp_path: Path) -> None:
    for split, name in (("train", "00001"), ("val", "00002")):
        put_image(tmp_path / f"images/{split}/{name}.png")
        put_palette(tmp_path / f"labels/{split}/{name}.png", LABEL_IDS)
    assert opened("gta5", tmp_path).ids == ["train__00001", "val__00002"]
    assert opened("gta5", tmp_path, split="val").ids == ["00002"]
    (tmp_path / "names.txt").write_text("# the first\n00001.png\n")
    assert opened("gta5", tmp_path, list=str(tmp_path / "names.txt")).ids == ["train__00001"]


@pytest.mark.parametrize("channels", [2, 3])
def test_synthia(tmp_path: Path, channels: int) -> None:
    ids = np.array([[3, 4, 2, 1, 10, 22]] * 4)
    instances = np.full(SIZE, 40_000)
    put_image(tmp_path / "RGB/0000000.png")
    put_png16(tmp_path / "GT/LABELS/0000000.png", np.stack([ids, instances, instances][:channels], axis=-1))
    # converters leave their results beside the labels
    put_ids(tmp_path / "GT/LABELS/0000000_labelTrainIds.png")
    data = opened("synthia", tmp_path)
    assert data.ids == ["0000000"]
    assert as_list(data.labels(0)) == [0, 1, 2, 10, 11, 255]
    assert not data.unmatched


def test_cityscapes(tmp_path: Path) -> None:
    put_cityscapes(tmp_path)
    put_cityscapes(tmp_path, "train", "ulm", "000001_000019")
    data = opened("cityscapes", tmp_path, split="val")
    assert data.ids == ["lindau__lindau_000000_000019"]
    assert as_list(data.labels(0)) == as_list(TRAIN_IDS)
    names = {"image_suffix": "_leftImg8bit", "label_suffix": "_gtFine_labelIds", "classes": "cityscapes34"}
    folder = opened("folder", tmp_path, images="leftImg8bit/val", labels="gtFine/val", **names)
    assert data.identity() == folder.identity(), "a type is a short way to say a folder"
    assert opened("cityscapes", tmp_path).ids == ["ulm__ulm_000001_000019"], "train, where no split is asked for"


def test_cityscapes_with_train_ids_only_and_in_folders_of_the_archives(tmp_path: Path) -> None:
    put_image(tmp_path / "leftImg8bit_trainvaltest/leftImg8bit/val/ulm/ulm_1_leftImg8bit.png")
    put_ids(tmp_path / "gtFine_trainvaltest/gtFine/val/ulm/ulm_1_gtFine_labelTrainIds.png")
    assert as_list(opened("cityscapes", tmp_path, split="val").labels(0)) == as_list(TRAIN_IDS)


def test_splits_without_labels(tmp_path: Path) -> None:
    put_image(tmp_path / "leftImg8bit/test/berlin/berlin_1_leftImg8bit.png")
    put_image(tmp_path / "leftImg8bit/val/ulm/ulm_1_leftImg8bit.png")
    assert not opened("cityscapes", tmp_path, split="test").labelled
    data = opened("cityscapes", tmp_path, split="val", labels=False)
    assert not data.labelled
    assert data.image(0).shape == (*SIZE, 3)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images/10k/val/a-1.jpg", "labels/sem_seg/masks/val/a-1.png"),
        ("bdd100k/images/10k/val/a-1.jpg", "bdd100k/labels/sem_seg/masks/val/a-1.png"),
        ("seg/images/val/a-1.jpg", "seg/labels/val/a-1_train_id.png"),
    ],
)
def test_bdd100k(tmp_path: Path, images: str, labels: str) -> None:
    put_image(tmp_path / images)
    put_ids(tmp_path / labels)
    data = opened("bdd100k", tmp_path, split="val")
    assert data.ids == ["a-1"]
    assert as_list(data.labels(0)) == as_list(TRAIN_IDS)


@pytest.mark.parametrize("labels", ["validation/labels", "validation/v1.2/labels"])
def test_mapillary_1_2(tmp_path: Path, labels: str) -> None:
    put_image(tmp_path / "validation/images/aa_B-1.jpg")
    put_palette(tmp_path / labels / "aa_B-1.png", np.array([[13, 2, 24, 65, 26, 50]] * 4, np.uint8))
    data = opened("mapillary_v1.2", tmp_path, split="val")
    assert data.ids == ["aa_B-1"]
    assert as_list(data.labels(0)) == [0, 1, 0, 255, 255, 7]
    assert not data.unmatched


def test_mapillary_2_0(tmp_path: Path) -> None:
    put_image(tmp_path / "training/images/x.jpg")
    ids = np.array([[21, 4, 52, 123, 91, 31]] * 4, np.uint8)
    put_palette(tmp_path / "training/v2.0/labels/x.png", ids)
    put_palette(tmp_path / "training/v1.2/labels/x.png", np.full(SIZE, 13, np.uint8))
    assert as_list(opened("mapillary_v2.0", tmp_path).labels(0)) == [0, 1, 0, 255, 6, 11]
    assert as_list(opened("mapillary_v1.2", tmp_path).labels(0)) == [0] * 6


def test_mapillary_names_are_read_from_its_config(tmp_path: Path) -> None:
    put_image(tmp_path / "training/images/x.jpg")
    put_palette(tmp_path / "training/v2.0/labels/x.png", np.array([[0, 1, 2, 0, 1, 2]] * 4, np.uint8))
    names = ["construction--flat--road", "nature--sky", "object--airship"]
    entries = [{"name": name, "readable": name.title(), "color": [1, 2, 3]} for name in names]
    (tmp_path / "config_v2.0.json").write_text(json.dumps({"labels": entries, "version": "2.0"}))
    assert as_list(opened("mapillary_v2.0", tmp_path).labels(0)) == [0, 10, 255, 0, 10, 255]
    data = opened("mapillary_v2.0", tmp_path, run=["airship", "road"])
    assert as_list(data.labels(0)) == [1, 255, 0, 1, 255, 0]
    assert data.unmatched == ("nature--sky",)
    (tmp_path / "config_v2.0.json").write_text('{"labels": [1]}')
    with pytest.raises(CloudsError, match=r"config_v2\.0\.json lists no labels by name"):
        opened("mapillary_v2.0", tmp_path)


def put_acdc(root: Path, condition: str, name: str, ids: Any = TRAIN_IDS, kind: str = "labelTrainIds") -> None:
    put_image(root / f"rgb_anon/{condition}/val/GOPR0475/{name}_rgb_anon.png")
    put_image(root / f"rgb_anon/{condition}/val_ref/GOPR0475/{name}_rgb_ref_anon.png")
    put_ids(root / f"gt/{condition}/val/GOPR0475/{name}_gt_{kind}.png", ids)


@pytest.mark.parametrize(("kind", "ids"), [("labelTrainIds", TRAIN_IDS), ("labelIds", LABEL_IDS)])
def test_acdc_each_condition_and_all(tmp_path: Path, kind: str, ids: Any) -> None:
    for condition in ("fog", "night", "rain", "snow"):
        put_acdc(tmp_path, condition, f"{condition}_frame_1", ids, kind)
    data = opened("acdc", tmp_path, split="val")
    assert data.ids == [f"{one}__GOPR0475__{one}_frame_1" for one in ("fog", "night", "rain", "snow")]
    assert as_list(data.labels(3)) == as_list(TRAIN_IDS)
    for condition in ("fog", "night", "rain", "snow"):
        data = opened("acdc", tmp_path, split="val", condition=condition)
        assert data.ids == [f"GOPR0475__{condition}_frame_1"]
        assert as_list(data.labels(0)) == as_list(TRAIN_IDS)


def test_dark_zurich(tmp_path: Path) -> None:
    put_image(tmp_path / "rgb_anon/val/night/GOPR0356/a_frame_1_rgb_anon.png")
    put_ids(tmp_path / "gt/val/night/GOPR0356/a_frame_1_gt_labelTrainIds.png")
    put_colors(tmp_path / "gt/val/night/GOPR0356/a_frame_1_gt_labelColor.png", np.zeros((*SIZE, 3)))
    data = opened("dark_zurich", tmp_path)
    assert data.ids == ["GOPR0356__a_frame_1"]
    assert as_list(data.labels(0)) == as_list(TRAIN_IDS)
    (tmp_path / "val_filenames.txt").write_text("val/night/GOPR0356/a_frame_1\n")
    assert opened("dark_zurich", tmp_path, list=str(tmp_path / "val_filenames.txt")).ids == data.ids
    put_image(tmp_path / "rgb_anon/train/day/GOPR1/b_rgb_anon.png")
    assert not opened("dark_zurich", tmp_path, split="train", condition="day").labelled


def put_idd(root: Path, name: str = "0_frame100", kind: str = ".png") -> Path:
    put_image(root / f"leftImg8bit/train/12/{name}_leftImg8bit{kind}")
    labels = root / f"gtFine/train/12/{name}_gtFine_polygons.json"
    return put_polygons(
        labels,
        [
            polygon("sky", 0, 0, 5, 1),
            polygon("road", 0, 2, 5, 3),
            polygon("cargroup", 1, 1, 2, 2),
            polygon("autorickshaw", 3, 1, 3, 2),
            polygon("non-drivable fallback", 5, 0, 5, 3),
        ],
    )


def test_idd_polygons(tmp_path: Path) -> None:
    put_idd(tmp_path)
    put_idd(tmp_path, "0_frame101", ".jpg")
    data = opened("idd", tmp_path)
    assert data.ids == ["12__0_frame100", "12__0_frame101"]
    assert data.labels(0).tolist() == [
        [10, 10, 10, 10, 10, 9],
        [10, 13, 13, 255, 10, 9],
        [0, 13, 13, 255, 0, 9],
        [0, 0, 0, 0, 0, 9],
    ]
    assert pickle.loads(pickle.dumps(data)).labels(1).tolist() == data.labels(0).tolist()


def test_idd_pngs_are_read_where_they_are_whole_and_lose_nothing(tmp_path: Path) -> None:
    polygons = put_idd(tmp_path)
    stem = str(polygons).removesuffix("polygons.json")
    put_ids(Path(f"{stem}labellevel3Ids.png"), np.full(SIZE, 25, np.uint8))
    assert (opened("idd", tmp_path).labels(0) == 0).any(), "level 3 unites classes: the polygons tell more"
    put_ids(Path(f"{stem}labelids.png"), np.full(SIZE, 29, np.uint8))
    assert (opened("idd", tmp_path).labels(0) == 2).all()
    put_ids(Path(f"{stem}labelcsTrainIds.png"))
    assert as_list(opened("idd", tmp_path).labels(0)) == as_list(TRAIN_IDS)
    put_idd(tmp_path, "0_frame101")
    assert (opened("idd", tmp_path).labels(0) == 0).any(), "one image has no PNG: all are read from polygons"


def test_idd_level_3_alone(tmp_path: Path) -> None:
    stem = str(put_idd(tmp_path)).removesuffix("polygons.json")
    Path(f"{stem}polygons.json").unlink()
    put_ids(Path(f"{stem}labellevel3Ids.png"), np.array([[0, 2, 8, 24, 25, 255]] * 4, np.uint8))
    assert as_list(opened("idd", tmp_path).labels(0)) == [0, 1, 255, 8, 10, 255]


CAMVID_COLORS = [(128, 128, 128), (0, 128, 64), (192, 0, 64), (64, 192, 0), (192, 128, 192), (0, 0, 0)]


def put_camvid(root: Path) -> None:
    put_image(root / "701_StillsRaw_full/0001TP_006690.png")
    put_colors(root / "LabeledApproved_full/0001TP_006690_L.png", [CAMVID_COLORS] * 4)


def test_camvid_in_colors(tmp_path: Path) -> None:
    put_camvid(tmp_path)
    data = opened("camvid", tmp_path, run="camvid11")
    assert data.ids == ["0001TP_006690"]
    # sky, Bridge, LaneMkgsNonDriv, Wall, Truck_Bus, Void
    assert as_list(data.labels(0)) == [0, 1, 3, 1, 8, 255]
    assert as_list(opened("camvid", tmp_path).labels(0)) == [10, 255, 0, 3, 255, 255]
    assert as_list(opened("camvid", tmp_path, run=["Truck Bus", "wall"]).labels(0)) == [255, 255, 255, 1, 0, 255]


def test_camvid_colors_are_read_from_its_file(tmp_path: Path) -> None:
    put_camvid(tmp_path)
    lines = ["128 128 128\t\tSky", "0 128 64\tBridge", "192 0 64 Airship", "64 192 0 Wall", "192 128 192 Truck_Bus", ""]
    (tmp_path / "label_colors.txt").write_text("\n".join(lines))
    data = opened("camvid", tmp_path, run=["airship", "sky"])
    with pytest.raises(InputError, match=r"colour \(0, 0, 0\) \(4 pixels\)"):
        data.labels(0)
    (tmp_path / "label_colors.txt").write_text("\n".join([*lines, "0 0 0 Void"]))
    assert as_list(opened("camvid", tmp_path, run=["airship", "sky"]).labels(0)) == [1, 255, 0, 255, 255, 255]
    before = opened("camvid", tmp_path).identity()
    swapped = [*lines, "0 0 0 Void"]
    swapped[0], swapped[3] = "64 192 0 Sky", "128 128 128 Wall"
    (tmp_path / "label_colors.txt").write_text("\n".join(swapped))
    after = opened("camvid", tmp_path).identity()
    assert after["ids"] == before["ids"], "the classes have the ids they had"
    assert after != before, "but the colours of others"
    (tmp_path / "label_colors.txt").write_text("1 2 Sky")
    with pytest.raises(CloudsError, match="line 1"):
        opened("camvid", tmp_path)


def test_unknown_colors_by_policy(tmp_path: Path) -> None:
    put_image(tmp_path / "701_StillsRaw_full/1.png")
    put_colors(tmp_path / "LabeledApproved_full/1_L.png", [[(128, 64, 128)] * 5 + [(9, 9, 9)]] * 4)
    with pytest.raises(InputError, match=r"colour \(9, 9, 9\) \(4 pixels\)"):
        opened("camvid", tmp_path).labels(0)
    assert as_list(opened("camvid", tmp_path, unknown="ignore").labels(0)) == [0, 0, 0, 0, 0, 255]


def test_camvid_copies_with_11_classes(tmp_path: Path) -> None:
    ids = np.array([[0, 4, 5, 10, 11, 255]] * 4, np.uint8)
    put_image(tmp_path / "segnet/train/1.png")
    put_ids(tmp_path / "segnet/trainannot/1.png", ids)
    assert as_list(opened("camvid", tmp_path / "segnet", split="train").labels(0)) == [10, 1, 8, 12, 255, 255]
    put_image(tmp_path / "folders/val/images/1.png")
    put_ids(tmp_path / "folders/val/labels/1.png", ids)
    data = opened("camvid", tmp_path / "folders", split="val", run="camvid11")
    assert as_list(data.labels(0)) == [0, 4, 5, 10, 255, 255]
    put_image(tmp_path / "kaggle/val/1.png")
    put_colors(tmp_path / "kaggle/val_labels/1_L.png", [CAMVID_COLORS] * 4)
    assert as_list(opened("camvid", tmp_path / "kaggle", split="val").labels(0)) == [10, 255, 0, 3, 255, 255]
    with pytest.raises(CloudsError, match="not laid out as CamVid") as caught:
        opened("camvid", tmp_path / "segnet")
    assert "set `split`" in caught.value.mend


@pytest.mark.skipif(not CAMVID.is_dir(), reason="the CamVid photographs are not here: shared/data/camvid")
def test_camvid_photographs_open_in_one_line() -> None:
    data = opened("camvid", CAMVID, split="test", run="camvid11")
    assert len(data.ids) == 32
    assert set(np.unique(data.labels(0)).tolist()) <= {*range(11), 255}


@pytest.mark.parametrize("kind", PRESETS)
def test_missing_folders_say_what_was_expected_and_where_to_get_it(tmp_path: Path, kind: str) -> None:
    with pytest.raises(CloudsError, match="is missing") as caught:
        opened(kind, tmp_path / "none")
    assert "http" in caught.value.mend
    (tmp_path / "something.zip").touch()
    with pytest.raises(CloudsError, match=f"is not laid out as {PRESETS[kind].title}: no ") as caught:  # type: ignore[index]
        opened(kind, tmp_path)
    for said in ("expected images ", ", labels ", "found: something.zip", "http"):
        assert said in caught.value.mend


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    put_image(tmp_path / "leftImg8bit/val/ulm/ulm_1_leftImg8bit.png")
    with pytest.raises(CloudsError, match=r"as Cityscapes: no gtFine/val/\n"):
        opened("cityscapes", tmp_path, split="val")
    (tmp_path / "gtFine/val").mkdir(parents=True)
    with pytest.raises(CloudsError, match="none of its 1 images has a label file") as caught:
        opened("cityscapes", tmp_path, split="val")
    assert "gtFine/val/**/*_gtFine_labelIds.png" in caught.value.mend
    put_cityscapes(tmp_path)
    with pytest.raises(CloudsError, match="1 of 2 images have no label file") as caught:
        opened("cityscapes", tmp_path, split="val")
    assert "cityscapes-dataset.com" in caught.value.mend
    with pytest.raises(CloudsError, match="no files of kind") as caught:
        (tmp_path / "leftImg8bit/train").mkdir()
        (tmp_path / "gtFine/train").mkdir()
        opened("cityscapes", tmp_path, split="train")
    assert "expected images leftImg8bit/train/**/*_leftImg8bit.png or .jpg" in caught.value.mend


def test_a_list_may_leave_out_images_without_labels(tmp_path: Path) -> None:
    put_cityscapes(tmp_path)
    put_image(tmp_path / "leftImg8bit/val/ulm/ulm_1_leftImg8bit.png")
    (tmp_path / "val.txt").write_text("leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png gtFine/x.png\n")
    data = opened("cityscapes", tmp_path, split="val", list=str(tmp_path / "val.txt"))
    assert data.ids == ["lindau__lindau_000000_000019"]


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("cityscapes", {"split": "vall"}, "Cityscapes has no split 'vall'; did you mean 'val'"),
        ("acdc", {"condition": "frog"}, "ACDC has no condition 'frog'; did you mean 'fog'"),
        ("gta5", {"condition": "night"}, "GTA5 has no condition 'night'; it was not recorded by conditions"),
        ("cityscapes", {"splitt": "val"}, "unknown key .*splitt.*\n.*did you mean 'split'"),
        ("mapillary", {}, "`type` must be 'folder'.*mapillary_v1.2"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, kind: str, values: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        opened(kind, tmp_path, **values)


def test_a_split_without_folders_asks_for_a_list(tmp_path: Path) -> None:
    put_camvid(tmp_path)
    with pytest.raises(CloudsError, match="not laid out as CamVid: no train/images/ and no train/labels/"):
        opened("camvid", tmp_path, split="train")


def test_a_set_without_root_says_so(tmp_path: Path) -> None:
    from clouds.config import validate
    from clouds.data.table import DataTable

    put_cityscapes(tmp_path)
    tree: dict[str, Any] = {"classes": "cityscapes19", "sets": {"city": {"type": "cityscapes", "split": "val"}}}
    with pytest.raises(UsageError, match="has no `root`"):
        validate(DataTable, tree, "x").open("city")
    assert validate(DataTable, {**tree, "root": str(tmp_path)}, "x").open("city").ids


def test_limit_resize_and_broken_files(tmp_path: Path) -> None:
    put_cityscapes(tmp_path)
    put_cityscapes(tmp_path, frame="000001_000019")
    data = opened("cityscapes", tmp_path, split="val", limit=1, resize=[8, 12])
    assert len(data.ids) == 1
    assert data.labels(0).shape == (8, 12)
    path = Path(data.labels_at[0])  # type: ignore[index]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="damaged or cut off"):
        data.labels(0)


def test_the_documentation_has_every_data_set_with_its_source() -> None:
    text = (Path(__file__).parents[2] / "docs/datasets.md").read_text(encoding="utf-8")
    for kind, preset in PRESETS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{kind}` |"))
        address = next(word.rstrip(",") for word in preset.source.split() if word.startswith("http"))
        assert address in row
        assert f"**{preset.split or 'all'}**" in row
