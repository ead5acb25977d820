"""What the stages that paint share: the config of a set of images, and the warning about words. It paints nothing."""

import logging
from collections.abc import Iterable
from typing import Annotated, Protocol

from pydantic import Field

from clouds.config import Neutral
from clouds.data.prompts import PromptsConfig
from clouds.models.diffusion import DiffusionConfig

_log = logging.getLogger(__name__)
_WORDS_SAID = 20


class GenerateConfig(DiffusionConfig):
    """What to generate, and with which text-to-image pipeline."""

    # the list of shards says how many; more images leave those that are made as they are
    count: Neutral[Annotated[int, Field(ge=1)]]
    """Images to make."""
    prompts: PromptsConfig
    """What to show: a file of prompts or a grammar."""
    batch_size: Neutral[Annotated[int, Field(ge=1)]] = 4
    """Images per call of the pipeline."""


class Reader(Protocol):
    """What reads prompts."""

    def unknown_words(self, prompts: Iterable[str]) -> list[str]: ...


def warn_of_unknown_words(reader: Reader, prompts: Iterable[str], weights: str, told: set[tuple[str, ...]]) -> None:
    """Say once of each of the first words in prompts that the text encoder does not know it.

    `told` holds the words (`weights`, word) that were said already, by others who paint with the same; it is added to.
    """
    unknown = [word for word in reader.unknown_words(prompts) if (weights, word) not in told]
    told |= {(weights, word) for word in unknown}
    for word in unknown[:_WORDS_SAID]:
        _log.warning("the text encoder does not know the word %r, and can make little of it in a prompt", word)
    if len(unknown) > _WORDS_SAID:
        _log.warning("%d more words of the prompts are not known to the text encoder", len(unknown) - _WORDS_SAID)
