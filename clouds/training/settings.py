"""The configs of trainings. It imports no tensor library, so a plan reads it fast."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from clouds.config import ConfigModel, Neutral, Share, without_nulls
from clouds.data.transforms import AugmentConfig
from clouds.models.protocol import ProtocolConfig
from clouds.models.segmenter_config import MaskLossConfig

Positive = Annotated[int, Field(ge=1)]
Factor = Annotated[float, Field(ge=0)]


Weights = Annotated[dict[str, Factor], BeforeValidator(without_nulls)]
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
    hold_steps: Annotated[int, Field(ge=0)] = 0
    """Steps before the schedule begins to fall; what it counts are the steps from there to the end."""
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


class RareClassConfig(ConfigModel):
    """Rare classes are drawn more often (DAFormer, arXiv 2111.14887, section 3.3): first a class, then an image of it.

    The defaults are the published ones, for images of 1914 x 1052 pixels.
    """

    temperature: Annotated[float, Field(gt=0)] = 0.01
    """A class is drawn as softmax((1 - its share of all labelled pixels) / temperature); lower is rarer."""
    min_pixels: Positive = 3000
    """An image holds a class that has so many of its pixels."""
    min_crop_pixels: Annotated[int, Field(ge=0)] = 1500
    """Draw another crop, up to `augment.crop_tries` times, while it has fewer pixels of the class."""


class MixConfig(ConfigModel):
    """ClassMix: the student sees an image with some classes of a labelled one pasted onto it."""

    share: Share = 0.5
    """Of the labelled image's classes, drawn at random; ignore is none of them."""


class DistanceConfig(ConfigModel):
    """DAFormer's feature distance (arXiv 2111.14887, section 3.2): a backbone stays near to what it knew of things.

    The defaults are the published ones.
    """

    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    """The classes it counts for, by name."""
    weight: Annotated[float, Field(gt=0)] = 0.005
    """Weight of the mean distance of the deepest features, over the cells that count in a batch."""
    min_share: Annotated[float, Field(gt=0, le=1)] = 0.75
    """A cell of the feature map counts where one of these classes covers this share of it."""


class ValidationConfig(ProtocolConfig):
    """Mean IoU on labelled data sets in the course of a training; what is trained is the same with and without it."""

    data: Annotated[tuple[str, ...], Field(min_length=1)]
    """Labelled data sets by name."""
    every: Positive
    """Steps from one to the next; the last step is always one."""
    images: Positive | None = None
    """Images of each data set, evenly spread over it; null: all."""
    keep_best: bool = False
    """The training gives the weights with the best mean over the data sets, not the last ones."""


class TrainingConfig(LoopConfig):
    """One training of a segmenter."""

    lr_multipliers: dict[str, Factor] = Field(default={})
    """Factors on the learning rate by part of the model, such as `head` or `head.pixel_decoder`; the nearest counts."""
    no_decay: tuple[str, ...] = ()
    """Further parameters without weight decay, by the last part of their name, such as `level_embed` or `bias`."""
    frozen_steps: Annotated[int, Field(ge=0)] = 0
    """Steps at the beginning in which the backbone's tower stays as it is; its neck, or adapters in it, do not."""
    rare_classes: RareClassConfig | None = None
    """Draw the images of `data` by the classes they hold; null: each as often as the others of its set."""
    # what it measures changes nothing; with `keep_best` it does, and the stages count it among their inputs
    validation: Neutral[ValidationConfig | None] = None
    """Mean IoU in the course of the training, in its log; null: none."""
    images_at_once: Neutral[Positive | None] = None
    """Images per forward pass on one process; the rest of the batch is accumulated. Null: all of it."""
    checkpoint_activations: Neutral[bool] = False
    """Compute the backbone's activations twice instead of keeping them all: less memory, more time."""
    loss: MaskLossConfig = MaskLossConfig()
    """Weights and sampling of the mask loss."""
    augment: AugmentConfig = AugmentConfig()
    """What is done to an image before it is learned from; `crop` is needed where images differ in size."""

    @property
    def validation_sets(self) -> tuple[str, ...]:
        """The data sets it is validated on."""
        return () if self.validation is None else self.validation.data
