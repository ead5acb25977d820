"""The ConvNeXt image tower of an open_clip model, in parts. It knows no head and no weights."""

from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from clouds.models.image_backbone import STRIDES, Tower


class Stages(nn.Sequential):
    """Modules one after another, the output of each of which counts."""

    def forward(self, features_BCHW: Tensor) -> list[Tensor]:
        """What each module gives, in order."""
        outputs = []
        for stage in self:
            features_BCHW = stage(features_BCHW)
            outputs.append(features_BCHW)
        return outputs


class MapProjection(nn.Module):
    """The head of a convolutional CLIP on single vectors, as FC-CLIP and CLOUDS apply it: as maps of one place.

    arXiv 2308.02487: the trunk's last norm, the trunk's head, CLIP's projection.
    """

    def __init__(self, visual: TimmModel) -> None:
        super().__init__()
        self.norm, self.trunk_head, self.head = visual.trunk.norm_pre, visual.trunk.head, visual.head

    def forward(self, vectors_NC: Tensor) -> Tensor:
        """Projected vectors (N, E)."""
        embedded_NE: Tensor = self.head(self.trunk_head(self.norm(vectors_NC[:, :, None, None])))
        return embedded_NE


def convnext_tower(visual: TimmModel, projection_dim: int | None) -> Tower | None:
    """The tower whose trunk is a ConvNeXt of timm; None for other strides than `STRIDES`.

    `projection_dim` is the length of CLIP's vectors where the projection is wanted.
    """
    stages = visual.trunk.feature_info
    if tuple(stage["reduction"] for stage in stages) != STRIDES:
        return None
    first, second, third, fourth = (stage["num_chs"] for stage in stages)
    return Tower(
        parts={"stem": visual.trunk.stem, "stages": Stages(*visual.trunk.stages)},
        channels=(first, second, third, fourth),
        projection=MapProjection(visual) if projection_dim else None,
        embedding_dim=projection_dim,
    )
