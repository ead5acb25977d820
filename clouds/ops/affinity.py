"""How well places of a picture tell by their features which of them lie on the same object. It knows no model."""

import torch
import torch.nn.functional as F
from torch import Tensor


def affinity_loss(features_TC: Tensor, shares_TK: Tensor, log_scale: Tensor, offset: Tensor) -> Tensor:
    """Cross-entropy of "a pixel here and a pixel there are of one object", told from the distance of two features.

    The odds are `offset - exp(log_scale) * distance ** 2`; the truth is the chance that two random pixels agree. In
    each row, what is the same object and what is not weigh alike; rows of small objects weigh more, by the square root
    of the area.

    Args:
        features_TC: float32, one feature per place.
        shares_TK: float32, the share of each place that each of K objects covers; at most 1 in all.
        log_scale, offset: scalars that are learned with the features.

    Returns:
        A scalar; 0 where no place is covered by half.
    """
    covered_T = shares_TK.sum(1) > 0.5
    features_TC, shares_TK = features_TC[covered_T], shares_TK[covered_T]
    same_TT = (shares_TK @ shares_TK.T).clamp(0, 1)
    # not `cdist`: its gradient has no bound where two features coincide
    squares_T = features_TC.square().sum(1)
    distance_TT = (squares_T[:, None] + squares_T[None] - 2 * features_TC @ features_TC.T).clamp(min=0)
    odds_TT = offset - log_scale.exp() * distance_TT
    entropy_TT = F.binary_cross_entropy_with_logits(odds_TT, same_TT, reduction="none")
    ours_T1 = same_TT.sum(1, keepdim=True).clamp(min=0.5)
    others_T1 = (1 - same_TT).sum(1, keepdim=True).clamp(min=0.5)
    rows_T = (entropy_TT * (same_TT / ours_T1 + (1 - same_TT) / others_T1)).sum(1) / 2
    areas_K = shares_TK.sum(0)
    weights_T = (shares_TK @ areas_K).clamp(min=0.5).rsqrt()
    return torch.as_tensor((rows_T * weights_T).sum() / weights_T.sum().clamp(min=1e-6))
