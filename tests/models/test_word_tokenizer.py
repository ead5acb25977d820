"""The word tokenizer: a word of its list is one token, and any other text tokenizes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.models.tiny_diffusion import STREET_WORDS
from clouds.models.word_tokenizer import word_tokenizer


def test_each_street_word_is_one_token() -> None:
    tokenizer = word_tokenizer(STREET_WORDS, 77)
    assert [len(ids) for ids in tokenizer(list(STREET_WORDS)).input_ids] == [3] * len(STREET_WORDS)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("abcdeé", min_size=1, max_size=8), min_size=1, max_size=12))
def test_any_vocabulary_becomes_whole_words(words: list[str]) -> None:
    tokenizer = word_tokenizer(words, 77)
    assert [len(ids) for ids in tokenizer(words).input_ids] == [3] * len(words)


TOKENIZER = word_tokenizer(STREET_WORDS, 77)


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20))
def test_any_text_tokenizes_without_an_unknown(text: str) -> None:
    ids = TOKENIZER(text).input_ids
    assert ids[0] == TOKENIZER.bos_token_id
    assert ids[-1] == TOKENIZER.eos_token_id
    # the unknown token is the end token, so it may stand at the end only
    assert TOKENIZER.eos_token_id not in ids[:-1]
    assert max(ids) < len(TOKENIZER)
