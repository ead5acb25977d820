"""How far features went from others, in cells that one of some classes covers. It knows no model.

DAFormer (arXiv 2111.14887, section 3.2) keeps a backbone by it near to what ImageNet taught it about things.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

# a share of a cell is a sum of fractions
_ROUNDING = 1e-6


def covered_cells(labels_BHW: Tensor, classes: Iterable[int], stride: int, least: float) -> Tensor:
    """bool (B, h, w): the cells of `stride` x `stride` pixels of which one of the classes covers at least this share.

    Args:
        labels_BHW: class ids; cells start at the top left corner, and what lies beyond the image covers nothing.
        least: in (0, 1].
    """
    height, width = labels_BHW.shape[-2:]
    beyond = (0, -width % stride, 0, -height % stride)
    covered_Bhw = torch.zeros(1, dtype=torch.bool, device=labels_BHW.device)
    for class_id in classes:
        own_B1HW = F.pad((labels_BHW == class_id).float()[:, None], beyond)
        covered_Bhw = covered_Bhw | (F.avg_pool2d(own_B1HW, stride)[:, 0] >= least - _ROUNDING)
    return covered_Bhw


def distance_sum(features_BChw: Tensor, start_BChw: Tensor, cells_Bhw: Tensor) -> Tensor:
    """The Euclidean distances of two feature maps, added up over the cells; its gradient is 0 where they are equal."""
    difference_NC = (features_BChw - start_BChw).movedim(1, -1)[cells_Bhw]
    return torch.linalg.vector_norm(difference_NC, dim=-1).sum()
