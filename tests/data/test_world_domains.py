"""Domains: every class occurs in each, they look different, and captions say what is there."""

import re
from functools import lru_cache

import numpy as np
import pytest

from clouds.data.world import CLASSES, DOMAINS, TEST_DOMAINS, VALIDATION_DOMAINS, Scene, caption_words, render_scene
from clouds.data.world.captions import Facts, describe, name_color
from clouds.data.world.classes import Kind
from clouds.data.world.dice import Dice
from clouds.data.world.looks import Setting, choose_setting

COUNT = 40


@lru_cache
def scenes(domain: str) -> list[Scene]:
    """The first scenes of a domain."""
    return [render_scene(domain, index) for index in range(COUNT)]


def setting_of(domain: str) -> Setting:
    """Some setting of a domain."""
    return choose_setting(DOMAINS[domain], Dice((1,)))


def visible(scene: Scene, kind: Kind) -> int:
    """Objects of a class with at least five pixels at 64 x 128."""
    sizes = np.unique(scene.instances_HW[scene.labels_HW == kind], return_counts=True)[1]
    return int((sizes >= 5).sum())


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_class_occurs_in_a_good_share_of_scenes(domain: str) -> None:
    present = np.zeros(len(CLASSES))
    for scene in scenes(domain):
        present += np.bincount(scene.labels_HW.ravel(), minlength=len(CLASSES)) >= 5
    share = dict(zip(CLASSES, present / COUNT, strict=True))
    assert min(share.values()) >= 0.25, share
    assert min(share["car"], share["pole"], share["person"]) >= 0.6, share


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_class_takes_the_whole_picture(domain: str) -> None:
    pixels = sum(np.bincount(scene.labels_HW.ravel(), minlength=len(CLASSES)) for scene in scenes(domain))
    assert (pixels / pixels.sum()).max() < 0.5


def brightness(domain: str) -> float:
    """Mean grey level of a domain."""
    return float(np.mean([scene.image_HWC.mean() for scene in scenes(domain)]))


def colorfulness(domain: str) -> float:
    """Mean spread between the channels of a pixel."""
    return float(np.mean([np.ptp(scene.image_HWC.astype(int), axis=-1).mean() for scene in scenes(domain)]))


def flatness(domain: str) -> float:
    """The share of neighbouring road pixels with one and the same colour."""
    shares = []
    for scene in scenes(domain):
        road = scene.labels_HW == Kind.ROAD
        equal = (scene.image_HWC[:, 1:] == scene.image_HWC[:, :-1]).all(-1)
        shares.append(equal[road[:, 1:] & road[:, :-1]].mean())
    return float(np.mean(shares))


@pytest.mark.parametrize("prefix", ["", "val_"])
def test_domains_look_different(prefix: str) -> None:
    assert brightness(f"{prefix}night") < 0.65 * brightness("source")
    assert brightness(f"{prefix}snow") > 1.1 * brightness("source")
    assert brightness(f"{prefix}rain") < 0.85 * brightness("source")
    assert colorfulness(f"{prefix}fog") < 0.7 * colorfulness("source")
    assert colorfulness(f"{prefix}abroad") > 1.1 * colorfulness("source")


@pytest.mark.parametrize("domain", sorted(set(DOMAINS) - {"source"}))
def test_only_the_game_is_flat(domain: str) -> None:
    assert flatness(domain) < 0.3 < 0.7 < flatness("source")


@pytest.mark.parametrize("domain", DOMAINS)
def test_scenes_are_neither_black_nor_empty(domain: str) -> None:
    for scene in scenes(domain):
        assert scene.image_HWC.mean() > 16 and scene.image_HWC.std() > 9


def test_web_has_empty_and_full_scenes() -> None:
    people = np.array([visible(scene, Kind.PERSON) for scene in scenes("web")])
    bicycles = np.array([visible(scene, Kind.BICYCLE) for scene in scenes("web")])
    assert people.min() == bicycles.min() == 0
    assert people.max() >= 6 and bicycles.max() >= 3


def test_the_game_has_few_colours() -> None:
    game, photo = scenes("source")[0].image_HWC, scenes("web")[0].image_HWC
    assert len(np.unique(game.reshape(-1, 3), axis=0)) < 0.5 * len(np.unique(photo.reshape(-1, 3), axis=0))


