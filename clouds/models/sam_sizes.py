"""How large each part of a `Sam` is. It imports no model library, so a config reads it fast."""

from typing import Annotated

from pydantic import Field, model_validator

from clouds.config import ConfigModel

DECODER_HEADS = 8
"""Attention heads of the mask decoder: the one size that no tensor's shape tells, and the same in every `Sam`."""

Positive = Annotated[int, Field(ge=1)]


class SamSizes(ConfigModel):
    """Every size that tells one `Sam` from another; the defaults are the miniature's."""

    image_size: Positive = 128
    """Side of the square frame, in pixels: an image's longer side is scaled to it, the rest is padded."""
    patch_size: Positive = 4
    """Side of a token, in pixels of the frame; a mask has four cells along a token."""
    encoder_dim: Positive = 128
    """Channels of a token in the image encoder."""
    encoder_depth: Positive = 4
    """Blocks of the image encoder."""
    encoder_heads: Positive = 4
    """Attention heads of the image encoder."""
    encoder_mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    """Width inside the feed-forward layers, in widths of a token."""
    global_blocks: tuple[Annotated[int, Field(ge=0)], ...] = (3,)
    """Blocks of the encoder that see the whole image; the others see windows."""
    window_size: Annotated[int, Field(ge=0)] = 8
    """Tokens along one side of a window; 0 where every block sees the whole image."""
    prompt_dim: Positive = 64
    """Channels of prompts, of the encoded image and of the mask decoder."""
    mask_channels: Positive = 16
    """Channels in which a mask prompt is read."""
    decoder_depth: Positive = 2
    """Two-way attention blocks of the mask decoder."""
    decoder_mlp_dim: Positive = 256
    """Width inside the decoder's feed-forward layers."""
    masks_per_prompt: Positive = 3
    """Candidate masks per prompt."""
    quality_depth: Positive = 3
    """Layers of the head that estimates a mask's quality."""
    quality_dim: Positive = 64
    """Width inside that head."""

    @property
    def grid_size(self) -> int:
        """Tokens along one side of the encoded image."""
        return self.image_size // self.patch_size

    @model_validator(mode="after")
    def _sizes_divide(self) -> "SamSizes":
        for whole, part in (
            ("image_size", self.patch_size),
            ("encoder_dim", self.encoder_heads),
            # the decoder halves its channels where prompts and image meet
            ("prompt_dim", 2 * DECODER_HEADS),
            ("mask_channels", 4),
        ):
            if getattr(self, whole) % part:
                raise ValueError(f"{whole} = {getattr(self, whole)} is no multiple of {part}")
        if any(block >= self.encoder_depth for block in self.global_blocks):
            raise ValueError(f"global_blocks = {self.global_blocks}: there are {self.encoder_depth} blocks from 0")
        return self
