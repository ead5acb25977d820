"""What is measured on generated images before they are trusted: configs, and names in rows. It measures nothing."""

from typing import Annotated

from pydantic import Field, model_validator

from clouds.config import ConfigModel, Neutral, SourceStr
from clouds.models.protocol import ProtocolConfig
from clouds.models.segmenter_config import BackboneConfig
from clouds.models.weights import is_local

LOSS_FILE, VOTES_FILE = "loss_file_name", "votes_file_name"
"""The keys of rows that name a map of losses, in the steps of `label_loss`, and a map of votes."""

AtOnce = Neutral[Annotated[int, Field(ge=1)]]


class LossConfig(ProtocolConfig):
    """How images are shown to the segmenter that is asked for the loss of their labels."""

    batch_size: AtOnce = 8
    """Images per forward pass."""


class ViewsConfig(ConfigModel):
    """The views of an image whose labels are compared; the image as `label` shows it is one of them."""

    flip: bool = True
    """The mirrored image is a view."""
    scales: tuple[Annotated[float, Field(gt=0)], ...] = (0.75, 1.25)
    """The image at these multiples of its size: a view each."""

    @model_validator(mode="after")
    def _there_is_something_to_compare(self) -> "ViewsConfig":
        if not self.flip and not self.scales:
            raise ValueError("one view agrees with itself: set `flip: true`, or give `scales`")
        return self


class AgreementConfig(LossConfig):
    """In which views labels are compared, each shown by the protocol."""

    views: ViewsConfig = ViewsConfig()
    """Which views there are."""


class ClipConfig(ConfigModel):
    """Which CLIP compares images with their prompts."""

    # weights are told apart by what they are, not by where they lie
    weights: Neutral[SourceStr]
    """A hub id (`owner/name`), a folder in open_clip's format, or the name of one of open_clip's architectures."""
    pretrained: Neutral[str | None] = None
    """For an architecture: open_clip's tag of its weights."""
    revision: Neutral[str | None] = None
    """Branch, tag or commit of the hub repository; null is its main branch."""
    batch_size: AtOnce = 32
    """Images per forward pass."""

    def source(self) -> BackboneConfig:
        """The CLIP as the config of a backbone names it."""
        return BackboneConfig(weights=self.weights, pretrained=self.pretrained, revision=self.revision)

    @classmethod
    def of_backbone(cls, backbone: BackboneConfig) -> "ClipConfig":
        """The CLIP that a segmenter's backbone comes from."""
        return cls(weights=backbone.weights, pretrained=backbone.pretrained, revision=backbone.revision)

    @model_validator(mode="after")
    def _is_a_trained_clip(self) -> "ClipConfig":
        if not is_clip(self.source()):
            raise ValueError(
                f"{self.weights!r} is no CLIP with weights: give a hub id, a folder in open_clip's format, or one of "
                "its architectures with `pretrained`"
            )
        return self


def is_clip(source: BackboneConfig) -> bool:
    """Whether these weights can be a trained CLIP, as far as their name tells."""
    named = source.hub_id is not None or is_local(source.weights) or source.pretrained is not None
    return named and source.timm_name is None
