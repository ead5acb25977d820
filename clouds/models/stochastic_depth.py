"""Stochastic depth whose noise belongs to the image: drawn from its seed, not from the process. It knows no tower.

Huang et al. 2016, "Deep Networks with Stochastic Depth"; rates rise linearly over the blocks, as timm has them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clouds.errors import UsageError

_NAMES = ("drop_path", "drop_path1", "drop_path2")
"""What timm calls the place of a residual branch that may be left out."""


class ItemDropPath(nn.Module):
    """Leaves a residual branch out for some images of a batch and scales it up for the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.kept_B: Tensor | None = None

    def forward(self, branch: Tensor) -> Tensor:
        """The branch (B, ...), zero where an image leaves it out."""
        if not self.training or self.rate == 0:
            return branch
        if self.kept_B is None or len(self.kept_B) != len(branch):
            raise RuntimeError("call `seed_items` with one seed per image before each forward pass in training")
        factors_B = self.kept_B.to(branch.device, branch.dtype) / (1 - self.rate)
        return branch * factors_B.view(-1, *[1] * (branch.dim() - 1))


class StochasticDepth:
    """All the places of a model where branches are left out, in the order of its modules."""

    def __init__(self, model: nn.Module, rate: float) -> None:
        """Raises `UsageError` when a rate is wanted and the model has no such place."""
        self._layers: list[ItemDropPath] = []
        if rate == 0:
            return
        blocks = [module for module in model.modules() if any(name in module._modules for name in _NAMES)]
        if not blocks:
            raise UsageError(
                f"'train.segmenter.backbone.drop_path' = {rate}: this image tower has no branches to leave out",
                "set it to 0, or take a ConvNeXt, a Swin, or a ViT of timm, such as EVA02-L-14",
            )
        for position, block in enumerate(blocks):
            for name in _NAMES:
                if name in block._modules:
                    layer = ItemDropPath(rate * position / max(1, len(blocks) - 1))
                    setattr(block, name, layer)
                    self._layers.append(layer)

    def seed_items(self, seeds: Sequence[int]) -> None:
        """Decide for each image, from its seed, which branches its next pass leaves out."""
        if not self._layers:
            return
        draws = [torch.rand(len(self._layers), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        for layer, draws_B in zip(self._layers, torch.stack(draws, dim=1), strict=True):
            layer.kept_B = draws_B >= layer.rate
