"""The ResNet image tower of an OpenAI CLIP (RN50, RN101, ...), in parts. It knows no head and no weights."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from clouds.models.convnext_backbone import Stages
from clouds.models.image_backbone import Tower

_STEM = ("conv1", "bn1", "act1", "conv2", "bn2", "act2", "conv3", "bn3", "act3", "avgpool")


class Blocks(nn.Sequential):
    """Residual blocks that can recompute their activations; open_clip's ResNet cannot."""

    grad_checkpointing = False

    def forward(self, features_BCHW: Tensor) -> Tensor:
        for block in self:
            if self.grad_checkpointing and torch.is_grad_enabled():
                features_BCHW = checkpoint(block, features_BCHW, use_reentrant=False)
            else:
                features_BCHW = block(features_BCHW)
        return features_BCHW


class AttentionProjection(nn.Module):
    """CLIP's attention pooling of single vectors, each as a map of one place.

    The learned positions of the grid are averaged into the one that is left.
    """

    def __init__(self, pool: AttentionPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, vectors_NC: Tensor) -> Tensor:
        """Projected vectors (N, E)."""
        mean_1C, places_PC = self.pool.positional_embedding.split([1, len(self.pool.positional_embedding) - 1])
        positions_2C = F.pad(mean_1C, (0, 0, 0, 1)) + F.pad(places_PC.mean(0, keepdim=True), (0, 0, 1, 0))
        embedded_NE: Tensor = functional_call(
            self.pool, {"positional_embedding": positions_2C}, (vectors_NC[:, :, None, None],)
        )
        return embedded_NE


def resnet_tower(visual: ModifiedResNet, projection_dim: int | None) -> Tower:
    """The four layers of open_clip's `ModifiedResNet` of any depth and width.

    `projection_dim` is the length of CLIP's vectors where the projection is wanted.
    """
    layers = [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
    first, second, third, fourth = (layer[-1].conv3.out_channels for layer in layers)
    return Tower(
        parts={
            "stem": nn.Sequential(OrderedDict((name, getattr(visual, name)) for name in _STEM)),
            "stages": Stages(*(Blocks(*layer) for layer in layers)),
        },
        channels=(first, second, third, fourth),
        projection=AttentionProjection(visual.attnpool) if projection_dim else None,
        embedding_dim=projection_dim,
    )
