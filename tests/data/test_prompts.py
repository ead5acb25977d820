import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.config import ConfigModel, dump_yaml, flatten, load_tree, validate
from clouds.data.prompts import PromptsConfig, PromptSource, prompt_source
from clouds.errors import CloudsError, UsageError

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "prompts"
GRAMMAR = {
    "template": "{subject} in {place}, {subject}",
    "slots": {"place": ["Rome", "Oslo"], "subject": ["a car", {"text": "a bus", "weight": 3}], "unused": ["x"]},
}


class Holder(ConfigModel):
    prompts: PromptsConfig


def source(**values: Any) -> PromptSource:
    return prompt_source(validate(PromptsConfig, values, "test"))


def in_file(path: Path, text: str) -> PromptSource:
    path.write_text(text, encoding="utf-8")
    return source(file=str(path))


def test_a_file_gives_its_lines_round_and_round(tmp_path: Path) -> None:
    prompts = in_file(tmp_path / "p.txt", "# head\n\n  one  \n#two\nthree\n")
    assert [prompts.prompt(index, seed=5) for index in range(5)] == ["one", "three", "one", "three", "one"]
    assert prompts.prompt(10**12 + 1, seed=0) == "three"


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n# comments\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(CloudsError, match=r"p\.txt holds no prompt"):
        in_file(tmp_path / "p.txt", text)


def test_missing_and_unreadable_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CloudsError, match=r"nowhere\.txt: No such file"):
        source(file=str(tmp_path / "nowhere.txt"))
    (tmp_path / "p.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(CloudsError, match="not UTF-8"):
        source(file=str(tmp_path / "p.txt"))


def test_identity_follows_the_prompts_not_their_place_or_comments(tmp_path: Path) -> None:
    first = in_file(tmp_path / "a.txt", "one\ntwo\n").identity()
    assert first == in_file(tmp_path / "b.txt", "# said\none\n\ntwo").identity()
    assert first != in_file(tmp_path / "a.txt", "two\none\n").identity()
    assert json.loads(json.dumps(first)) == first
    here, there = (validate(PromptsConfig, {"file": str(tmp_path / name)}, "test") for name in ("a.txt", "b.txt"))
    assert list(flatten(here)) == list(flatten(there))


@settings(deadline=None, max_examples=50)
@given(index=st.integers(0, 10**9), seed=st.integers(0, 2**64))
def test_a_grammar_is_a_function_of_the_seed(index: int, seed: int) -> None:
    prompts = source(grammar=GRAMMAR)
    text = prompts.prompt(index, seed)
    assert text == prompts.prompt(0, seed) == source(grammar=GRAMMAR).prompt(7, seed)
    assert text in {f"{one} in {place}, {one}" for one in ("a car", "a bus") for place in ("Rome", "Oslo")}


def test_weights_are_proportions() -> None:
    prompts = source(grammar=GRAMMAR)
    counts = Counter(prompts.prompt(0, seed).split(" in ")[0] for seed in range(2000))
    assert 0.71 < counts["a bus"] / 2000 < 0.79


def test_grammar_identity_follows_what_it_can_say() -> None:
    first = source(grammar=GRAMMAR).identity()
    assert first == source(grammar={**GRAMMAR, "slots": {**GRAMMAR["slots"], "unused": ["y"]}}).identity()
    assert first != source(grammar={**GRAMMAR, "slots": {**GRAMMAR["slots"], "place": ["Rome"]}}).identity()
    assert first != source(grammar={**GRAMMAR, "template": "{subject} in {place}"}).identity()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "none is given"),
        ({"file": "a.txt", "grammar": GRAMMAR}, "both are given"),
        ({"grammar": {"template": "in {plaec}", "slots": {"place": ["a"]}}}, "names the slot 'plaec'.*it has: place"),
        ({"grammar": {"template": "in {place}", "slots": {"place": []}}}, "slot 'place' has no words"),
        ({"grammar": {"template": "in {place", "slots": {}}}, "write a literal brace twice"),
        ({"grammar": {"template": "in {}", "slots": {}}}, "'' is no slot"),
        ({"grammar": {"template": "in {a.b}", "slots": {}}}, "names the slot 'a', which"),
        ({"grammar": {"template": "in {a.b.c}", "slots": {}}}, "'a.b.c' is no slot"),
        ({"grammar": {"template": "in {a.}", "slots": {"a": ["x"]}}}, "'a.' is no slot"),
        ({"grammar": {"template": "{a.b}", "slots": {"a": ["x"]}}}, "part 'a.b', which the word 'x' lacks"),
        ({"grammar": GRAMMAR, "balance": ["unused"]}, "`balance` names 'unused'.*: subject, place"),
        ({"file": "a.txt", "balance": ["place"]}, "`balance` names 'place'.*: none"),
        ({"grammar": {"template": "a", "slots": {"a": [{"text": "x", "weight": 0}]}}}, "slots.a.0.weight.* = 0"),
        ({"grammar": {"template": "a", "slots": {"a": [{"txt": "x"}]}}}, "did you mean 'text'"),
        ({"grammar": "/nowhere/grammar.yaml"}, "nowhere/grammar.yaml"),
        ({"grammer": GRAMMAR}, "did you mean 'grammar'"),
    ],
)
def test_bad_configs_are_explained(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){said}"):
        source(**values)


def test_literal_braces_and_no_slots() -> None:
    assert source(grammar={"template": "a {{literal}} street", "slots": {}}).prompt(0, 0) == "a {literal} street"


def test_a_grammar_may_lie_in_a_file_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text("template: 'in {place}'\nslots: {place: [Rome]}\n")
    (tmp_path / "run.yaml").write_text("prompts: {grammar: words.yaml}\n")
    config = validate(Holder, load_tree(tmp_path / "run.yaml"), "run.yaml")
    assert prompt_source(config.prompts).prompt(0, 0) == "in Rome"
    (tmp_path / "resolved.yaml").write_text(dump_yaml(config))
    (tmp_path / "words.yaml").unlink()
    assert validate(Holder, load_tree(tmp_path / "resolved.yaml"), "resolved.yaml") == config


def test_the_prompts_that_come_along() -> None:
    listed = source(file=str(ASSETS / "street.txt"))
    prompts = {listed.prompt(index, 0) for index in range(100)}
    assert len(prompts) == 100
    assert listed.prompt(100, 0) == listed.prompt(0, 0)
    drawn = source(grammar=str(ASSETS / "street.yaml"))
    sentences = {drawn.prompt(0, seed) for seed in range(500)}
    assert len(sentences) > 490
    # CLIP reads 77 tokens; a token is hardly ever shorter than a word with its comma
    assert max(len(text.replace(",", " ,").split()) for text in sentences | prompts) < 60
