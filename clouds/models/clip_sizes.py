"""How large each part of a CLIP is. It imports no model library, so a config reads it fast."""

from typing import Annotated

from pydantic import Field, model_validator

from clouds.config import ConfigModel

Positive = Annotated[int, Field(ge=1)]


class ClipTextSizes(ConfigModel):
    """The text tower, a causal transformer."""

    width: Positive = 128
    """Length of a token's vector."""
    layers: Positive = 2
    """Transformer layers."""
    heads: Positive = 4
    """Attention heads."""
    context: Annotated[int, Field(ge=3)] = 56
    """Tokens of a caption, its start and end included; a longer one is cut."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ClipTextSizes":
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) is not a multiple of heads ({self.heads})")
        return self


class ClipSizes(ConfigModel):
    """A whole CLIP with a ConvNeXt image tower; the defaults are the miniature's."""

    trunk: str = "convnext_atto"
    """timm's name of the image tower, a ConvNeXt with strides 4 to 32."""
    height: Positive = 64
    """Height of its own images, in pixels."""
    width: Positive = 128
    """Width of its own images, in pixels."""
    embed_dim: Positive = 128
    """Length of the vectors in which images and captions are compared."""
    text: ClipTextSizes = ClipTextSizes()
    """Reads the caption."""
