"""How well a CLIP knows pictures and words it has not learned from. Truth is what captions say, never a class label."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from clouds.data.world import DOMAINS
from clouds.pretraining.corpus import Corpus

_IMAGES_AT_ONCE = 64
_TEXTS_PER_PICTURE = 5
_COLORS = ("black", "grey", "white", "red", "orange", "yellow", "green", "blue", "purple")

Phrases = Sequence[str]
"""Any of them in a caption says that something holds."""


@dataclass(frozen=True)
class Questions:
    """What a picture is asked in words alone: `choices` between answers of which one holds, `things` it may show."""

    choices: Mapping[str, Sequence[Phrases]] = field(default_factory=dict)
    things: Mapping[str, Phrases] = field(default_factory=dict)


class Embedder(Protocol):
    """What is appraised: pictures and texts to vectors (N, D), whose cosines are compared."""

    def images(self, images_BHWC: NDArray[np.uint8]) -> Tensor: ...
    def texts(self, texts: Sequence[str]) -> Tensor: ...


def street_questions() -> Questions:
    """Questions about the procedural street world, in the words of its captions."""
    web = DOMAINS["web"]
    skies = {thing.name for thing in web.weathers} | {light.sky for light in web.lights}
    choices: dict[str, Sequence[Phrases]] = {
        "place": [(f"a {place.name}",) for place in web.places],
        "time": [(name,) for name in sorted({light.name for light in web.lights})],
        "weather": [(name,) for name in sorted(skies) if name],
        "car_color": [(f"a {color} car", f"the nearest {color}") for color in _COLORS],
        "buildings": [("tall buildings",), ("low houses",)],
    }
    counted = (("car", "cars"), ("person", "people"), ("bicycle", "bicycles"), ("traffic sign", "traffic signs"))
    uncounted = ("trees", "fence", "street lamps", "zebra crossing")
    named = [*counted, *((name,) for name in uncounted)]
    return Questions(choices, {names[0].replace(" ", "_"): names for names in named})


def appraise_clip(embedder: Embedder, corpus: Corpus, count: int, questions: Questions) -> dict[str, float]:
    """What the model knows of a corpus's first `count` pairs; every value but `candidates` lies in [0, 1].

    `image_to_text`, `text_to_image`: share of pictures (captions) whose own caption (picture) is nearest among all
    `candidates`; one with the same words counts as its own. `choice_*`: mean recall over the answers that occur, and
    `*_chance` what guessing gives. `thing_*`: how often, of a picture with the thing and one without, the first is
    told to show it; 0.5 is guessing. `choice`, `thing`: their means. What cannot be asked of these pairs is left out.

    The text of an answer is the mean over the captions of further pictures that give it, as CLIP is asked with many
    prompts for a class (Radford et al. 2021, section 3.1.4). So the corpus must go on beyond the first `count`; raises
    ValueError otherwise, and where there are fewer than two pairs.
    """
    if not 2 <= count < len(corpus.ids):
        raise ValueError(f"asking about {count} pairs of {len(corpus.ids)}: it takes two, and others beyond them")
    captions = [corpus.caption(index) for index in range(min(len(corpus.ids), (1 + _TEXTS_PER_PICTURE) * count))]
    images_ND, texts_MD = _embed_images(embedder, corpus, count), _embed_texts(embedder, captions)
    found = {"candidates": float(count), **_retrieval(images_ND, texts_MD[:count], captions[:count])}
    choices = {name: _choice(answers, images_ND, texts_MD, captions) for name, answers in questions.choices.items()}
    things = {name: _presence(names, images_ND, texts_MD, captions) for name, names in questions.things.items()}
    for kind, results in (("choice", choices), ("thing", things)):
        told = {name: values for name, values in results.items() if values}
        if told:
            found[kind] = float(np.mean([values[0] for values in told.values()]))
        found |= {f"{kind}_{name}": values[0] for name, values in told.items()}
        found |= {f"{kind}_{name}_chance": values[1] for name, values in told.items() if kind == "choice"}
    return found


@torch.no_grad()
def _embed_images(embedder: Embedder, corpus: Corpus, count: int) -> Tensor:
    parts = []
    for start in range(0, count, _IMAGES_AT_ONCE):
        indices = range(start, min(count, start + _IMAGES_AT_ONCE))
        parts.append(embedder.images(np.stack([corpus.image(index) for index in indices])))
    return F.normalize(torch.cat(parts).float().cpu(), dim=1)


@torch.no_grad()
def _embed_texts(embedder: Embedder, texts: Sequence[str]) -> Tensor:
    return F.normalize(embedder.texts(texts).float().cpu(), dim=1)


def _retrieval(images_ND: Tensor, texts_ND: Tensor, captions: Sequence[str]) -> dict[str, float]:
    cosines = images_ND @ texts_ND.T
    return {
        name: float(np.mean([captions[nearest] == caption for caption, nearest in zip(captions, found, strict=True)]))
        for name, found in (
            ("image_to_text", cosines.argmax(1).tolist()),
            ("text_to_image", cosines.argmax(0).tolist()),
        )
    }


def _choice(
    answers: Sequence[Phrases], images_ND: Tensor, texts_MD: Tensor, captions: Sequence[str]
) -> tuple[float, float] | None:
    """Mean over the answers that occur of the share of their pictures that are given them, and that of guessing."""
    truth_M = np.array([_answer(caption, answers) for caption in captions])
    truth_N, others_M = truth_M[: len(images_ND)], np.arange(len(captions)) >= len(images_ND)
    known = [number for number in range(len(answers)) if (others_M & (truth_M == number)).any()]
    asked = [number for number in known if (truth_N == number).any()]
    if len(known) < 2 or not asked:
        return None
    prompts_KD = F.normalize(
        torch.stack([texts_MD[torch.from_numpy(others_M & (truth_M == number))].mean(0) for number in known]), dim=1
    )
    given_N = np.array(known)[(images_ND @ prompts_KD.T).argmax(1).numpy()]
    return float(np.mean([(given_N[truth_N == number] == number).mean() for number in asked])), 1 / len(known)


def _presence(
    names: Phrases, images_ND: Tensor, texts_MD: Tensor, captions: Sequence[str]
) -> tuple[float, float] | None:
    """The area under the curve of hits over false alarms, which needs no threshold, and that of guessing."""
    there_M = torch.tensor([_longest(caption, names) > 0 for caption in captions])
    count = len(images_ND)
    there_N, others_M = there_M[:count], torch.arange(len(captions)) >= count
    with_MD, without_MD = texts_MD[others_M & there_M], texts_MD[others_M & ~there_M]
    if not len(with_MD) or not len(without_MD) or there_N.all() or not there_N.any():
        return None
    scores_N = images_ND @ (with_MD.mean(0) - without_MD.mean(0))
    above = scores_N[there_N][:, None] - scores_N[~there_N][None]
    return float(((above > 0).float() + 0.5 * (above == 0).float()).mean()), 0.5


def _answer(caption: str, answers: Sequence[Phrases]) -> int:
    """The answer a caption gives, -1 for none: of phrases within one another, the longest counts."""
    lengths = [_longest(caption, phrases) for phrases in answers]
    return int(np.argmax(lengths)) if max(lengths) else -1


def _longest(caption: str, phrases: Phrases) -> int:
    """Characters of the longest phrase that the caption holds as whole words; 0 for none."""
    return max((len(phrase) for phrase in phrases if re.search(rf"\b{re.escape(phrase)}\b", caption)), default=0)
