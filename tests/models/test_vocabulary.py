"""Unknown words: with the miniature's tokenizer, and with CLIP's published one, built from the merges open_clip has."""

import gzip
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from clouds.data.world import caption_words
from clouds.models.vocabulary import unknown_words
from clouds.models.word_tokenizer import word_tokenizer

ROOT = Path(__file__).resolve().parents[2]
SMALL = word_tokenizer(caption_words(), 48)


@pytest.fixture(scope="module")
def published() -> CLIPTokenizer:
    """The tokenizer of CLIP and of Stable Diffusion 1: 512 byte symbols, 48,894 merges, two marks."""
    package = find_spec("open_clip")
    assert package is not None and package.origin is not None
    lines = gzip.decompress(Path(package.origin).with_name("bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode()
    merges = [tuple(line.split()) for line in lines.split("\n")[1 : 49152 - 256 - 2 + 1]]
    symbols = [token for token in SMALL.get_vocab() if len(token.removesuffix("</w>")) == 1]
    tokens = [*symbols, *("".join(merge) for merge in merges), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=merges)


def test_the_words_of_captions_are_known_in_any_case_and_with_any_mark() -> None:
    text = " ".join(caption_words())
    assert unknown_words([SMALL], [text, text.upper(), text.replace(" ", ", "), "a car's 2 cars!"]) == []


def test_other_words_are_said_once_in_the_order_they_come() -> None:
    texts = ["a Lorry in fog", "the lorry, of old", "two old streets"]
    assert unknown_words([SMALL], iter(texts)) == ["lorry", "of", "old", "streets"]


def test_the_published_tokenizer_knows_ordinary_words(published: CLIPTokenizer) -> None:
    assert len(published) == 49408
    assert published.tokenize("windscreen") == ["wind", "screen</w>"]
    texts = [
        (ROOT / name).read_text(encoding="utf-8") for name in ("assets/prompts/street.txt", "README.md", "LICENSE")
    ]
    assert len({word for text in texts for word in re.findall("[a-z]+", text.lower())}) > 1000
    assert unknown_words([published], texts) == []


def test_the_published_tokenizer_does_not_know_other_scripts(published: CLIPTokenizer) -> None:
    assert unknown_words([published], ["a street in Москва, qz or Zürich"]) == ["москва", "qz"]


def test_what_one_of_several_tokenizers_knows_is_known(published: CLIPTokenizer) -> None:
    assert unknown_words([SMALL, published], ["a lorry in Москва"]) == ["москва"]
    assert unknown_words([], ["whatever"]) == []


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30))
def test_any_text_can_be_asked_about(text: str) -> None:
    found = unknown_words([SMALL], [text, text])
    assert len(found) == len(set(found))
    assert all(word in text.lower() for word in found)
