"""Classes by their names: pooled masks, similarity to text vectors, and CLIP's own opinion. It knows no model.

The text classifier of CLOUDS (yasserben/CLOUDS, `clouds_transformer_decoder.py` and `clouds.py`), which takes it from
FC-CLIP (arXiv 2308.02487) and the maximum over names from OpenSeg (arXiv 2112.12143).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_LARGEST_SCALE = 100.0
_TINY = 1e-8


def pool_masks(pixels_BChw: Tensor, mask_logits_BQhw: Tensor) -> Tensor:
    """The mean of the pixels inside each mask, where its logit is positive: (B, Q, C), zero for an empty mask.

    Masks of another size are brought to that of the pixels first. No gradient goes to the masks.
    """
    size = (pixels_BChw.shape[-2], pixels_BChw.shape[-1])
    masks_BQhw = mask_logits_BQhw.detach()
    if tuple(masks_BQhw.shape[-2:]) != size:
        masks_BQhw = F.interpolate(masks_BQhw, size=size, mode="bilinear", align_corners=False)
    inside_BQhw = (masks_BQhw > 0).to(pixels_BChw.dtype)
    share_BQhw = inside_BQhw / (inside_BQhw.sum((-2, -1), keepdim=True) + _TINY)
    return torch.einsum("bchw,bqhw->bqc", pixels_BChw, share_BQhw)


def name_logits(vectors_BQE: Tensor, texts_SE: Tensor, log_scale: Tensor) -> Tensor:
    """Cosines of vectors to texts of length one, times exp(`log_scale`), at most 100: (B, Q, S)."""
    scale = log_scale.exp().clamp(max=_LARGEST_SCALE)
    logits_BQS: Tensor = scale * F.normalize(vectors_BQE, dim=-1) @ texts_SE.T
    return logits_BQS


def best_names(logits_BQS: Tensor, names_per_class: Sequence[int]) -> Tensor:
    """The largest logit among each class's names, which stand one class after another: (B, Q, K)."""
    of_classes = logits_BQS.split(list(names_per_class), dim=-1)
    return torch.stack([names_BQs.amax(-1) for names_BQs in of_classes], dim=-1)


def geometric_ensemble(
    class_logits_BQC: Tensor, clip_logits_BQK: Tensor, seen_K: Tensor, *, seen: float, unseen: float
) -> Tensor:
    """Class logits (B, Q, K + 1) after the frozen CLIP had its say.

    The probabilities of the K classes are raised to 1 - e, CLIP's to e, and multiplied; "no object" keeps its own.

    Args:
        class_logits_BQC: (B, Q, K + 1), the last column being "no object".
        clip_logits_BQK: CLIP's for the same masks.
        seen_K: bool, which classes were trained.
        seen, unseen: the exponent e, in [0, 1], of classes that were trained and of others.
    """
    exponent_K = torch.where(seen_K, seen, unseen)
    own_BQK = class_logits_BQC[..., :-1].log_softmax(-1)
    joint_BQK = ((1 - exponent_K) * own_BQK + exponent_K * clip_logits_BQK.log_softmax(-1)).softmax(-1)
    no_object_BQ1 = class_logits_BQC.softmax(-1)[..., -1:]
    # the small number is the published one; it keeps a probability of zero finite
    return torch.cat([joint_BQK * (1 - no_object_BQ1), no_object_BQ1], dim=-1).add(_TINY).log()
