"""The config of the denoiser's training. It imports no tensor library."""

from typing import Annotated, Literal

from pydantic import Field

from clouds.pretraining.settings import PretrainingConfig


class DenoiserConfig(PretrainingConfig):
    """How the miniature's denoiser and its text encoder learn, together."""

    drop_caption: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of pictures shown without their caption, so that sampling can be guided away from what it does not say."""
    stored: Literal["float32", "float16"] = "float16"
    """Number format of the weights in the pipeline's folder."""