COUNTED = {
    Kind.CAR: ("car", "cars"),
    Kind.PERSON: ("person", "people"),
    Kind.BICYCLE: ("bicycle", "bicycles"),
    Kind.TRAFFIC_SIGN: ("traffic sign", "traffic signs"),
}


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("kind", COUNTED)
def test_captions_count_what_is_visible(domain: str, kind: Kind) -> None:
    one, many = COUNTED[kind]
    numbers = {2: "two", 3: "three", 4: "four"}
    for scene in scenes(domain):
        count = visible(scene, kind)
        assert len(re.findall(rf"\b{one}\b", scene.caption)) == (count == 1)
        several = re.findall(rf"(\w+) {many}\b", scene.caption)
        assert several == ([numbers.get(count, "many")] if count > 1 else [])


@pytest.mark.parametrize("domain", DOMAINS)
def test_captions_are_made_of_known_words(domain: str) -> None:
    words = {word for scene in scenes(domain) for word in scene.caption.replace(",", "").split()}
    assert words <= set(caption_words())


@lru_cache
def words_of_web() -> set[str]:
    """All words of three hundred captions of `web`."""
    captions = [render_scene("web", index).caption for index in range(300)]
    return {word for caption in captions for word in caption.replace(",", "").split()}


def test_known_words_are_plain_and_told() -> None:
    words = caption_words()
    assert list(words) == sorted(set(words)) and all(re.fullmatch("[a-z]+", word) for word in words)
    assert words_of_web() <= set(words) and len(words_of_web()) > 0.9 * len(words)


@pytest.mark.parametrize("domain", [*TEST_DOMAINS, *VALIDATION_DOMAINS])
def test_held_out_scenes_are_told_in_words_of_web(domain: str) -> None:
    told = {word for scene in scenes(domain) for word in scene.caption.replace(",", "").split()}
    assert told <= words_of_web()


@pytest.mark.parametrize(
    ("color", "name"),
    [
        ((206, 40, 40), "red"),
        ((44, 84, 190), "blue"),
        ((240, 196, 40), "yellow"),
        ((236, 236, 236), "white"),
        ((40, 44, 50), "black"),
        ((120, 124, 130), "grey"),
        ((46, 120, 74), "green"),
        ((214, 112, 40), "orange"),
        ((120, 40, 96), "purple"),
        ((0, 0, 0), "black"),
        ((255, 0, 1), "red"),
    ],
)
def test_colours_have_everyday_names(color: tuple[int, int, int], name: str) -> None:
    assert name_color(color) == name


def test_the_nearest_car_is_named_by_its_colour_when_it_is_plain_to_see() -> None:
    labels_HW = np.full((20, 20), Kind.ROAD, np.uint8)
    labels_HW[:8, :6] = Kind.CAR
    instances_HW = np.ones((20, 20), np.int32)
    instances_HW[:8, :6] = 2
    facts = Facts(car_colors={2: (206, 40, 40), 3: (44, 84, 190)})
    assert describe(setting_of("source"), labels_HW, instances_HW, facts) == "a city street at noon with a red car"
    instances_HW[:8, 4:6] = 3
    assert describe(setting_of("source"), labels_HW, instances_HW, facts).endswith("with two cars and the nearest red")
    assert describe(setting_of("night"), labels_HW, instances_HW, facts).endswith("with two cars")


def test_poles_are_street_lamps_if_one_is_among_them() -> None:
    labels_HW = np.full((20, 20), Kind.POLE, np.uint8)
    instances_HW = np.ones((20, 20), np.int32)
    assert describe(setting_of("source"), labels_HW, instances_HW, Facts()).endswith("with poles")
    assert describe(setting_of("source"), labels_HW, instances_HW, Facts(lamp_posts={1})).endswith("with street lamps")


@pytest.mark.parametrize("prefix", ["", "val_"])
@pytest.mark.parametrize(
    ("name", "phrase"), [("fog", "in fog"), ("night", "at night"), ("rain", "in rain"), ("snow", "in snow")]
)
def test_captions_name_time_and_weather(prefix: str, name: str, phrase: str) -> None:
    assert all(phrase in scene.caption for scene in scenes(prefix + name))
    assert not any(phrase in scene.caption for scene in scenes("source"))


def test_the_caption_of_an_empty_road_names_no_subject() -> None:
    labels_HW = np.full((4, 4), Kind.ROAD, np.uint8)
    caption = describe(setting_of("source"), labels_HW, np.ones((4, 4), np.int32), Facts(5.0))
    assert caption == "a city street at noon"


def test_captions_join_their_subjects() -> None:
    labels_HW = np.full((20, 20), Kind.BUILDING, np.uint8)
    labels_HW[:4] = Kind.CAR
    instances_HW = np.ones((20, 20), np.int32)
    instances_HW[:4, :10], instances_HW[:4, 10:] = 2, 3
    caption = describe(setting_of("night"), labels_HW, instances_HW, Facts(30.0))
    assert caption.endswith("at night with two cars and tall buildings")
