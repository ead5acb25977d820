"""Balanced slots: equal counts after any number of items, the same prompt for the same item, no tie between slots."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.config import flatten, validate
from clouds.data.prompts import PromptsConfig, PromptSource, prompt_source

DIGITS = [str(digit) for digit in range(10)]
SEEDS = st.integers(0, 2**63 - 1)


def config(slots: dict[str, Any], balance: list[str], template: str = "") -> PromptsConfig:
    template = template or " ".join(f"{{{slot}}}" for slot in slots)
    grammar = {"template": template, "slots": slots}
    return validate(PromptsConfig, {"grammar": grammar, "balance": balance}, "test")


def source(slots: dict[str, Any], balance: list[str], seed: int = 0) -> PromptSource:
    return prompt_source(config(slots, balance), seed)


def words(prompts: PromptSource, count: int, slot: int = 0, first: int = 0) -> list[str]:
    """The word of a slot in each item; an item's own seed has nothing to do with its index."""
    return [prompts.prompt(index, index * 7919 + 13).split()[slot] for index in range(first, first + count)]


@settings(deadline=None, max_examples=40)
@given(size=st.integers(1, 10), count=st.integers(0, 60), seed=SEEDS)
def test_after_any_number_of_items_counts_differ_by_one_at_most(size: int, count: int, seed: int) -> None:
    slots = {"a": [{"text": digit, "weight": 1 + int(digit) ** 3} for digit in DIGITS[:size]]}
    counts = Counter(dict.fromkeys(DIGITS[:size], 0))
    counts.update(words(source(slots, ["a"], seed), count))
    assert max(counts.values()) - min(counts.values()) <= 1


@settings(deadline=None, max_examples=40)
@given(size=st.integers(1, 10), count=st.integers(0, 40), first=st.integers(0, 10**9), seed=SEEDS)
def test_in_any_run_of_items_counts_differ_by_two_at_most(size: int, count: int, first: int, seed: int) -> None:
    counts = Counter(dict.fromkeys(DIGITS[:size], 0))
    counts.update(words(source({"a": DIGITS[:size]}, ["a"], seed), count, first=first))
    assert max(counts.values()) - min(counts.values()) <= 2


@settings(deadline=None, max_examples=30)
@given(index=st.integers(0, 10**12), item=SEEDS, seed=SEEDS)
def test_a_prompt_is_a_function_of_index_and_seeds(index: int, item: int, seed: int) -> None:
    slots = {"a": DIGITS, "b": DIGITS}
    prompts = source(slots, ["a"], seed)
    text = prompts.prompt(index, item)
    assert text == prompts.prompt(index, item) == source(slots, ["a"], seed).prompt(index, item)


def test_another_seed_is_another_order() -> None:
    first, second = (words(source({"a": DIGITS}, ["a"], seed), 30) for seed in (0, 1))
    assert first != second
    assert first[:10] != first[10:20] != first[20:]


def test_balanced_slots_are_not_tied_to_each_other() -> None:
    prompts = source({"a": DIGITS[:4], "b": DIGITS[:4], "c": DIGITS[:5]}, ["a", "b", "c"], 3)
    found = [prompts.prompt(index, index).split() for index in range(800)]
    for one, other, cells in ((0, 1, 16), (0, 2, 20), (1, 2, 20)):
        pairs = Counter((row[one], row[other]) for row in found)
        assert len(pairs) == cells
        assert 0.6 * 800 / cells < min(pairs.values()) <= max(pairs.values()) < 1.5 * 800 / cells


def test_balancing_one_slot_leaves_the_words_of_the_others() -> None:
    slots = {"a": DIGITS, "b": DIGITS, "c": DIGITS}
    free, balanced = source(slots, []), source(slots, ["b"])
    assert words(free, 40, 0) == words(balanced, 40, 0)
    assert words(free, 40, 2) == words(balanced, 40, 2)
    assert words(free, 40, 1) != words(balanced, 40, 1)


def test_a_group_counts_as_one_and_its_words_go_by_weight() -> None:
    few = [{"text": text, "group": "few", "weight": weight} for text, weight in (("one", 1), ("two", 3))]
    counts = Counter(words(source({"a": [*few, "many", "none"]}, ["a"]), 3000))
    assert counts["many"] == counts["none"] == counts["one"] + counts["two"] == 1000
    assert 0.7 < counts["two"] / 1000 < 0.8


def test_a_group_may_be_called_like_a_word_and_a_word_may_stand_twice() -> None:
    slots = {"a": ["x", {"text": "y", "group": "x"}, {"text": "z", "group": "x"}, "x"]}
    counts = Counter(words(source(slots, ["a"]), 300))
    assert counts["x"] == 200 and counts["y"] + counts["z"] == 100


def test_the_identity_follows_what_is_balanced() -> None:
    slots = {"a": ["x", {"text": "y", "group": "g"}, {"text": "z", "group": "g"}], "b": DIGITS}
    apart = {**slots, "a": ["x", "y", "z"]}
    identities = [source(slots, balance).identity() for balance in ([], ["a"], ["b"], ["a", "b"])]
    assert len({str(identity) for identity in identities}) == 4
    assert source(slots, ["b", "a"]).identity() == identities[3]
    assert source(apart, []).identity() == identities[0]
    assert source(apart, ["a"]).identity() != identities[1]


def test_groups_and_no_balance_stay_out_of_the_fingerprint() -> None:
    plain = config({"a": ["x", "y"]}, [])
    grouped = config({"a": ["x", {"text": "y", "group": "g"}]}, [])
    assert list(flatten(plain)) == list(flatten(grouped))
    assert not any(value for key, value in flatten(plain) if "balance" in key or "parts" in key)


def test_parts_go_with_their_word() -> None:
    place = [{"text": town, "parts": {"houses": houses}} for town, houses in (("Rome", "palaces"), ("Oslo", "huts"))]
    prompts = prompt_source(config({"place": place}, ["place"], "in {place} with {{{place.houses}}}, {place}!"))
    assert {prompts.prompt(index, index) for index in range(20)} == {
        "in Rome with {palaces}, Rome!",
        "in Oslo with {huts}, Oslo!",
    }


def test_parts_are_part_of_the_identity() -> None:
    def place(houses: str) -> dict[str, Any]:
        return {"place": [{"text": "Rome", "parts": {"houses": houses}}]}

    template = "{place} {place.houses}"
    first, second = (prompt_source(config(place(houses), [], template)).identity() for houses in ("huts", "halls"))
    assert first != second


@pytest.mark.parametrize("count", [7, 50])
def test_more_items_leave_the_first_as_they_are(count: int) -> None:
    prompts = source({"a": DIGITS}, ["a"], 5)
    assert words(prompts, count) == words(prompts, 100)[:count]
