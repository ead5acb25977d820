"""A CLIP tokenizer made from a list of words, each of them one token. It knows no text and no model."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_WORD_END = "</w>"
_START, _END = "<|startoftext|>", "<|endoftext|>"


def word_tokenizer(words: Sequence[str], context: int) -> CLIPTokenizer:
    """A CLIP tokenizer of `context` tokens with one token per given word; other text falls back to byte tokens."""
    from transformers import CLIPTokenizer

    merges = learn_merges(words)
    symbols = list(_byte_symbols().values())
    tokens = [*symbols, *(symbol + _WORD_END for symbol in symbols), *(left + right for left, right in merges)]
    vocabulary = {token: number for number, token in enumerate([*dict.fromkeys(tokens), _START, _END])}
    ranked: Any = merges  # pairs, though the library declares strings
    tokenizer: CLIPTokenizer = CLIPTokenizer(vocab=vocabulary, merges=ranked, model_max_length=context)
    return tokenizer


def token_ids(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> NDArray[np.int64]:
    """int64 [len(texts), context]: the tokens of each text, padded or cut as Stable Diffusion's pipeline does it."""
    length = tokenizer.model_max_length
    read = tokenizer(list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="np")
    return np.asarray(read.input_ids, dtype=np.int64)


def learn_merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, in rank order, that join each word into one token; ties go to the alphabetically first pair.

    Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units", run to the end.
    """
    to_symbol = _byte_symbols()
    spelled = sorted({word.lower() for word in words if word})
    pieces = [[to_symbol[byte] for byte in word.encode()] for word in spelled]
    for piece in pieces:
        piece[-1] += _WORD_END
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for piece in pieces for pair in itertools.pairwise(piece)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = [_joined(piece, best) for piece in pieces]
    return merges


def _joined(piece: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for symbol in piece:
        # a symbol just made is longer than either half, so it can never be taken for the left one again
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def _byte_symbols() -> dict[int, str]:
    """One printable character for each byte: itself where it is visible, a character above 255 where it is not.

    The mapping of GPT-2's byte-level encoding, which the CLIP tokenizer shares.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}
