"""The miniature's prompts are sentences its text encoder can have read: the world's words in its captions' order."""

import itertools
import re
from pathlib import Path

import pytest

from clouds.assembly import assemble
from clouds.config import validate
from clouds.data.prompts import PromptsConfig, prompt_source
from clouds.data.world import DOMAINS, caption_words, render_scene

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "prompts"
GRAMMARS = ("miniature", "miniature_source")
BALANCE = {"miniature": ["place", "scene", "people", "bicycles", "signs"], "miniature_source": []}

NUMBER = "(two|three|four|many)"
COLOR = "(black|grey|white|red|orange|yellow|green|blue|purple)"
ITEMS = [
    rf"(a ({COLOR} )?car|{NUMBER} cars)",
    f"the nearest {COLOR}",
    f"(a person|{NUMBER} people)",
    f"(a bicycle|{NUMBER} bicycles)",
    f"(a traffic sign|{NUMBER} traffic signs)",
    "(street lamps|poles)",
    "a zebra crossing",
    "trees",
    "a fence",
    "(tall buildings|low houses)",
]


def config(name: str) -> PromptsConfig:
    values = {"grammar": str(ASSETS / f"{name}.yaml"), "balance": BALANCE[name]}
    return validate(PromptsConfig, values, "test")


def prompts(name: str, count: int) -> list[str]:
    source = prompt_source(config(name), 11)
    return [source.prompt(index, 1000 + index) for index in range(count)]


def scenes_of_web() -> set[str]:
    """What captions of `web` can say before the objects: place, time of day, weather or sky."""
    web = DOMAINS["web"]
    return {
        " ".join(filter(None, ("a", place.name, light.name, weather.name or light.sky)))
        for place, light, weather in itertools.product(web.places, web.lights, web.weathers)
    }


def problem(text: str) -> str:
    """Why a sentence is no caption of `web`; empty when it is one."""
    scene, separator, listed = text.partition(" with ")
    if scene not in scenes_of_web():
        return f"no scene of web is called {scene!r}"
    if not separator:
        return ""
    *first, last = listed.split(" and ")
    items = [*first[0].split(", "), last] if first else [last]
    if len(first) > 1 or "" in items:
        return "a list has one 'and', before its last item"
    places = [next((place for place, item in enumerate(ITEMS) if re.fullmatch(item, one)), -1) for one in items]
    return "" if -1 not in places and places == sorted(set(places)) else f"{items} is no list of a caption"


def test_the_captions_of_web_are_captions() -> None:
    assert [problem(render_scene("web", index, height=32, width=64).caption) for index in range(40)] == [""] * 40


@pytest.mark.parametrize(
    "text",
    [
        "a city street on Mars with a car",
        "a city street at noon under a blue sky with a car, and trees",
        "a city street at noon under a blue sky with trees and a car",
        "a city street at noon under a blue sky with a car, a car and trees",
        "a city street at noon under a blue sky with a car and a lorry",
        "a city street at dusk under a blue sky",
    ],
)
def test_other_sentences_are_not(text: str) -> None:
    assert problem(text)


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_word_is_one_the_text_encoder_knows(name: str) -> None:
    grammar = config(name).grammar
    assert grammar is not None
    words = [word for entries in grammar.slots.values() for word in entries]
    texts = [re.sub(r"{[^}]*}", " ", grammar.template), *(word.text for word in words)]
    texts += [part for word in words for part in word.parts.values()]
    assert {word for text in texts for word in re.findall(r"[^\s,]+", text)} <= set(caption_words())


@pytest.mark.parametrize("name", GRAMMARS)
def test_prompts_read_like_captions(name: str) -> None:
    assert {problem(text) for text in prompts(name, 400)} == {""}


@pytest.mark.parametrize("name", GRAMMARS)
def test_the_text_encoder_reads_prompts_to_their_end(name: str) -> None:
    context: int = assemble("miniature").config.diffusion.text.context  # type: ignore[attr-defined]
    grammar = config(name).grammar
    assert grammar is not None
    longest = re.sub(r"{[^}]*}", "", grammar.template).split()
    for slot in grammar.used:
        texts = [" ".join((word.text, *word.parts.values())) for word in grammar.slots[slot]]
        # every word and every comma is a token
        longest += max((text.replace(",", " ,").split() for text in texts), key=len)
    # a text has a start and an end, and the template four commas at most
    assert len(longest) + 4 + 2 <= context


def test_content_that_the_source_lacks_comes_in_every_town_and_weather() -> None:
    texts = prompts("miniature", 1200)
    for word in ("in fog", "in rain", "in snow", "at night", "many people", "many bicycles", "many traffic signs"):
        share = sum(word in text for text in texts) / len(texts)
        assert 0.13 < share < 0.25, word
    for place in DOMAINS["web"].places:
        assert sum(text.startswith(f"a {place.name} ") for text in texts) == len(texts) / 10


def test_source_like_prompts_show_the_source_and_nothing_else() -> None:
    for text in prompts("miniature_source", 200):
        assert text.startswith("a city street at noon under a blue sky with ")
        assert text.endswith("trees and tall buildings") or text.endswith("trees, a fence and tall buildings")
