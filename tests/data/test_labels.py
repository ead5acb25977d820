import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.config import ConfigModel, dump_yaml, flatten, validate
from clouds.data.label_maps import CLASS_LISTS, LABEL_MAPS
from clouds.data.labels import IGNORE, UNKNOWN, LabelClass, LabelMap, LabelMapConfig
from clouds.errors import UsageError


class Holder(ConfigModel):
    classes: LabelMapConfig


def names_of(*names: str) -> LabelMap:
    return LabelMap.of(names)


@pytest.mark.parametrize(("name", "count"), [("cityscapes19", 19), ("street11", 11), ("camvid11", 11)])
def test_built_in_maps_have_contiguous_ids_and_distinct_colours(name: str, count: int) -> None:
    label_map = LabelMap.of(name)
    assert label_map.num_classes == count
    assert list(label_map.id2label) == list(range(count))
    assert len({one.color for one in label_map.classes}) == count


def test_cityscapes_ids_and_colours_are_the_benchmarks() -> None:
    label_map = LabelMap.of("cityscapes19")
    assert (label_map.find("road"), label_map.find("sky"), label_map.find("bicycle")) == (0, 10, 18)
    assert label_map.palette[13].tolist() == [0, 0, 142]
    assert label_map.palette[255].tolist() == [0, 0, 0]


def test_names_match_by_identity_never_by_part() -> None:
    label_map = LabelMap.of("cityscapes19")
    assert label_map.find("bushes") == label_map.find("vegetation") != label_map.find("bus")
    assert label_map.find("  Traffic_Sign ") == label_map.find("traffic sign")
    assert label_map.find("car") == 13
    assert label_map.find("ca") is None
    assert label_map.find("carpet") is None


def test_camvid_names_find_their_cityscapes_classes() -> None:
    lookup = LabelMap.of("cityscapes19").match(dict(enumerate(CLASS_LISTS["camvid11"])))
    cityscapes = LabelMap.of("cityscapes19").names
    found = {CLASS_LISTS["camvid11"][stored]: cityscapes[lookup.table[stored]] for stored in range(11)}
    assert found["pavement"] == "sidewalk"
    assert found["tree"] == "vegetation"
    assert found["sign symbol"] == "traffic sign"
    assert found["pedestrian"] == "person"
    assert found["bicyclist"] == "rider"


def test_bicyclist_is_no_bicycle_unless_mapped() -> None:
    street = LabelMap.of("street11")
    camvid = dict(enumerate(CLASS_LISTS["camvid11"]))
    lookup = street.match(camvid)
    assert lookup.unmatched == ("bicyclist",)
    assert lookup.table[10] == IGNORE
    mapped = street.match(camvid, {"Bicyclist": "bicycle"})
    assert mapped.unmatched == ()
    assert mapped.table[10] == street.find("bicycle")


