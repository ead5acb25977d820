import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.config import validate
from clouds.data.folder import FolderConfig, open_folder
from clouds.data.images import write_image, write_labels
from clouds.data.labels import LabelMap
from clouds.data.paired import PairedFiles
from clouds.errors import CloudsError, InputError, UsageError

CAMVID = Path(__file__).resolve().parents[3] / "shared" / "data" / "camvid"
CAMVID_CLASSES = [
    *("sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist"),
    "unlabelled",
]
RUN = LabelMap.of(["road", "sky", {"name": "car", "synonyms": ["auto"]}])  # type: ignore[list-item]


def put(root: Path, where: str, array: np.ndarray) -> Path:
    path = root / where
    path.parent.mkdir(parents=True, exist_ok=True)
    (write_labels if array.ndim == 2 else write_image)(path, array)
    return path


def image(height: int = 4, width: int = 6, level: int = 9) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def labels(height: int = 4, width: int = 6, value: int = 1) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def opened(root: Path, **values: Any) -> PairedFiles:
    config = validate(FolderConfig, {"type": "folder", "root": str(root), **values}, "test")
    return open_folder("mine", config, RUN)


def test_nested_folders_pair_by_path_and_sort_by_id(tmp_path: Path) -> None:
    for name in ("b/2", "a/1", "c"):
        put(tmp_path, f"images/{name}.jpg", image())
        put(tmp_path, f"labels/{name}.png", labels())
    (tmp_path / "images/notes.txt").write_text("no image")
    (tmp_path / "images/.hidden.png").write_bytes(b"")
    data = opened(tmp_path)
    assert data.ids == ["a__1", "b__2", "c"]
    assert data.name == "mine"
    assert data.image(0).shape == (4, 6, 3)
    assert (data.labels(1) == 1).all()


def test_cityscapes_like_names_pair_by_suffix(tmp_path: Path) -> None:
    for name in ("aachen/aachen_1", "bochum/bochum_2"):
        put(tmp_path, f"leftImg8bit/val/{name}_leftImg8bit.png", image())
        put(tmp_path, f"gtFine/val/{name}_gtFine_labelIds.png", labels(value=7))
        put(tmp_path, f"gtFine/val/{name}_gtFine_color.png", image())
    data = opened(
        tmp_path,
        images="leftImg8bit/val",
        labels="gtFine/val",
        image_suffix="_leftImg8bit",
        label_suffix="_gtFine_labelIds",
        classes="cityscapes34",
    )
    assert data.ids == ["aachen__aachen_1", "bochum__bochum_2"]
    assert (data.labels(0) == RUN.find("road")).all()


@pytest.mark.parametrize(
    ("images_at", "labels_at"),
    [("*/images/*.png", "*/labels/*.png"), ("**/images/*.png", "**/labels/*"), ("*/images/**/*.png", "*/labels/**")],
)
def test_patterns_pair_by_what_their_wildcards_match(tmp_path: Path, images_at: str, labels_at: str) -> None:
    for town in ("a", "b"):
        put(tmp_path, f"{town}/images/1.png", image())
        put(tmp_path, f"{town}/labels/1.png", labels())
    data = opened(tmp_path, images=images_at, labels=labels_at)
    assert data.ids == ["a__1", "b__1"]
    assert data.images_at[1] == str(tmp_path / "b/images/1.png")
    assert data.labels_at is not None
    assert data.labels_at[1] == str(tmp_path / "b/labels/1.png")


