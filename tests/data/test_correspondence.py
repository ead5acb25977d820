"""What the ids of published data sets become. The tables here are the published conversions, by id, as they stand."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.data.labels import IGNORE, UNKNOWN, LabelLookup, LabelMap
from clouds.data.published.correspondence import lookup_of
from clouds.data.published.preset import Coding
from clouds.data.published.reading import PRESETS
from clouds.errors import UsageError

# train ids of github.com/mcordts/cityscapesScripts; of DAFormer's conversion of SYNTHIA; of RobustNet's loader of
# Mapillary Vistas v1.2; and csTrainId of github.com/AutoNUE/public-code
CITYSCAPES = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13}
CITYSCAPES |= {27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
SYNTHIA = {3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11, 17: 12, 8: 13, 18: 14, 19: 15}
SYNTHIA |= {20: 16, 12: 17, 11: 18}
MAPILLARY = {13: 0, 24: 0, 41: 0, 2: 1, 15: 1, 17: 2, 6: 3, 3: 4, 45: 5, 47: 5, 48: 6, 50: 7, 30: 8, 29: 9, 27: 10}
MAPILLARY |= {19: 11, 20: 12, 21: 12, 22: 12, 55: 13, 61: 14, 54: 15, 58: 16, 57: 17, 52: 18}
IDD = {0: 0, 3: 1, 5: 9, 6: 11, 8: 12, 9: 17, 10: 18, 12: 13, 13: 14, 14: 15, 17: 16, 20: 3, 21: 4, 24: 7, 25: 6, 26: 5}
IDD |= {29: 2, 32: 8, 33: 10}
TRAIN_IDS = {id_: id_ for id_ in range(19)}

# type, number of the coding in its first form, how many ids it has, and what they become in Cityscapes' 19 classes
TABLES: list[tuple[str, int, int, dict[int, int]]] = [
    ("gta5", 0, 35, CITYSCAPES),
    ("synthia", 0, 23, SYNTHIA),
    ("cityscapes", 0, 34, CITYSCAPES),
    ("cityscapes", 1, 19, TRAIN_IDS),
    ("bdd100k", 0, 19, TRAIN_IDS),
    ("mapillary_v1.2", 0, 66, MAPILLARY),
    ("acdc", 0, 19, TRAIN_IDS),
    ("acdc", 1, 34, CITYSCAPES),
    ("dark_zurich", 0, 19, TRAIN_IDS),
    ("idd", 1, 40, IDD),
    ("idd", 2, 40, IDD),
]


def coding_of(kind: Any, number: int) -> Coding:
    return PRESETS[kind].forms[0].codings[number]


@cache
def looked_up(kind: str, number: int, unknown: str) -> LabelLookup:
    found = lookup_of(coding_of(kind, number), LabelMap.of("cityscapes19"), {}, (), "x")
    return found.ignoring_unknown() if unknown == "ignore" else found


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(TABLES),
    st.integers(-3, 300) | st.integers(0, 2**16 + 10) | st.integers(2**24, 2**25 - 1),
    st.sampled_from(["error", "ignore"]),
)
def test_known_ids_become_their_class_and_others_go_by_policy(
    table: tuple[str, int, int, dict[int, int]], id_: int, unknown: str
) -> None:
    kind, number, count, becomes = table
    coding = coding_of(kind, number)
    stored = np.array([[id_]], np.int64)
    found = int(looked_up(kind, number, unknown).translate(stored)[0, 0])
    if id_ in becomes:
        assert found == becomes[id_]
    elif 0 <= id_ < count or id_ in coding.ignore:
        assert found == IGNORE
    else:
        assert found == (UNKNOWN if unknown == "error" else IGNORE)


@pytest.mark.parametrize(("kind", "number", "count", "becomes"), TABLES)
def test_every_published_id(kind: str, number: int, count: int, becomes: dict[int, int]) -> None:
    coding = coding_of(kind, number)
    assert sorted(coding.classes) == list(range(count))
    found = looked_up(kind, number, "error")
    assert {id_: int(found.table[id_]) for id_ in range(count) if found.table[id_] != IGNORE} == becomes
    assert not found.unmatched


def test_mapillary_2_0_follows_1_2() -> None:
    new, old = coding_of("mapillary_v2.0", 0), coding_of("mapillary_v1.2", 0)
    assert sorted(new.classes) == list(range(124))
    found = {name: int(looked_up("mapillary_v2.0", 0, "error").table[id_]) for id_, name in new.classes.items()}
    before = {name: int(looked_up("mapillary_v1.2", 0, "error").table[id_]) for id_, name in old.classes.items()}
    both = found.keys() & before.keys()
    assert before.keys() - both == {
        "human--person",
        "marking--crosswalk-zebra",
        "marking--general",
        "object--billboard",
        "object--traffic-light",
    }
    assert {name: found[name] for name in both} == {name: before[name] for name in both}
    assert found["human--person--person-group"] == before["human--person"]
    assert found["object--traffic-light--cyclists"] == before["object--traffic-light"]
    assert found["marking--discrete--symbol--bicycle"] == before["marking--general"]
    assert found["marking--discrete--crosswalk-zebra"] == before["marking--crosswalk-zebra"] == IGNORE
    assert set(found.values()) == {*range(19), IGNORE}
    # the names of the published file at some of its ids
    assert [new.classes[id_] for id_ in (21, 61, 85, 105, 123)] == [
        "construction--flat--road",
        "nature--sky",
        "object--support--pole",
        "object--vehicle--bicycle",
        "void--unlabeled",
    ]


@pytest.mark.parametrize("kind", PRESETS)
def test_every_correspondence_names_classes_that_are_there(kind: Any) -> None:
    for form in PRESETS[kind].forms:
        for coding in form.codings:
            for names, becomes in coding.becomes.items():
                assert set(becomes.values()) <= set(LabelMap.of(names).names)
                if not kind.startswith(("mapillary", "idd")):
                    assert set(becomes) <= set(coding.classes.values())


def classes_of(kind: str, run: Any, own_map: dict[str, str | None] | None = None, number: int = 0) -> dict[str, str]:
    """The data set's classes that become one of the run's, by name."""
    label_map = LabelMap.of(run)
    coding = coding_of(kind, number)
    found = lookup_of(coding, label_map, own_map or {}, (), "set")
    ids = {name: int(found.table[id_]) for id_, name in coding.classes.items()}
    return {name: label_map.names[id_] for name, id_ in ids.items() if id_ != IGNORE}


def test_another_class_list_goes_by_names_first() -> None:
    run = ["lane", "curb", "road", "sand", "parking"]
    found = classes_of("mapillary_v1.2", run)
    assert found["construction--barrier--curb"] == "curb", "sidewalk in Cityscapes, which this run does not have"
    assert found["nature--sand"] == "sand"
    assert found["construction--flat--parking"] == "parking"
    assert found["marking--general"] == "road"
    found = classes_of("mapillary_v1.2", ["sidewalk", {"name": "kerb", "synonyms": ["curb"]}])
    assert found["construction--barrier--curb"] == "kerb"


def test_a_near_synonym_does_not_undo_what_is_published() -> None:
    # "sand" is a synonym of "terrain" where nothing is published
    assert LabelMap.of("cityscapes19").find("sand") == LabelMap.of("cityscapes19").find("terrain")
    assert "nature--sand" not in classes_of("mapillary_v1.2", "cityscapes19")


def test_parts_of_things_are_not_taken_for_things() -> None:
    found = classes_of("mapillary_v2.0", ["bicycle", "pedestrians", "back"])
    assert found == {"object--vehicle--bicycle": "bicycle"}


def test_camvid_becomes_either_list() -> None:
    assert classes_of("camvid", "camvid11")["Truck_Bus"] == "car"
    assert "Truck_Bus" not in classes_of("camvid", "cityscapes19")
    assert classes_of("camvid", "camvid11")["Wall"] == "building"
    assert classes_of("camvid", "cityscapes19")["Wall"] == "wall"
    assert set(classes_of("camvid", "camvid11").values()) == set(LabelMap.of("camvid11").names)


def test_sets_of_cityscapes_classes_become_camvids() -> None:
    found = classes_of("cityscapes", "camvid11")
    assert found["sidewalk"] == "pavement"
    assert found["vegetation"] == "tree"
    assert found["rider"] == "bicyclist"
    assert "bicycle" not in found


def test_the_configs_map_comes_first() -> None:
    found = classes_of(
        "mapillary_v1.2", "cityscapes19", {"nature--sand": "terrain", "Curb": None, "wheeled slow": "car"}
    )
    assert found["nature--sand"] == "terrain"
    assert "construction--barrier--curb" not in found
    assert found["object--vehicle--wheeled-slow"] == "car"
    assert classes_of("synthia", "cityscapes19", {"Lanemarking": "road"})["lanemarking"] == "road"
    with pytest.raises(UsageError, match="`map` names 'sandd'"):
        classes_of("mapillary_v1.2", "cityscapes19", {"sandd": "terrain"})
    with pytest.raises(UsageError, match="no class 'carr'"):
        classes_of("mapillary_v1.2", "cityscapes19", {"sand": "carr"})


def test_a_counterpart_that_the_run_lacks_is_told() -> None:
    found = lookup_of(coding_of("synthia", 0), LabelMap.of(["road", "human"]), {}, (), "x")
    assert "sky" in found.unmatched
    assert "void" not in found.unmatched
    run = LabelMap.of(["road", {"name": "human", "synonyms": ["pedestrian"]}])  # type: ignore[list-item]
    found = lookup_of(coding_of("synthia", 0), run, {}, (), "x")
    assert found.table[10] == 1
