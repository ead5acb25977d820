"""The config of self-training within a training. It imports no tensor library, so a plan reads it fast.

The defaults are our own; `configs/clouds_gta5_online.yaml` and `configs/cluda.yaml` have the published numbers.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clouds.config import ConfigModel, Share
from clouds.training.settings import Factor, Positive, Weights


class TeacherConfig(ConfigModel):
    """The moving average of the student that labels what has no labels."""

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """How much of the teacher survives an update; the rest is the student."""
    every: Positive = 1
    """Steps from one update to the next. The published CLOUDS code has 100."""
    warm_start: bool = True
    """At step t no more than 1 - 1 / (t + 1) survives, so that the first students are forgotten (as in CLUDA)."""


class ContrastConfig(ConfigModel):
    """CLUDA's contrastive loss over the pixel decoder's fused map of features."""

    source_weight: Factor = 1.0
    """Weight of the loss over all pixels of the step's labelled images."""
    target_weight: Factor = 1.0
    """Weight of the loss over all pixels of its other images, mixed or not."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """The lower, the more the nearest pixels count."""
    size: tuple[Positive, Positive] = (65, 65)
    """(height, width) that features and labels are brought to: their square is the number of pairs in an image."""
    confidence: bool = True
    """Whether pixels count by the trust in their labels, where `weighting` gives any."""
    learned: bool = False
    """Whether a learned weight in each pixel shares the loss out between the fused map and one of half its size."""


class OnlineConfig(ConfigModel):
    """A teacher labels images in the very step that the student learns from them."""

    unlabelled: Weights = Field(default={}, validate_default=True)
    """Data sets that need no labels, by name, each with how often it is drawn from; their labels are never read."""
    teacher: TeacherConfig = TeacherConfig()
    """Who labels."""
    threshold: Share = 0.0
    """From which confidence on the teacher is sure of a pixel."""
    weighting: Literal["ignore", "pixel", "image"] = "ignore"
    """What confidence does: unsure pixels become ignore; that, and the others count by theirs; or nothing becomes
    ignore, and an image counts by its share of sure pixels (DAFormer, CLUDA)."""
    refine_every: Positive | None = None
    """A SAM refines the teacher's labels, by `refine`, in every so many-th step; null: never."""
    contrast: ContrastConfig | None = None
    """Draw the features of a class together; null: no such loss."""

    @model_validator(mode="after")
    def _threshold_is_used(self) -> "OnlineConfig":
        if self.weighting == "image" and self.threshold == 0:
            raise ValueError("`weighting: image` counts sure pixels: give a `threshold` above 0, such as 0.968")
        return self
