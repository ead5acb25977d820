"""What tells the class of a query: a linear layer, or CLIP's text vectors. It knows no image and no file."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clouds.models.class_texts import ClassTexts
from clouds.ops.open_vocabulary import best_names, name_logits, pool_masks

_FIRST_SCALE = 1 / 0.07


@dataclass(frozen=True)
class Queries:
    """What one decoder layer knows of its queries: states (B, Q, C), mask logits (B, Q, h, w), and the pixel features
    (B, C, h, w) that the masks were read from."""

    states_BQC: Tensor
    mask_logits_BQhw: Tensor
    pixels_BChw: Tensor


class Classifier(Protocol):
    """Class logits (B, Q, K + 1) of queries, the last column being "no object"; also a torch module."""

    def __call__(self, queries: Queries, texts: ClassTexts | None) -> Tensor: ...


class ClosedClassifier(nn.Module):
    """A linear layer over the classes it was trained with: Mask2Former's."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        linear = nn.Linear(channels, num_classes + 1)
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, queries: Queries, texts: ClassTexts | None) -> Tensor:
        """See `Classifier`; the texts are not used."""
        return F.linear(queries.states_BQC, self.weight, self.bias)


class TextClassifier(nn.Module):
    """Nearness to the text vectors of any classes, as published (yasserben/CLOUDS, `clouds_transformer_decoder.py`).

    The pixels of a query's mask, averaged and projected, are added to its state; three layers turn the sum into a
    vector of the CLIP; a learned one stands for "no object".
    """

    def __init__(self, channels: int, embedding_dim: int) -> None:
        super().__init__()
        self.pooled_projection = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, channels))
        self.embedder = nn.Sequential(
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, embedding_dim),
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE)))
        self.no_object = nn.Embedding(1, embedding_dim)

    def forward(self, queries: Queries, texts: ClassTexts | None) -> Tensor:
        """See `Classifier`. Raises `ValueError` without texts."""
        if texts is None:
            raise ValueError("the text classifier needs the texts of the classes")
        # half precision cannot tell cosines apart that are scaled by up to 100
        with torch.autocast(queries.states_BQC.device.type, enabled=False):
            pooled_BQC = pool_masks(queries.pixels_BChw.float(), queries.mask_logits_BQhw.float())
            vectors_BQE = self.embedder(self.pooled_projection(pooled_BQC) + queries.states_BQC.float())
            no_object_1E = F.normalize(self.no_object.weight, dim=-1)
            logits_BQS = name_logits(vectors_BQE, torch.cat([texts.texts_SE, no_object_1E]), self.log_scale)
            return best_names(logits_BQS, (*texts.counts, 1))