def test_raw_cityscapes_ids_become_train_ids() -> None:
    label_map = LabelMap.of("cityscapes19")
    lookup = label_map.match(dict(enumerate(CLASS_LISTS["cityscapes34"])), ignore_ids=(255,))
    train_ids = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12}
    train_ids |= {26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    assert {stored: own for stored, own in enumerate(lookup.table[:34].tolist()) if own != IGNORE} == train_ids


def test_overrides_may_ignore_and_ids_without_class_stay_unknown() -> None:
    lookup = names_of("a", "b").match({3: "a", 7: "b"}, {"b": None}, ignore_ids=(9,))
    assert lookup.translate(np.array([[3, 7, 9, 4]], np.uint8)).tolist() == [[0, IGNORE, IGNORE, UNKNOWN]]
    assert lookup.unmatched == ()
    assert lookup.describe() == {"3": 0, "7": 255, "9": 255}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_translate_takes_any_integer_type(dtype: type) -> None:
    lookup = names_of("a", "b").match({0: "b", 5: "a"})
    assert lookup.translate(np.array([[0, 5, 6]], dtype)).tolist() == [[1, 0, UNKNOWN]]


def test_translate_marks_ids_that_no_file_can_mean() -> None:
    lookup = names_of("a").match({0: "a"})
    assert lookup.translate(np.array([[-1, 0, 65536]])).tolist() == [[UNKNOWN, 0, UNKNOWN]]


@pytest.mark.parametrize(
    ("names", "overrides", "ignored", "said"),
    [
        ({0: "a", 1: "A"}, {}, (), "two ids, 0 and 1"),
        ({0: "a"}, {"sky": "b"}, (), "names 'sky', which is none of its classes"),
        ({0: "a"}, {"a": "c"}, (), "no class 'c'"),
        ({0: "a"}, {}, (0,), "id 0 is class 'a' and ignored"),
        ({70000: "a"}, {}, (), "id 70000 cannot stand in a label file"),
    ],
)
def test_contradictions_are_named(names: dict, overrides: dict, ignored: tuple, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        names_of("a", "b").match(names, overrides, ignored, where="data set 'x'")
    assert caught.value.message.startswith("data set 'x'")
    assert caught.value.mend


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (["tree", {"name": "plant", "synonyms": ["Tree"]}], "'tree' stands for two classes: 'tree', 'plant'"),
        (["a", "a"], "stands for two classes"),
        (["ignore"], "is no name for a class"),
        ([], "0 classes"),
        ("cityscape19", "did you mean 'cityscapes19'"),
        (7, "give a list of class names, or one of"),
        ([{"name": "a", "colour": [0, 0, 0]}], "did you mean 'color'"),
        ([{"name": "a", "color": [0, 0, 256]}], "256"),
    ],
)
def test_bad_class_lists_are_explained(classes: object, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        validate(Holder, {"classes": classes}, "run.yaml")
    assert said in str(caught.value)


def test_config_expands_names_and_survives_its_own_dump() -> None:
    config = validate(Holder, {"classes": ["sky", {"name": "car", "color": [1, 2, 3], "synonyms": ["auto"]}]}, "x")
    label_map = LabelMap.of(config.classes)
    assert label_map.names == ("sky", "car")
    assert label_map.classes[1] == LabelClass("car", 1, (1, 2, 3), ("auto",))
    built_in = validate(Holder, {"classes": "camvid11"}, "x")
    assert Holder.model_validate(built_in.model_dump(mode="json")) == built_in
    assert "sign symbol" in dump_yaml(built_in)


def test_colours_stay_out_of_fingerprints() -> None:
    first = validate(Holder, {"classes": [{"name": "a", "color": [1, 2, 3]}]}, "x")
    second = validate(Holder, {"classes": ["a"]}, "x")
    assert list(flatten(first)) == list(flatten(second))
    assert LabelMap.of(first.classes).describe() == LabelMap.of(second.classes).describe()


def test_missing_colours_are_far_apart_and_always_the_same() -> None:
    names = [f"class {position}" for position in range(40)]
    colors = np.array([one.color for one in LabelMap.of(names).classes], int)
    distance = np.abs(colors[:, None] - colors[None]).sum(-1) + 1000 * np.eye(40, dtype=int)
    assert distance.min() > 60
    assert LabelMap.of(names) == LabelMap.of(names)


def test_ids_must_be_positions() -> None:
    with pytest.raises(ValueError, match="position"):
        LabelMap((LabelClass("a", 1, (0, 0, 0)),))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(sorted(CLASS_LISTS["cityscapes34"])), min_size=1, max_size=34, unique=True))
def test_own_names_come_back_through_any_order_of_ids(names: list[str]) -> None:
    run = LabelMap.of("cityscapes19")
    lookup = run.match(dict(enumerate(names)))
    own = [run.names[id_] if id_ != IGNORE else None for id_ in lookup.table[: len(names)].tolist()]
    assert own == [name if name in run.names else None for name in names]
    assert (lookup.table[len(names) :] == UNKNOWN).all()


def test_own_lookup_is_the_identity() -> None:
    label_map = LabelMap.of("street11")
    stored = np.array([[*range(11), 255]], np.uint8)
    assert label_map.own_lookup().translate(stored).tolist() == stored.tolist()


def test_every_built_in_map_is_a_class_list() -> None:
    assert all(CLASS_LISTS[name] == LabelMap.of(name).names for name in LABEL_MAPS)


def test_plain_names_bring_the_synonyms_they_have_in_cityscapes():
    mine = LabelMap.of(["road", "vegetation", "person", "tree", "barrel"])
    assert mine.find("pedestrian") == 2
    assert mine.find("street") == 0
    assert mine.find("trees") == 1
    assert mine.find("tree") == 3, "a class's own name is no synonym of another"
    assert mine.classes[4].synonyms == ()
    assert mine.match({0: "roadway", 1: "pedestrian"}).unmatched == ()
