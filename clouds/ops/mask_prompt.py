"""A mask as a prompt: the logits a mask model would have given for it. It knows no model."""

import torch.nn.functional as F
from torch import Tensor

_SURE = 8.0


def mask_prompt(frames_NHW: Tensor, cells: tuple[int, int]) -> Tensor:
    """Masks of a model's frame as logits of its decoder, float32 (N, *cells) in [-8, 8].

    `frames_NHW` is the share of each pixel that is covered, in [0, 1]; a cell that is half covered is at 0.
    """
    shares_N1HW = F.interpolate(frames_NHW[:, None].float(), cells, mode="area")
    return (shares_N1HW[:, 0] * 2 - 1) * _SURE
