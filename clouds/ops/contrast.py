"""Pixels of one class drawn together, pixels of others pushed apart: CLUDA's loss. It knows no model and no image.

The published code (arXiv 2208.14227; user0407/CLUDA) holds several matrices of all pairs at once, counts ignored pixels
as a class, and, for a batch of more than one image, pairs the features of a pixel with the label of another. Here pairs
come in blocks that are computed again for the gradient, ignored pixels take no part, and a feature keeps its label.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def pixel_contrast_loss(
    features_NC: Tensor,
    labels_N: Tensor,
    weights_N: Tensor | None = None,
    *,
    temperature: float = 1.0,
    ignore: int = 255,
    block: int = 1024,
) -> Tensor:
    """The mean over pixels of what telling its class by its neighbours in feature space costs, `log` of a share.

    With the similarity s of two normalised features, divided by the temperature, a pair of one class costs
    `log(exp(s) + sum over pixels of other classes of exp(s of the first pixel with them)) - s`; a pixel costs the mean
    over its pairs, each times the product of its pixels' weights.

    Args:
        features_NC: one feature per pixel, of any images.
        labels_N: integer class ids of the same pixels; those that are `ignore` are left out.
        weights_N: float in [0, 1], how far a label is trusted; None: wholly.
        temperature: above 0; the lower, the more the nearest pixels count.
        block: pixels whose pairs are held at once; memory grows with block * N.

    Returns:
        A float32 scalar, the mean over labelled pixels; 0 where no pixel has a label. A pixel alone in its class
        counts and costs nothing, as published.
    """
    labelled_N = labels_N != ignore
    features_NC, labels_N = features_NC[labelled_N], labels_N[labelled_N]
    with torch.autocast(features_NC.device.type, enabled=False):
        features_NC = F.normalize(features_NC.float(), dim=1)
        weights_N = torch.ones_like(labels_N, dtype=torch.float32) if weights_N is None else weights_N[labelled_N]
        total = features_NC.sum() * 0.0
        for start in range(0, len(features_NC), block):
            rows = slice(start, start + block)
            costs = checkpoint(_block, features_NC, labels_N, weights_N, rows, temperature, use_reentrant=False)
            total = total + costs
        return total / max(len(features_NC), 1)


def _block(features_NC: Tensor, labels_N: Tensor, weights_N: Tensor, rows: slice, temperature: float) -> Tensor:
    """The sum of the costs of some pixels, over all their pairs."""
    similarity_RN = features_NC[rows] @ features_NC.T / temperature
    same_RN = labels_N[rows, None] == labels_N[None]
    others_R1 = similarity_RN.masked_fill(same_RN, -torch.inf).logsumexp(1, keepdim=True)
    costs_RN = torch.logaddexp(similarity_RN, others_R1) - similarity_RN
    pairs_RN = same_RN.clone()
    pairs_RN.diagonal(rows.start).fill_(False)
    weighted_RN = costs_RN * weights_N[rows, None] * weights_N[None]
    means_R = (weighted_RN * pairs_RN).sum(1) / pairs_RN.sum(1).clamp(min=1)
    return means_R.sum()
