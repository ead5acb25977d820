"""Random points on labels, and what labels and masks say there. It knows no loss.

Points lie on labelled pixels only, and carry how much of their bilinear reading does.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PointTargets:
    """What the labels of B images say at N points each, for T classes.

    `grid_BN2` is the points in the masks' own coordinates, -1 to 1. `valid_BN` is the share of a point that lies on
    labelled pixels and `positive_BTN` the share that lies on each class, both in [0, 1].
    """

    grid_BN2: Tensor
    valid_BN: Tensor
    positive_BTN: Tensor

    def part(self, points: slice) -> "PointTargets":
        return PointTargets(self.grid_BN2[:, points], self.valid_BN[:, points], self.positive_BTN[:, :, points])


def draw_points(labels_HW: Tensor, count: int, generator: torch.Generator, ignore: int) -> Tensor:
    """Random points of one image, uniform over its labelled pixels, of which there must be one.

    Returns float32 (count, 2) on the CPU as (x, y) in pixels from the top left corner.
    """
    drawn_N3 = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    valid = (labels_HW != ignore).flatten()
    pixels_N = (drawn_N3[:, 0] * int(valid.sum())).long()
    if not valid.all():
        pixels_N = valid.nonzero()[:, 0][pixels_N]
    width = labels_HW.shape[1]
    corners_N2 = torch.stack([pixels_N % width, pixels_N // width], dim=1)
    return (corners_N2 + drawn_N3[:, 1:]).float()


def read_points(
    points_BN2: Tensor, labels_BHW: Tensor, classes_BT: Tensor, *, ignore: int, covered: tuple[int, int]
) -> PointTargets:
    """Read integer labels at points, bilinearly for each class, as the published loss reads its binary masks.

    Points (x, y) are in pixels; `covered` is the height and width in pixels that the masks extend over. The result is
    on the device of the classes. A point within half a pixel of the border reads that share of "no class" from
    outside, as `grid_sample` does.
    """
    device = classes_BT.device
    neighbours_BN4, shares_BN4 = (part.to(device) for part in _neighbours(points_BN2, labels_BHW))
    valid_BN = (shares_BN4 * (neighbours_BN4 != ignore)).sum(-1)
    positive_BTN = torch.zeros(*classes_BT.shape, points_BN2.shape[1], device=device)
    for corner in range(4):
        hit_BTN = neighbours_BN4[:, None, :, corner] == classes_BT[:, :, None]
        positive_BTN += hit_BTN * shares_BN4[:, None, :, corner]
    grid_BN2 = 2 * points_BN2 / torch.tensor([covered[1], covered[0]]) - 1
    return PointTargets(grid_BN2.to(device), valid_BN, positive_BTN)


def read_shares(points_BN2: Tensor, values_BHW: Tensor) -> Tensor:
    """Float values (B, N) of pixels at points (x, y), bilinear; outside the image as at its border."""
    _, height, width = values_BHW.shape
    sizes = torch.tensor([width, height], device=values_BHW.device)
    grid_B1N2 = (2 * points_BN2.to(values_BHW.device) / sizes - 1)[:, None]
    values_B11N = F.grid_sample(values_BHW[:, None], grid_B1N2, padding_mode="border", align_corners=False)
    return values_B11N[:, 0, 0]


def sample_masks(masks_BQhw: Tensor, grid_BN2: Tensor) -> Tensor:
    """Bilinear values (B, Q, N) of masks at points given in -1 to 1 as (x, y)."""
    return F.grid_sample(masks_BQhw, grid_BN2[:, None], align_corners=False)[:, :, 0]


def _neighbours(points_BN2: Tensor, labels_BHW: Tensor) -> tuple[Tensor, Tensor]:
    """The labels (B, N, 4) of the four pixels around each point, -2 outside the image, and their bilinear shares."""
    _, height, width = labels_BHW.shape
    floor_BN2 = (points_BN2 - 0.5).floor()
    part_BN2 = points_BN2 - 0.5 - floor_BN2
    images_B1 = torch.arange(len(labels_BHW))[:, None]
    labels, shares = [], []
    for step_x, step_y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = floor_BN2[..., 0].long() + step_x, floor_BN2[..., 1].long() + step_y
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        found = labels_BHW[images_B1, y.clamp(0, height - 1), x.clamp(0, width - 1)].to(torch.int16)
        labels.append(found.where(inside, -2))
        share_x = part_BN2[..., 0] if step_x else 1 - part_BN2[..., 0]
        shares.append(share_x * (part_BN2[..., 1] if step_y else 1 - part_BN2[..., 1]))
    return torch.stack(labels, dim=-1), torch.stack(shares, dim=-1)
