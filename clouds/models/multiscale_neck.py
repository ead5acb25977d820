"""Four scales from four maps of one scale, as VLTSeg makes them of a ViT's blocks. It knows no tower.

arXiv 2312.02021 and its published configs: transposed convolutions x4 and x2, identity, max-pooling. The published
x4 has a synchronised batch norm between its two steps; here it is a norm over the channels of each place, so that an
image's features do not depend on the batch it is in.
"""

from collections.abc import Sequence

from timm.layers import LayerNorm2d
from torch import Tensor, nn


class MultiscaleNeck(nn.Module):
    """Maps at stride 16 to maps at strides 4, 8, 16 and 32, of the same width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            [
                nn.Sequential(_twice(width), LayerNorm2d(width), nn.GELU(), _twice(width)),
                _twice(width),
                nn.Identity(),
                nn.MaxPool2d(2),
            ]
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One map (B, C, H, W) per scale, the shallowest first; H and W are even."""
        return [scale(features_BCHW) for scale, features_BCHW in zip(self.scales, maps, strict=True)]


def _twice(width: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)
