"""Which words a text encoder's tokenizer does not know. It knows no pipeline and no prompt file."""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

_WORD = re.compile(r"[^\W\d_]+")
_LARGE = 10_000


class Tokenizer(Protocol):
    """What is asked of a tokenizer of transformers."""

    def __len__(self) -> int: ...

    def tokenize(self, text: str) -> list[str]: ...


def unknown_words(tokenizers: Sequence[Tokenizer], texts: Iterable[str]) -> list[str]:
    """The words of the texts that none of a pipeline's tokenizers knows, in lower case, each once, as they come.

    A word is letters only. A large vocabulary, of 10,000 tokens or more, was grown on language so that its pieces have
    a meaning: there a word is unknown that falls apart into single characters. A small one holds the words its model
    has read and single bytes: there a word in pieces is one the model has not read. Whatever is one token counts as
    known, even where the model has never read it.
    """
    found: dict[str, bool] = {}
    for text in texts:
        for word in _WORD.findall(text.lower()):
            if word not in found:
                found[word] = bool(tokenizers) and not any(_knows(tokenizer, word) for tokenizer in tokenizers)
    return [word for word, unknown in found.items() if unknown]


def _knows(tokenizer: Tokenizer, word: str) -> bool:
    pieces = len(tokenizer.tokenize(word))
    return pieces < max(2, len(word)) if len(tokenizer) >= _LARGE else pieces == 1
