"""The config of the CLIP's training. It imports no tensor library."""

from typing import Annotated

from pydantic import Field

from clouds.data.transforms import AugmentConfig, JitterConfig
from clouds.pretraining.settings import PretrainingConfig

GENTLE = AugmentConfig(
    scale=(1.0, 1.2),
    jitter=JitterConfig(brightness=12, contrast=(0.85, 1.15), saturation=(0.85, 1.15), hue=3),
)
"""Small changes: a caption tells of the time of day, the weather, the colour of a car and the number of people."""


class ContrastConfig(PretrainingConfig):
    """How the miniature's CLIP learns; a batch is also the number of captions an image is told from."""

    augment: AugmentConfig = GENTLE
    """What is done to an image before it is learned from; the result has the image's own size unless `crop` says so."""
    largest_scale: Annotated[float, Field(ge=1)] = 100.0
    """Upper bound of the learned factor on cosines (the inverse of the temperature)."""
