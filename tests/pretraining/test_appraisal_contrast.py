"""The appraisal of a CLIP: perfect for one who knows, chance for one who guesses, and true to the captions' words."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_corpus import RenderedCorpus
from torch import Tensor

from clouds.data.world import caption_words
from clouds.models.clip_builder import build_clip
from clouds.models.clip_sizes import ClipSizes, ClipTextSizes
from clouds.pretraining.appraisal_contrast import Questions, appraise_clip, street_questions

PLACES, TIMES, THINGS = ("town", "old town", "village"), ("at noon", "at night"), ("", "with a car", "with two cars")
QUESTIONS = Questions(
    choices={
        "place": [(f"a {place}",) for place in PLACES],
        "time": [(time,) for time in TIMES],
        "color": [("a red car",), ("a blue car",)],
    },
    things={"car": ("car", "cars"), "moon": ("moon",)},
)


class Written:
    """Pictures that hold their own number, and captions of all that can be said; they come four times."""

    def __init__(self) -> None:
        said = [f"a {place} {time} {thing}".strip() for place in PLACES for time in TIMES for thing in THINGS]
        self.captions = said * 4
        self.ids = [str(number) for number in range(len(self.captions))]

    def image(self, index: int) -> NDArray[np.uint8]:
        return np.full((1, 1, 3), index, np.uint8)

    def caption(self, index: int) -> str:
        return self.captions[index]

    def instances(self, index: int) -> NDArray[np.uint16]:
        raise AssertionError("nobody needs the masks")


class Reader:
    """Reads the number in the picture and knows its caption; each property has a direction of its own."""

    def images(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        return self.texts([Written().captions[number] for number in images_BHWC[:, 0, 0, 0]])

    def texts(self, texts: Sequence[str]) -> Tensor:
        words = (*(f"a {place}" for place in PLACES), *TIMES, "car", "two")
        return torch.tensor([[float(word in text) for word in words] for text in texts])


class Guesser:
    """Gives vectors at random."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def images(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        return torch.randn(len(images_BHWC), 16, generator=self.generator)

    def texts(self, texts: Sequence[str]) -> Tensor:
        return torch.randn(len(texts), 16, generator=self.generator)


def test_one_who_knows_is_right_in_all() -> None:
    result = appraise_clip(Reader(), Written(), 36, QUESTIONS)
    assert result == {
        "candidates": 36.0,
        "image_to_text": 1.0,
        "text_to_image": 1.0,
        "choice": 1.0,
        "thing": 1.0,
        "choice_place": 1.0,
        "choice_place_chance": pytest.approx(1 / 3),
        "choice_time": 1.0,
        "choice_time_chance": 0.5,
        "thing_car": 1.0,
    }


def test_one_who_guesses_is_at_chance() -> None:
    results = [appraise_clip(Guesser(seed), Written(), 36, QUESTIONS) for seed in range(80)]
    mean = {name: np.mean([result[name] for result in results]) for name in results[0]}
    # two pictures have the same caption
    assert mean["image_to_text"] == pytest.approx(2 / 36, abs=0.03)
    assert mean["text_to_image"] == pytest.approx(2 / 36, abs=0.03)
    for name in ("place", "time"):
        assert mean[f"choice_{name}"] == pytest.approx(mean[f"choice_{name}_chance"], abs=0.06)
    assert mean["thing_car"] == pytest.approx(0.5, abs=0.08)


def test_a_model_that_says_nothing_gains_nothing_by_ties() -> None:
    class Silent(Guesser):
        def images(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
            return torch.ones(len(images_BHWC), 4)

        def texts(self, texts: Sequence[str]) -> Tensor:
            return torch.ones(len(texts), 4)

    result = appraise_clip(Silent(0), Written(), 36, QUESTIONS)
    assert result["thing_car"] == 0.5 and result["choice_time"] == 0.5
    assert result["image_to_text"] <= 2 / 36


@pytest.mark.parametrize("count", [1, 72])
def test_it_takes_two_pairs_and_others_beyond_them(count: int) -> None:
    with pytest.raises(ValueError, match="beyond"):
        appraise_clip(Guesser(0), Written(), count, QUESTIONS)


def test_the_worlds_questions_are_in_its_words_and_its_captions_answer_them() -> None:
    questions = street_questions()
    asked = [*(phrases for answers in questions.choices.values() for phrases in answers), *questions.things.values()]
    assert {word for phrases in asked for phrase in phrases for word in phrase.split()} <= set(caption_words())
    corpus = RenderedCorpus(72)
    text = ClipTextSizes(width=16, layers=1, heads=2)
    clip = build_clip(ClipSizes(trunk="test_convnext3", embed_dim=16, text=text), caption_words(), 0)
    clip.model.eval()
    result = appraise_clip(clip, corpus, 24, questions)
    assert {f"choice_{name}" for name in ("place", "time", "weather", "buildings")} < result.keys()
    assert {f"thing_{name}" for name in ("person", "fence", "zebra_crossing")} < result.keys()
    assert all(0 <= value <= 1 for name, value in result.items() if name != "candidates")
    assert appraise_clip(clip, corpus, 24, questions) == result
