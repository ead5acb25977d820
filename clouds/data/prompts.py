"""Where prompts come from: a text file, used cyclically, or a grammar, sampled per item. It knows no image model."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, model_validator

from clouds.config import ConfigModel, ConfigPath, Neutral, absolute_path, load_tree
from clouds.data.grammar import GrammarConfig, PromptGrammar
from clouds.errors import CloudsError


def _grammar_entry(value: Any) -> Any:
    """The grammar itself, or that of the YAML file whose path is given."""
    if not isinstance(value, str) or not value:
        return value
    try:
        return load_tree(absolute_path(value))
    except CloudsError as error:
        raise ValueError(error.message) from error


class PromptsConfig(ConfigModel):
    """What to generate images of: a file or a grammar, not both."""

    # the prompts count, not where they lie: `PromptSource.identity` stands for them in fingerprints
    file: Neutral[ConfigPath | None] = None
    """A text file, one prompt a line, used cyclically; blank lines and those that begin with `#` do not count."""
    grammar: Annotated[GrammarConfig | None, BeforeValidator(_grammar_entry)] = None
    """A template and the words for its slots, sampled anew for each image; or the path of a YAML file with both."""
    balance: tuple[str, ...] = ()
    """Slots of the grammar whose words, or groups of words, come equally often, whatever their weights: where a slot
    has n of them, each comes once in every n images, in an order drawn anew."""

    @model_validator(mode="after")
    def _one_of_two(self) -> "PromptsConfig":
        if (self.file is None) == (self.grammar is None):
            given = "none is given" if self.file is None else "both are given (null takes out one that the base names)"
            raise ValueError(f"give one of `file` and `grammar`; {given}")
        return self

    @model_validator(mode="after")
    def _balanced_slots_are_used(self) -> "PromptsConfig":
        used = self.grammar.used if self.grammar is not None else []
        for slot in self.balance:
            if slot not in used:
                raise ValueError(f"`balance` names {slot!r}; the slots of the sentence: {', '.join(used) or 'none'}")
        return self


class PromptSource(Protocol):
    """Prompts for any number of items, each a function of its index and seed alone."""

    def prompt(self, index: int, seed: int) -> str:
        """The prompt of the item of this index and this non-negative seed."""

    def identity(self) -> Mapping[str, Any]:
        """What tells these prompts from others, ready for JSON; the same wherever their file lies."""


@dataclass(frozen=True)
class PromptList:
    """Prompts used cyclically by index, as CLOUDS (Benigmim et al. 2024) does."""

    prompts: tuple[str, ...]

    def prompt(self, index: int, seed: int) -> str:
        """The prompt at `index`, counted round and round; the seed does not matter."""
        return self.prompts[index % len(self.prompts)]

    def identity(self) -> Mapping[str, Any]:
        """The number of prompts and their hash, in order."""
        return {"type": "list", "count": len(self.prompts), "sha256": _sha256(list(self.prompts))}


def prompt_source(config: PromptsConfig, seed: int = 0) -> PromptSource:
    """The prompts a config asks for; the non-negative `seed` draws what items share, the order of a balance.

    Raises `CloudsError` for a file that is missing, unreadable or empty.
    """
    if config.grammar is not None:
        return PromptGrammar(config.grammar, config.balance, seed)
    assert config.file is not None
    return PromptList(_read_prompts(config.file))


def _read_prompts(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CloudsError(
            f"prompt file {path}: {error.strerror or error}", "give a text file, one prompt a line"
        ) from error
    except UnicodeDecodeError as error:
        raise CloudsError(f"prompt file {path} is not UTF-8 text", "save it as UTF-8") from error
    lines = (line.strip() for line in text.splitlines())
    prompts = tuple(line for line in lines if line and not line.startswith("#"))
    if not prompts:
        raise CloudsError(f"prompt file {path} holds no prompt", "write at least one line that does not begin with #")
    return prompts


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
