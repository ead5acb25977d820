import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clouds.config import dump_yaml, load_tree, validate
from clouds.data.images import write_image, write_labels
from clouds.data.labels import IGNORE, LabelMap
from clouds.data.samples import Dataset
from clouds.data.table import DataTable, open_dataset
from clouds.data.world import CLASSES, COLORS, DOMAINS, Scene, render_scene
from clouds.data.world_set import WorldConfig, WorldDataset
from clouds.errors import CloudsError, UsageError

TABLE = """
classes: street11
sets:
  fog: {type: world, domain: fog, count: 3, first: 17}
  mine: {type: folder, root: pictures}
"""


def table(**sets: Any) -> DataTable:
    return validate(DataTable, {"classes": "street11", "sets": sets}, "run.yaml")


def world(label_map: str = "street11", **values: Any) -> WorldDataset:
    config = WorldConfig(**{"domain": "source", "count": 4, "height": 32, "width": 48, **values})
    data = open_dataset("streets", config, LabelMap.of(label_map))
    assert isinstance(data, WorldDataset)
    return data


def test_street11_is_the_worlds_own_map() -> None:
    label_map = LabelMap.of("street11")
    assert label_map.names == tuple(CLASSES)
    assert [one.color for one in label_map.classes] == [tuple(color) for color in COLORS]


def test_a_table_in_yaml_opens_every_kind(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(TABLE)
    (tmp_path / "pictures/images").mkdir(parents=True)
    (tmp_path / "pictures/labels").mkdir()
    write_image(tmp_path / "pictures/images/1.png", np.zeros((4, 5, 3), np.uint8))
    write_labels(tmp_path / "pictures/labels/1.png", np.zeros((4, 5), np.uint8))
    config = validate(DataTable, load_tree(tmp_path / "run.yaml"), "run.yaml")
    for name, count in (("fog", 3), ("mine", 1)):
        data: Dataset = config.open(name)
        assert data.name == name
        assert len(data.ids) == count
        assert data.image(0).shape[:2] == data.labels(0).shape
    (tmp_path / "resolved.yaml").write_text(dump_yaml(config))
    assert validate(DataTable, load_tree(tmp_path / "resolved.yaml"), "resolved.yaml") == config


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"type": "foldr", "root": "x"}, "'sets.a': `type` must be 'folder'"),
        ({"root": "x"}, "'sets.a': `type` must be 'folder'"),
        ({"type": "folder", "rot": "x"}, "did you mean 'root'"),
        ({"type": "world", "domain": "fog", "count": 0}, "count' = 0"),
        ({"type": "folder", "root": "x", "resize": [0, 4]}, "resize.0' = 0"),
        ({"type": "folder", "root": "x", "classes": "camvid"}, "no class list is named 'camvid'"),
        ({"type": "folder", "root": "x", "classes": {"sky": 0}}, "sky"),
    ],
)
def test_bad_entries_are_explained(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        table(a=bad)
    assert said in str(caught.value)


def test_unknown_sets_name_the_nearest_and_unknown_domains_the_list() -> None:
    config = table(
        fog={"type": "world", "domain": "fog", "count": 1}, lost={"type": "world", "domain": "fgo", "count": 1}
    )
    with pytest.raises(UsageError, match="no data set is named 'frog'") as caught:
        config.open("frog")
    assert caught.value.mend == "did you mean 'fog'?"
    with pytest.raises(UsageError, match="'lost': the world has no domain 'fgo'") as caught:
        config.open("lost")
    assert caught.value.mend.startswith("choose one of: fog, ")
    assert set(caught.value.mend.removeprefix("choose one of: ").split(", ")) == set(DOMAINS)
    with pytest.raises(CloudsError, match="the world has no domain 'mars'") as caught:
        render_scene("mars", 0)
    assert len(caught.value.mend.split(", ")) == len(DOMAINS)


def test_sets_open_in_the_order_asked_for_and_names_are_checked() -> None:
    config = table(a={"type": "world", "domain": "fog", "count": 1}, b={"type": "world", "domain": "rain", "count": 2})
    assert [(name, len(data.ids)) for name, data in config.open_all(["b", "a"]).items()] == [("b", 2), ("a", 1)]
    config.check_names({"train.data": ["a", "b"]})
    with pytest.raises(ValueError, match=r"train\.data names the data set 'c'"):
        config.check_names({"train.data": ["a", "c"]})


def test_scenes_are_the_worlds_in_every_order() -> None:
    data = world(domain="night", first=5, seed=3)
    assert data.ids == ["night-000005", "night-000006", "night-000007", "night-000008"]
    scene = render_scene("night", 7, seed=3, height=32, width=48)
    for index in (2, 0, 2):
        data.image(index)
    assert (data.image(2) == scene.image_HWC).all()
    assert (data.labels(2) == scene.labels_HW).all()
    assert data.caption(2) == scene.caption
    assert data.stamp(2) == ""
    with pytest.raises(IndexError):
        data.image(4)


def test_scenes_take_the_runs_ids() -> None:
    data, plain = world("camvid11", map={"bicycle": "bicyclist", "fence": None}), world()
    assert data.lookup.unmatched == ()
    for index in range(4):
        own_HW, camvid_HW = plain.labels(index), data.labels(index)
        assert camvid_HW.dtype == np.uint8
        for name, id_ in (("sidewalk", 4), ("traffic sign", 6), ("fence", IGNORE), ("bicycle", 10), ("road", 3)):
            assert (camvid_HW[own_HW == CLASSES.index(name)] == id_).all()
    assert world("camvid11").lookup.unmatched == ("bicycle",)


def test_scenes_have_an_identity_without_their_number() -> None:
    assert world(count=1).identity() == world(count=2, first=9).identity()
    for change in ({"domain": "rain"}, {"seed": 1}, {"height": 33}, {"map": {"car": None}}):
        assert world(**change).identity() != world().identity()


@pytest.mark.parametrize("domain", sorted(DOMAINS))
def test_every_domain_opens(domain: str) -> None:
    data = world(domain=domain, count=1)
    assert data.image(0).shape == (32, 48, 3)
    assert data.labels(0).shape == (32, 48)
    assert pickle.loads(pickle.dumps(data)).caption(0) == data.caption(0)


def test_sets_without_a_root_start_from_the_tables(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "photos" / folder / "one.png")
    table = DataTable.model_validate({"classes": ["road"], "root": str(tmp_path), "sets": {
        "own": {"type": "folder", "root": str(tmp_path / "photos")},
        "shared": {"type": "folder", "images": "photos/images", "labels": "photos/labels"},
    }})  # fmt: skip
    assert list(table.open("own").ids) == list(table.open("shared").ids) == ["one"]


def test_a_set_without_any_root_says_so() -> None:
    table = DataTable.model_validate({"classes": ["road"], "sets": {"a": {"type": "folder"}}})
    with pytest.raises(UsageError, match="data set 'a' has no `root`"):
        table.open("a")


def test_scenes_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []

    def render(domain: str, number: int, **options: int) -> Scene:
        rendered.append(number)
        return render_scene(domain, number, seed=0, height=32, width=48)

    monkeypatch.setattr("clouds.data.world_set.render_scene", render)
    monkeypatch.setattr("clouds.data.world_set._KEPT_BYTES", 2 * 8 * 32 * 48)
    data = world()
    for index in (0, 1, 0, 1, 2, 1, 2, 0):
        data.image(index)
    assert rendered == [0, 1, 2, 0]
