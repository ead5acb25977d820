"""What captions name and labels show: the table of words against the world's own captions and labels."""

import numpy as np
import pytest

from clouds.data.labels import LabelMap
from clouds.data.world import CLASSES, caption_words, render_scene
from clouds.pretraining.recognition import (
    THINGS,
    brightness,
    found_things,
    named_things,
    recognition,
)

WORLD = LabelMap.of(list(CLASSES))


@pytest.fixture(scope="module")
def scenes():
    return [render_scene("web", number, height=64, width=128) for number in range(40)]


def test_every_word_of_the_table_is_one_of_the_captions():
    known = set(caption_words())
    assert {word for thing in THINGS for words in thing.words for word in words.split()} <= known


def test_what_the_caption_names_is_in_the_true_labels(scenes):
    for scene in scenes:
        assert named_things(scene.caption) <= found_things(scene.labels_HW, WORLD), scene.caption


def test_true_labels_show_large_things_where_the_caption_names_them_only(scenes):
    large = {"trees", "fence", "buildings"}
    for scene in scenes:
        assert found_things(scene.labels_HW, WORLD) & large == named_things(scene.caption) & large, scene.caption


def test_everything_is_named_by_some_caption(scenes):
    said = set().union(*(named_things(scene.caption) for scene in scenes))
    assert said == {thing.name for thing in THINGS}


def test_words_within_words_name_nothing():
    assert named_things("a city street at noon with a yellow carpet and a defence") == frozenset()
    assert named_things("a street with two cars, the nearest red, and low houses") == {"car", "buildings"}


def test_a_class_the_judge_does_not_know_is_never_found():
    labels_HW = np.zeros((8, 16), np.uint8)
    assert found_things(labels_HW, LabelMap.of(["car", "road"])) == {"car"}


def test_a_thing_needs_its_share_of_the_picture():
    labels_HW = np.zeros((64, 128), np.uint8)
    fence = CLASSES.index("fence")
    labels_HW.flat[:81] = fence
    assert "fence" not in found_things(labels_HW, WORLD)
    labels_HW.flat[81] = fence
    assert "fence" in found_things(labels_HW, WORLD)


def test_recall_is_of_the_named_and_false_alarms_are_of_the_others():
    captions = ["a street with a car", "a street with a car and trees", "a street", "a street"]
    found = [frozenset({"car"}), frozenset({"trees"}), frozenset({"car"}), frozenset()]
    result = recognition(captions, found)
    assert result["pictures"] == 4
    assert result["things"]["car"] == {"named": 2, "recall": 0.5, "false_alarms": 0.5}
    assert result["things"]["trees"] == {"named": 1, "recall": 1.0, "false_alarms": 0.0}
    assert result["things"]["fence"] == {"named": 0, "recall": None, "false_alarms": 0.0}
    assert result["recall"] == pytest.approx(0.75)


def test_brightness_is_told_by_time_of_day():
    def grey(value):
        return np.full((4, 4, 3), value, np.uint8)

    captions = ["a street at night", "a street at dusk in rain", "a street at noon", "a street in the evening"]
    result = brightness(captions, [grey(51), grey(102), grey(204), grey(0)])
    assert result == {"at night": 0.2, "at dusk": 0.4, "at noon": 0.8, "in_order": True}
    assert brightness(captions, [grey(51), grey(40), grey(204), grey(0)])["in_order"] is False
    alone = brightness(captions[:1], [grey(0)])
    assert alone == {"at night": 0.0, "at dusk": None, "at noon": None, "in_order": True}
