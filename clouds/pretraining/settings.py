"""What every training of a miniature model is told. It imports no tensor library."""

from clouds.training.settings import LoopConfig


class PretrainingConfig(LoopConfig):
    """How long, how much at once, and with which optimizer a miniature model learns."""
