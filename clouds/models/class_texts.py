"""The classes of a segmenter as a CLIP's text tower reads their names. It knows no image, no head and no file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clouds.data.labels import LabelMap
from clouds.data.names import name_key
from clouds.errors import UsageError, nearest
from clouds.models.clip_builder import Clip
from clouds.models.segmenter_config import EnsembleConfig, TextConfig

_TEXTS_AT_ONCE = 128

Names = tuple[tuple[str, ...], ...]
"""The names of each class, in the order of their ids."""


class ClassTexts(nn.Module):
    """A vector for every name of every class, fixed.

    `texts_SE` (S, E) has length one along E and the classes one after another; `log_scale` is the CLIP's own, from
    cosines to logits. `trained` are the names a segmenter with these texts was trained with.
    """

    texts_SE: Tensor
    log_scale: Tensor

    def __init__(self, names: Names, trained: Sequence[str], embedding_dim: int) -> None:
        super().__init__()
        self.names = names
        self.trained = tuple(trained)
        self.register_buffer("texts_SE", torch.zeros(sum(self.counts), embedding_dim))
        self.register_buffer("log_scale", torch.zeros(()))

    @property
    def counts(self) -> tuple[int, ...]:
        """How many names each class has."""
        return tuple(len(names) for names in self.names)

    @property
    def embedding_dim(self) -> int:
        """Length of the vectors."""
        return int(self.texts_SE.shape[1])

    @property
    def seen_K(self) -> Tensor:
        """bool: the classes that share a name with a trained one, as published."""
        trained = {name_key(name) for name in self.trained}
        seen = [not trained.isdisjoint(map(name_key, names)) for names in self.names]
        return torch.tensor(seen, device=self.texts_SE.device)


class TextTower(Protocol):
    """A CLIP's text tower that need not be in memory."""

    def open(self) -> Clip:
        """The CLIP it belongs to, as far as it reads texts."""
        ...

    def save(self, folder: Path) -> None:
        """Write it to a folder, over what a save that was cut short left there."""
        ...


@dataclass(frozen=True, eq=False)
class Naming:
    """What a segmenter has of its CLIP besides the image tower.

    `classifier` says what classifies (see `SegmenterConfig`), `ensemble` whether CLIP has a say when predicting.
    `tower` is what read the names, to read others; None where other classes cannot be asked for.
    """

    texts: ClassTexts
    classifier: Literal["closed", "text"]
    templates: tuple[str, ...]
    ensemble: EnsembleConfig | None
    tower: TextTower | None

    @property
    def text_dim(self) -> int | None:
        """Length of the vectors the classifier compares with; None for a closed one."""
        return self.texts.embedding_dim if self.classifier == "text" else None

    def of(self, names: Names) -> "Naming":
        """The same for other classes, which count as trained as far as they share names with the trained ones.

        Raises `ValueError` without a text tower.
        """
        if self.tower is None:
            raise ValueError("there is no text tower to read other names")
        texts = read_names(self.tower.open(), names, self.templates, self.texts.trained)
        return replace(self, texts=texts.to(self.texts.texts_SE.device))


def class_names(label_map: LabelMap, config: TextConfig) -> Names:
    """The names to ask for: those the config gives a class, or else its own and its synonyms.

    Raises `UsageError` where the config names no class of the run.
    """
    given: dict[int, tuple[str, ...]] = {}
    for name, names in config.names.items():
        found = label_map.find(name)
        if found is None:
            mend = nearest(name, label_map.names)
            raise UsageError(f"'train.segmenter.text.names' has {name!r}, which is none of the classes", mend)
        given[found] = names
    return tuple(given.get(one.id, (one.name, *one.synonyms)) for one in label_map.classes)


@torch.no_grad()
def read_names(clip: Clip, names: Names, templates: Sequence[str], trained: Sequence[str] | None = None) -> ClassTexts:
    """The texts of classes, each name averaged over the templates as published: normalised, averaged, normalised.

    Without `trained` all the names are. The CLIP is used as it is, on its own device.
    """
    flat = [name for of_class in names for name in of_class]
    sentences = [template.format(name) for name in flat for template in templates]
    parts = [clip.texts(sentences[start : start + _TEXTS_AT_ONCE]) for start in _starts(len(sentences))]
    vectors_STE = F.normalize(torch.cat(parts).float(), dim=-1).unflatten(0, (len(flat), len(templates)))
    texts_SE = F.normalize(vectors_STE.mean(1), dim=-1)
    texts = ClassTexts(names, flat if trained is None else trained, texts_SE.shape[1])
    texts.texts_SE.copy_(texts_SE)
    texts.log_scale.copy_(clip.model.logit_scale)
    return texts


def _starts(count: int) -> range:
    return range(0, count, _TEXTS_AT_ONCE)
