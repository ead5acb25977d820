"""What any segment-anything is to us, whatever its family: an image encoder and a decoder of prompts. It is none."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from clouds.models.sam_frame import Frame


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """What the image encoder made of one image: all that is needed to ask for masks, and to keep for later rounds.

    `features` are the tensors of one image, without a batch dimension; `image_size` is its (height, width) in pixels.
    """

    features: tuple[Tensor, ...]
    image_size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class PromptBatch:
    """One prompt for each of N masks, in pixels of the frame; all of the same form.

    `points_NPX` float32 (x, y), P may be 0; `kinds_NP` int32, 1 on the mask and 0 off it; `boxes_NX` float32 left, top,
    right, bottom; `shown_NHW` float32, logits of a mask to start from at the decoder's resolution.
    """

    points_NPX: Tensor
    kinds_NP: Tensor
    boxes_NX: Tensor | None
    shown_NHW: Tensor | None


class PromptableModel(Protocol):
    """A segment-anything with its weights, in evaluation mode, without gradients.

    `name` says which it is; `frame` is how it sees an image; `cells` the (height, width) of a mask it gives.
    """

    @property
    def name(self) -> str: ...
    @property
    def frame(self) -> Frame: ...
    @property
    def cells(self) -> tuple[int, int]: ...
    @property
    def device(self) -> torch.device: ...

    def compile(self) -> None:
        """Have the image encoder compiled when it first sees a batch of a size; masks may differ by rounding."""
        ...

    def encode(self, pixels_BCHW: Tensor) -> tuple[Tensor, ...]:
        """The features of normalised images in the frame, each with the images as first dimension."""
        ...

    def decode(self, features: tuple[Tensor, ...], prompts: PromptBatch) -> tuple[Tensor, Tensor]:
        """Candidates (N, C, *cells) as logits and their estimated IoU (N, C), for one image per prompt."""
        ...
