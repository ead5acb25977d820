"""A sentence with slots, and how its words are chosen for an item. It knows no file and no model."""

import hashlib
import json
import string
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from clouds.config import ConfigModel, Neutral


def _word_entry(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


class WordConfig(ConfigModel):
    """One way to fill a slot."""

    text: str
    """What is written in the slot's place."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """How often, in proportion to the slot's other words."""
    parts: dict[str, str] = Field(default={})
    """Texts that go with this word, by name: `{place.houses}` is the part `houses` of the word drawn for `place`."""
    # it counts in a balanced slot only, and there it is in the grammar's identity
    group: Neutral[str | None] = None
    """Where the slot is balanced, words of one group count as one; null: the word is a group of its own."""


class GrammarConfig(ConfigModel):
    """A sentence with slots, and the words for each slot."""

    template: Annotated[str, Field(min_length=1)]
    """The sentence; a slot is a name in braces, such as `a street in {place} at {time}`."""
    slots: dict[str, tuple[Annotated[WordConfig, BeforeValidator(_word_entry)], ...]]
    """The words for each slot: plain, or {text, weight, parts, group}."""

    @property
    def used(self) -> list[str]:
        """The slots that the template names, in its order, each once."""
        return list(dict.fromkeys(slot for _, slot, _ in _pieces_of(self.template) if slot))

    @model_validator(mode="after")
    def _slots_have_words(self) -> "GrammarConfig":
        for slot in self.used:
            if slot not in self.slots:
                known = ", ".join(self.slots) or "none"
                raise ValueError(f"the template names the slot {slot!r}, which `slots` lacks; it has: {known}")
        for slot, words in self.slots.items():
            if not words:
                raise ValueError(f"slot {slot!r} has no words; give at least one")
        return self

    @model_validator(mode="after")
    def _words_have_parts(self) -> "GrammarConfig":
        for _, slot, part in _pieces_of(self.template):
            lacking = [word.text for word in self.slots[slot] if part not in word.parts] if part else []
            if lacking:
                raise ValueError(f"the template names the part '{slot}.{part}', which the word {lacking[0]!r} lacks")
        return self


class PromptGrammar:
    """Prompts drawn from a grammar: one word per slot, from the item's seed.

    The slots in `balance` go by turns instead: items are cut into blocks of as many as the slot has groups of words,
    and each block has every group once, in an order drawn from `seed` for the slot and the block alone. So after any
    number of items the counts of two groups differ by one at most, and further items change none of those before.
    This is the permuted-block randomisation of clinical trials.
    """

    def __init__(self, config: GrammarConfig, balance: Sequence[str] = (), seed: int = 0) -> None:
        self._template = config.template
        self._pieces = list(_pieces_of(config.template))
        # a slot draws in the order of the template, so that an unused slot changes nothing
        self._words = {slot: config.slots[slot] for slot in config.used}
        self._groups = {slot: _grouped(self._words[slot]) for slot in sorted(set(balance))}
        self._seed = seed

    def prompt(self, index: int, seed: int) -> str:
        """The sentence drawn by `seed`; the index matters to balanced slots alone.

        A slot named twice gets the same word twice.
        """
        rng = np.random.default_rng(seed)
        # a balanced slot draws too, within its group: so balancing one slot leaves the words of the others
        drawn = {slot: _pick(self._open_words(slot, index), rng.random()) for slot in self._words}
        return "".join(before + (_text(drawn[slot], part) if slot else "") for before, slot, part in self._pieces)

    def identity(self) -> Mapping[str, Any]:
        """The hash of the template, of the words it can use, and of the groups that are balanced."""
        words = {slot: [_described(word) for word in entries] for slot, entries in self._words.items()}
        groups = {slot: [[word.text for word in group] for group in found] for slot, found in self._groups.items()}
        content = [self._template, words, groups] if groups else [self._template, words]
        return {"type": "grammar", "sha256": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}

    def _open_words(self, slot: str, index: int) -> Sequence[WordConfig]:
        """The words among which an item draws."""
        groups = self._groups.get(slot)
        if groups is None:
            return self._words[slot]
        block, turn = divmod(index, len(groups))
        return groups[_order(self._seed, slot, block, len(groups))[turn]]


# items come one after the other, mostly: the same few blocks are asked for again and again
@lru_cache(maxsize=64)
def _order(seed: int, slot: str, block: int, size: int) -> tuple[int, ...]:
    order = np.random.default_rng((seed, block, *slot.encode())).permutation(size)
    return tuple(int(position) for position in order)


def _grouped(words: Sequence[WordConfig]) -> list[list[WordConfig]]:
    groups: dict[tuple[str, object], list[WordConfig]] = {}
    for number, word in enumerate(words):
        key = ("word", number) if word.group is None else ("group", word.group)
        groups.setdefault(key, []).append(word)
    return list(groups.values())


def _pick(words: Sequence[WordConfig], share: float) -> WordConfig:
    """The word at a share in [0, 1) of the weights laid end to end."""
    bounds = list(accumulate(word.weight for word in words))
    position = int(np.searchsorted(bounds, share * bounds[-1], side="right"))
    return words[min(position, len(words) - 1)]


def _text(word: WordConfig, part: str) -> str:
    return word.parts[part] if part else word.text


def _described(word: WordConfig) -> list[Any]:
    return [word.text, word.weight, word.parts] if word.parts else [word.text, word.weight]


def _pieces_of(template: str) -> Iterator[tuple[str, str, str]]:
    """The text before each slot, the slot and the part of its word that is meant; "" where there is none.

    Raises `ValueError` for braces that are no slot.
    """
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"template {template!r}: {error}; write a literal brace twice") from error
    for before, name, spec, conversion in pieces:
        names = (name or "").split(".")
        well_named = name is None or (len(names) <= 2 and all(one.isidentifier() for one in names))
        if spec or conversion or not well_named:
            raise ValueError(f"template {template!r}: {name!r} is no slot; a slot is one word in braces")
        yield before, names[0], names[1] if len(names) == 2 else ""