def test_one_folder_may_hold_both(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", image())
    put(tmp_path, "1_label.png", labels())
    assert opened(tmp_path, images="*.jpg", labels=".", label_suffix="_label").ids == ["1"]


def test_class_ids_become_the_runs(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", image(1, 5))
    put(tmp_path, "labels/1.png", np.array([[3, 5, 6, 8, 255]], np.uint8))
    data = opened(tmp_path, classes={3: "Auto", 5: "street", 6: "sky", 8: "moon"}, map={"street": "road"})
    assert data.labels(0).tolist() == [[2, 0, 1, 255, 255]]
    assert data.lookup.unmatched == ("moon",)


def test_lists_number_classes_from_zero_and_ignore_lists_further_ids(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", image(1, 3))
    put(tmp_path, "labels/1.png", np.array([[0, 1, 11]], np.uint8))
    assert opened(tmp_path, classes=["sky", "car"], ignore=[11]).labels(0).tolist() == [[1, 2, 255]]


def test_limit_and_resize(tmp_path: Path) -> None:
    for position, size in enumerate([(8, 12), (4, 6), (5, 5)]):
        put(tmp_path, f"images/{position}.png", image(*size))
        put(tmp_path, f"labels/{position}.png", labels(*size))
    data = opened(tmp_path, limit=2, resize=[4, 6])
    assert data.ids == ["0", "1"]
    assert data.image(0).shape == (4, 6, 3)
    assert data.labels(0).tolist() == labels().tolist()
    assert data.identity()["resize"] == [4, 6]


def test_sets_without_labels(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", image())
    data = opened(tmp_path, labels=None)
    assert not data.labelled
    assert data.image(0).shape == (4, 6, 3)
    with pytest.raises(InputError, match="'mine' has no labels"):
        data.labels(0)


def test_missing_folders_say_what_is_there(tmp_path: Path) -> None:
    put(tmp_path, "photos/1.png", image())
    with pytest.raises(CloudsError, match=r"`images`.*images is missing") as caught:
        opened(tmp_path)
    assert "photos/" in caught.value.mend
    with pytest.raises(CloudsError, match=r"`labels`.*labels is missing"):
        opened(tmp_path, images="photos")
    with pytest.raises(CloudsError, match="is missing") as caught:
        opened(tmp_path / "nowhere" / "at-all")
    assert f"{tmp_path} holds: photos/" in caught.value.mend
    with pytest.raises(CloudsError, match="a file, not a folder"):
        opened(tmp_path, images="photos/1.png")


def test_folders_without_images_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(CloudsError, match="no files of kind") as caught:
        opened(tmp_path, labels=None)
    assert "found there: nothing" in caught.value.mend
    put(tmp_path, "images/1.png", image())
    with pytest.raises(CloudsError, match="names end in '_rgb'"):
        opened(tmp_path, labels=None, image_suffix="_rgb")


def test_images_without_label_are_counted_and_shown(tmp_path: Path) -> None:
    for position in range(8):
        put(tmp_path, f"images/{position}.png", image())
    put(tmp_path, "labels/3.png", labels())
    with pytest.raises(CloudsError, match="7 of 8 images have no label file") as caught:
        opened(tmp_path)
    assert "5.png" in caught.value.message
    assert "6.png" not in caught.value.message
    assert "label_suffix" in caught.value.mend


def test_two_files_of_one_id_are_an_error(tmp_path: Path) -> None:
    put(tmp_path, "images/a/1.png", image())
    put(tmp_path, "images/a__1.png", image())
    with pytest.raises(CloudsError, match="both give the id 'a__1'"):
        opened(tmp_path, labels=None)


def test_wrong_class_names_are_named_when_opened(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", image())
    put(tmp_path, "labels/1.png", labels())
    with pytest.raises(UsageError, match=r"data set 'mine'.*no class 'raod'") as caught:
        opened(tmp_path, classes=["street"], map={"street": "raod"})
    assert "did you mean 'road'" in caught.value.mend
    with pytest.raises(UsageError, match="without `classes`"):
        opened(tmp_path, map={"street": "road"})
    with pytest.raises(UsageError, match="no class list is named 'camvid'"):
        opened(tmp_path, classes="camvid")


def test_one_bad_item_leaves_the_others(tmp_path: Path) -> None:
    for name in ("good", "ids", "size", "cut"):
        put(tmp_path, f"images/{name}.png", image())
        put(tmp_path, f"labels/{name}.png", labels())
    bad_ids = labels()
    bad_ids[0, :2] = 77
    put(tmp_path, "labels/ids.png", bad_ids)
    put(tmp_path, "labels/size.png", labels(4, 5))
    cut = tmp_path / "images/cut.png"
    cut.write_bytes(cut.read_bytes()[:45])
    data = opened(tmp_path)
    assert data.ids == ["cut", "good", "ids", "size"]
    assert (data.labels(1) == 1).all()
    with pytest.raises(InputError, match="damaged or cut off"):
        data.image(0)
    with pytest.raises(InputError, match=r"ids\.png.*77 \(2 pixels\)") as caught:
        data.labels(2)
    assert "`ignore`" in caught.value.mend
    with pytest.raises(InputError, match=r"size\.png are 5x4 pixels.*is 6x4"):
        data.labels(3)


def test_stamps_follow_the_files(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", image())
    label_path = put(tmp_path, "labels/1.png", labels())
    data = opened(tmp_path)
    before = data.stamp(0)
    assert before == data.stamp(0)
    os.utime(label_path, ns=(1, 1))
    assert data.stamp(0) == before, "a copy is the same data, whenever it was made"
    label_path.write_bytes(label_path.read_bytes() + b"0")
    assert data.stamp(0) != before
    label_path.unlink()
    assert data.stamp(0).endswith("missing")


def test_identity_holds_what_ids_mean(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", image())
    put(tmp_path, "labels/1.png", labels())
    plain, mapped = opened(tmp_path, classes=["sky"]), opened(tmp_path, classes=["sky"], map={"sky": None})
    assert plain.lookup.describe() == {"0": 1, "255": 255}
    assert mapped.lookup.describe() == {"0": 255, "255": 255}
    assert plain.identity()["ids"] != mapped.identity()["ids"]
    assert plain.identity() == opened(tmp_path, classes=["sky"]).identity()


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.png", image())
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "town").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "loop").symlink_to(tmp_path / "images")
    assert opened(tmp_path, labels=None).ids == ["town__1"]


def test_data_sets_can_go_to_worker_processes(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", image())
    put(tmp_path, "labels/1.png", labels())
    data = pickle.loads(pickle.dumps(opened(tmp_path)))
    assert (data.labels(0) == 1).all()


def test_paired_files_take_images_and_labels_from_two_places(tmp_path: Path) -> None:
    image_path = put(tmp_path, "generated/0.png", image())
    label_path = put(tmp_path, "refined/0.png", labels(value=255))
    data = PairedFiles(name="joint", ids=["0"], images_at=[image_path], labels_at=[label_path], lookup=RUN.own_lookup())
    assert data.image(0).shape == (4, 6, 3)
    assert (data.labels(0) == 255).all()
    with pytest.raises(ValueError, match="differ in number"):
        PairedFiles(name="joint", ids=["0"], images_at=[], labels_at=None, lookup=RUN.own_lookup())


NAMES = st.text("abc_.", min_size=1, max_size=6).filter(lambda name: name.strip("._") != "" and name[0] != ".")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), min_size=1, max_size=6, unique=True))
def test_any_names_pair_or_clash_aloud(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    root = tmp_path_factory.mktemp("pairs")
    for name in names:
        # nothing decodes these files: names alone decide
        for path in (root / f"images/{name}.x.jpg", root / f"labels/{name}.x.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    ids = sorted(f"{name.replace('/', '__')}.x" for name in names)
    if len(set(ids)) < len(ids):
        with pytest.raises(CloudsError, match="both give the id"):
            opened(root)
        return
    data = opened(root)
    assert data.ids == ids
    assert data.labels_at is not None
    for image_path, label_path in zip(data.images_at, data.labels_at, strict=True):
        assert Path(image_path).relative_to(root / "images").with_suffix(".png") == Path(label_path).relative_to(
            root / "labels"
        )


@pytest.mark.skipif(not CAMVID.is_dir(), reason="the CamVid photographs are not here: shared/data/camvid")
@pytest.mark.parametrize("classes", [CAMVID_CLASSES, "camvid11"])
def test_camvid_opens_in_ten_lines(classes: list[str] | str) -> None:
    values: dict[str, Any] = {"root": str(CAMVID / "test"), "classes": classes}
    values["ignore"] = [11] if classes == "camvid11" else []
    label_map = LabelMap.of("camvid11")
    data = open_folder("camvid", validate(FolderConfig, values, "test"), label_map)
    assert len(data.ids) == 32
    assert data.image(0).shape == (360, 480, 3)
    seen = set(np.unique(np.stack([data.labels(index) for index in range(len(data.ids))])).tolist())
    assert seen <= {*range(11), 255}
    assert {0, 1, 3, 255} <= seen


@pytest.mark.skipif(not CAMVID.is_dir(), reason="the CamVid photographs are not here: shared/data/camvid")
def test_camvid_without_its_unlabelled_id_says_so() -> None:
    config = validate(FolderConfig, {"root": str(CAMVID / "test"), "classes": "camvid11"}, "test")
    data = open_folder("camvid", config, LabelMap.of("camvid11"))
    with pytest.raises(InputError, match=r"no class of data set 'camvid': 11 \(\d+ pixels\)"):
        [data.labels(index) for index in range(len(data.ids))]
