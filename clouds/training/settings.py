"""The configs of trainings. It imports no tensor library, so a plan reads it fast."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from clouds.config import ConfigModel, Neutral
from clouds.data.transforms import AugmentConfig
from clouds.models.segmenter_config import MaskLossConfig

Positive = Annotated[int, Field(ge=1)]


def _without_nulls(value: Any) -> Any:
    return {name: weight for name, weight in value.items() if weight is not None} if isinstance(value, dict) else value


Weights = Annotated[dict[str, Annotated[float, Field(ge=0)]], BeforeValidator(_without_nulls)]
"""Data sets by name with how often each is drawn from; null takes out one that the `base` of a config names."""


class OptimizerConfig(ConfigModel):
    """AdamW and its schedule; the defaults are CLOUDS' published ones."""

    lr: Annotated[float, Field(gt=0)] = 1e-5
    """Learning rate of the head; the backbone's is a share of it."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Not applied to norms and embeddings."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 0.01
    """The gradient of the whole model is scaled down to this norm; null leaves it as it is."""
    schedule: Literal["constant", "poly", "cosine"] = "constant"
    """After the warm-up: as it is, or falling to 0 as (1 - step / steps) ** power, or as half a cosine."""
    power: Annotated[float, Field(gt=0)] = 0.9
    """Power of the `poly` schedule."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises linearly."""


class LoopConfig(ConfigModel):
    """How long, how much at once, and with which optimizer something is trained."""

    steps: Positive
    """Optimizer steps."""
    batch_size: Positive = 8
    """Examples per optimizer step, over all processes together."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """AdamW and its schedule."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of the average of the weights that the training gives, updated every step; null: it gives the last ones."""
    checkpoint_every: Neutral[Positive] = 500
    """Steps between checkpoints: what a crash can cost."""
    keep_checkpoints: Neutral[Positive] = 1
    """Checkpoints kept."""


class TrainingConfig(LoopConfig):
    """One training of a segmenter."""

    images_at_once: Neutral[Positive | None] = None
    """Images per forward pass on one process; the rest of the batch is accumulated. Null: all of it."""
    checkpoint_activations: Neutral[bool] = False
    """Compute the backbone's activations twice instead of keeping them all: less memory, more time."""
    loss: MaskLossConfig = MaskLossConfig()
    """Weights and sampling of the mask loss."""
    augment: AugmentConfig = AugmentConfig()
    """What is done to an image before it is learned from; `crop` is needed where images differ in size."""
