"""How well a segmenter recognises in generated pictures what their captions name. It knows no generator.

The segmenter has learned from full labels of the captions' own domain; the pictures the captions were written for show
how well it does where everything is there.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clouds.data.labels import LabelMap
from clouds.models.inference import predict_scores
from clouds.models.segmenter import MaskSegmenter
from clouds.pretraining.recognition import brightness, found_things, recognition

_AT_ONCE = 8


class Captioned(Protocol):
    """Pictures with captions."""

    @property
    def ids(self) -> Sequence[str]: ...

    def image(self, index: int) -> NDArray[np.uint8]: ...

    def caption(self, index: int) -> str: ...


def appraise_generator(
    judge: MaskSegmenter, label_map: LabelMap, generated: Captioned, real: Captioned
) -> dict[str, Any]:
    """What the judge, whose classes are those of `label_map`, recognises in generated and in real pictures.

    `generated` and `real`: see `recognition`; `brightness` of each: see `brightness`. Pictures are matched by their
    ids: the real ones are those of the generated ones' captions. Raises ValueError where nothing was generated.
    """
    if not len(generated.ids):
        raise ValueError("there is no picture to appraise with")
    places = {id_: index for index, id_ in enumerate(real.ids)}
    results = {
        "generated": _Shown(generated, range(len(generated.ids))),
        "real": _Shown(real, [places[id_] for id_ in generated.ids]),
    }
    found: dict[str, Any] = {
        name: recognition(shown.captions, _judged(judge, label_map, shown)) for name, shown in results.items()
    }
    return found | {"brightness": {name: brightness(shown.captions, shown) for name, shown in results.items()}}


class _Shown:
    """Some pictures of a set, read when asked for."""

    def __init__(self, pictures: Captioned, indices: Sequence[int]) -> None:
        self._pictures, self._indices = pictures, indices
        self.captions = [pictures.caption(index) for index in indices]

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self._pictures.image(index) for index in self._indices)


def _judged(judge: MaskSegmenter, label_map: LabelMap, shown: _Shown) -> list[frozenset[str]]:
    """What the judge finds in each picture."""
    found: list[frozenset[str]] = []
    images = iter(shown)
    while batch := list(islice(images, _AT_ONCE)):
        scores = dict(predict_scores(judge, batch, nullcontext))
        found += [found_things(scores[place].argmax(0).cpu().numpy(), label_map) for place in range(len(batch))]
    return found
