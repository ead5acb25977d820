"""How far guessed labels are trusted: by pixel, and from there by point, by mask and by image. It knows no model.

An image that is trusted by a share everywhere has that share of its loss, in each of the mask loss's terms, and the
same matching. Where trust differs within an image, pixels count by it in the mask terms, a mask's dice and its class
by the mean over its points, and the queries without a mask by the mean over the image.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from clouds.ops.mask_points import PointTargets, read_shares

Weighting = Literal["ignore", "pixel", "image"]

# below it trust is none
_LEAST = 1e-6


@dataclass(frozen=True)
class Trust:
    """The trust in the labels of B images at N points, in their T masks and in the images; all in [0, 1]."""

    points_BN: Tensor
    masks_BT: Tensor
    images_B: Tensor

    @property
    def relative_BN(self) -> Tensor:
        """The points' trust as a share of their image's: what tells pixels of one image apart."""
        images_B1 = self.images_B[:, None]
        # in an image that is not trusted at all no pixel is less so than others
        return torch.where(images_B1 > _LEAST, self.points_BN / images_B1.clamp(min=_LEAST), 1.0)

    def part(self, points: slice) -> "Trust":
        return Trust(self.points_BN[:, points], self.masks_BT, self.images_B)


@dataclass(frozen=True)
class CountedTargets:
    """What labels say at points, how far they are trusted, and a factor on each image's dice; None: wholly, and 1."""

    targets: PointTargets
    trust: Trust | None = None
    dice_B: Tensor | None = None

    def part(self, points: slice) -> "CountedTargets":
        trust = None if self.trust is None else self.trust.part(points)
        return CountedTargets(self.targets.part(points), trust, self.dice_B)

    @property
    def relative(self) -> PointTargets:
        """The targets with each point as much there as it is trusted more or less than its image."""
        if self.trust is None:
            return self.targets
        relative_BN, targets = self.trust.relative_BN, self.targets
        positive_BTN = targets.positive_BTN * relative_BN[:, None]
        return PointTargets(targets.grid_BN2, targets.valid_BN * relative_BN, positive_BTN)


def trust_at(points_BN2: Tensor, weights_BHW: Tensor, labelled_BHW: Tensor, targets: PointTargets) -> Trust:
    """The trust at points (x, y) in pixels, as `read_points` read their labels, from float weights in [0, 1].

    A point has the mean over its pixels that are labelled, of which it has some.
    """
    known_BHW = labelled_BHW.float()
    shares_BN = read_shares(points_BN2, known_BHW).clamp(min=_LEAST)
    points_BN = (read_shares(points_BN2, weights_BHW.float() * known_BHW) / shares_BN).to(targets.valid_BN.device)
    images_B = _mean(points_BN, targets.valid_BN)
    masks_BT = torch.where(
        targets.positive_BTN.sum(-1) > 0, _mean(points_BN[:, None], targets.positive_BTN), images_B[:, None]
    )
    return Trust(points_BN, masks_BT, images_B)


def label_weights(confidence_BHW: Tensor, counted_BHW: Tensor, threshold: float, how: Weighting) -> Tensor | None:
    """How far each guessed label is trusted, from how sure it is.

    Args:
        confidence_BHW: float in [0, 1].
        counted_BHW: bool, the pixels that belong to the image; padding does not.
        threshold: from which confidence on a pixel is sure.
        how: `ignore`: nothing here, unsure pixels have no label; `pixel`: by its own confidence; `image`: all pixels
            by the share of sure ones in their image, as DAFormer does over a batch (arXiv 2111.14887, section 3.1).

    Returns:
        float32 (B, H, W), or None where labels that are left are trusted wholly.
    """
    if how == "ignore":
        return None
    if how == "pixel":
        return confidence_BHW.float()
    sure_B = ((confidence_BHW >= threshold) & counted_BHW).flatten(1).sum(1)
    shares_B = sure_B / counted_BHW.flatten(1).sum(1).clamp(min=1)
    return shares_B.float()[:, None, None].expand(confidence_BHW.shape).clone()


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum(-1) / weights.sum(-1).clamp(min=_LEAST)
