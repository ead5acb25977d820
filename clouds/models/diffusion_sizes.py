"""How large each part of a Stable Diffusion pipeline is. It imports no model library, so a config reads it fast."""

from typing import Annotated, TypeVar

from pydantic import Field, model_validator

from clouds.config import ConfigModel

Positive = Annotated[int, Field(ge=1)]
Widths = Annotated[tuple[Positive, ...], Field(min_length=1)]
S = TypeVar("S", bound=ConfigModel)


def _checked(sizes: S, channels: tuple[int, ...], groups: int) -> S:
    if any(width % groups for width in channels):
        raise ValueError(f"groups = {groups} does not divide every width of {channels}")
    return sizes


class AutoencoderSizes(ConfigModel):
    """The autoencoder: each level but the last halves the picture."""

    channels: Widths = (32, 64, 96)
    """Width of each level, from the picture inwards."""
    layers: Positive = 1
    """Residual blocks of a level; the decoder has one more."""
    latent_channels: Positive = 4
    """Channels of the latent picture."""
    groups: Positive = 8
    """Groups of the group norms; they divide every width."""
    attention: bool = False
    """Whether the innermost level has self-attention."""

    @property
    def factor(self) -> int:
        """Pixels per latent cell, along each side."""
        return int(2 ** (len(self.channels) - 1))

    @model_validator(mode="after")
    def _groups_divide(self) -> "AutoencoderSizes":
        return _checked(self, self.channels, self.groups)


class DenoiserSizes(ConfigModel):
    """The U-Net over latents: each level but the last halves them."""

    channels: Widths = (64, 96, 128)
    """Width of each level, from the full latent picture inwards."""
    attends: tuple[bool, ...] = (False, True, True)
    """Whether a level reads the text; the blocks in the middle always do."""
    layers: Positive = 1
    """Blocks of a level on the way in; one more on the way out."""
    heads: Positive = 4
    """Attention heads."""
    groups: Positive = 16
    """Groups of the group norms; they divide every width."""

    @model_validator(mode="after")
    def _levels_agree(self) -> "DenoiserSizes":
        if len(self.attends) != len(self.channels):
            raise ValueError(f"attends has {len(self.attends)} values for {len(self.channels)} levels")
        if any(width % self.heads for width in self.channels):
            raise ValueError(f"heads = {self.heads} does not divide every width of {self.channels}")
        return _checked(self, self.channels, self.groups)


class TextSizes(ConfigModel):
    """The CLIP text encoder."""

    width: Positive = 128
    """Length of a token's vector, and the U-Net's cross-attention width."""
    hidden: Positive = 256
    """Width inside the feed-forward layers."""
    layers: Positive = 2
    """Transformer layers."""
    heads: Positive = 4
    """Attention heads."""
    context: Annotated[int, Field(ge=3)] = 40
    """Tokens of a caption, its start and end included; a longer one is cut."""


class DiffusionSizes(ConfigModel):
    """A whole text-to-image pipeline; the defaults are the miniature's."""

    height: Positive = 64
    """Height of its own images, in pixels."""
    width: Positive = 128
    """Width of its own images, in pixels."""
    autoencoder: AutoencoderSizes = AutoencoderSizes()
    """Pictures to latents and back."""
    denoiser: DenoiserSizes = DenoiserSizes()
    """Predicts what is noise in latents."""
    text: TextSizes = TextSizes()
    """Reads the caption."""

    @model_validator(mode="after")
    def _picture_is_whole(self) -> "DiffusionSizes":
        factor = self.autoencoder.factor
        for name, value in (("height", self.height), ("width", self.width)):
            if value % factor:
                raise ValueError(f"{name} = {value} is not a multiple of {factor}, the autoencoder's factor")
        return self

    @property
    def latent(self) -> tuple[int, int]:
        """Height and width of a latent picture, in cells."""
        return self.height // self.autoencoder.factor, self.width // self.autoencoder.factor
