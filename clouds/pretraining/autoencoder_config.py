"""The config of the autoencoder's training. It imports no tensor library."""

from typing import Annotated

from pydantic import Field

from clouds.config import ConfigModel
from clouds.pretraining.settings import PretrainingConfig

Weight = Annotated[float, Field(ge=0)]


class ReconstructionConfig(ConfigModel):
    """What makes a reconstruction good; pixel values run from -1 to 1."""

    squared: Weight = 1.0
    """Weight of the mean squared difference, beside the mean absolute one."""
    edges: Weight = 1.0
    """Weight of the mean absolute difference of neighbouring pixels' differences: it keeps poles and signs sharp."""
    prior: Weight = 1e-6
    """Weight of the latents' divergence from a standard normal, summed over a picture and divided by its values."""
    flip: bool = True
    """Whether half of the pictures are mirrored."""


class AutoencoderConfig(PretrainingConfig):
    """How the miniature's autoencoder learns."""

    objective: ReconstructionConfig = ReconstructionConfig()
    """The loss."""
