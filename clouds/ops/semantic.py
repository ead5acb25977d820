"""From scored masks to scored pixels. It knows no model: a mask is a grid of logits with class logits beside it."""

import torch
import torch.nn.functional as F
from torch import Tensor

_QUERIES_AT_ONCE = 16
"""Masks brought to image size at a time: bounds the memory, whatever the number of queries."""


def semantic_scores(class_logits_QC: Tensor, mask_logits_Qhw: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Class scores of every pixel of one image, or of each of a batch, from its queries' classes and masks.

    The published inference rule of MaskFormer (arXiv 2107.06278, section 3.4): each pixel's score for a class is the
    sum over queries of class probability times mask probability. The sum is then divided by its total over classes,
    which leaves the order of the classes as published.

    Args:
        class_logits_QC: (Q, K + 1) or (B, Q, K + 1), the last column being "no object".
        mask_logits_Qhw: (Q, h, w) or (B, Q, h, w) at `stride` pixels per cell, covering at least `size` from the top
            left corner.
        stride: pixels per mask cell.
        size: height and width of the image.

    Returns:
        float32 (K, H, W) or (B, K, H, W) in [0, 1]; a pixel's scores sum to one, or to less where no mask claims it.
    """
    padded = (mask_logits_Qhw.shape[-2] * stride, mask_logits_Qhw.shape[-1] * stride)
    if padded[0] < size[0] or padded[1] < size[1]:
        raise ValueError(f"masks cover {padded} pixels, less than the image's {tuple(size)}")
    classes_QK = class_logits_QC.float().softmax(-1)[..., :-1]
    scores_KHW = classes_QK.new_zeros(*classes_QK.shape[:-2], classes_QK.shape[-1], *size)
    for start in range(0, classes_QK.shape[-2], _QUERIES_AT_ONCE):
        part = slice(start, start + _QUERIES_AT_ONCE)
        masks_qHW = _upsample(mask_logits_Qhw[..., part, :, :].float(), padded)[..., : size[0], : size[1]].sigmoid_()
        scores_KHW += torch.einsum("...qk,...qhw->...khw", classes_QK[..., part, :], masks_qHW)
    return scores_KHW.div_(scores_KHW.sum(-3, keepdim=True).clamp(min=1e-6))


def _upsample(masks_qhw: Tensor, size: tuple[int, int]) -> Tensor:
    batch_Bqhw = masks_qhw if masks_qhw.dim() == 4 else masks_qhw[None]
    upsampled_BqHW = F.interpolate(batch_Bqhw, size=size, mode="bilinear", align_corners=False)
    return upsampled_BqHW if masks_qhw.dim() == 4 else upsampled_BqHW[0]
