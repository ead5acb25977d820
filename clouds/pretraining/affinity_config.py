"""The config of the image encoder's own training, before it meets prompts. It imports no tensor library."""

from clouds.pretraining.promptable_config import FrameConfig
from clouds.pretraining.settings import PretrainingConfig


class AffinityConfig(PretrainingConfig):
    """How the encoder of the miniature's promptable mask model learns which places belong together."""

    frame: FrameConfig = FrameConfig()
    """What is shown of a picture; which masks are asked for does not matter here."""
