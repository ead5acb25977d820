"""The config of the promptable mask model's training. It imports no tensor library."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from clouds.config import ConfigModel, Share
from clouds.data.transforms import JitterConfig, rising
from clouds.pretraining.settings import PretrainingConfig

Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class FrameConfig(ConfigModel):
    """What the model is shown of a picture, and which of its objects it is asked for."""

    crops: Share = 0.5
    """Share of the draws that are square crops, enlarged to fill the frame; the others are whole pictures."""
    crop_side: Annotated[tuple[Share, Share], AfterValidator(rising)] = (0.5, 1.0)
    """Least and largest side of a crop, as shares of the picture's shorter side."""
    flip: Share = 0.5
    """Chance to mirror left and right."""
    jitter: JitterConfig | None = JitterConfig(brightness=16, contrast=(0.8, 1.25), saturation=(0.7, 1.4), hue=6)
    """Colour jitter; null: colours stay."""
    masks: Positive = 6
    """Masks asked for in a picture."""
    min_area: Positive = 4
    """Smallest object that is asked for, in pixels of the frame."""
    groups: Share = 0.2
    """Chance that a mask is not one object but several that touch, as a component of a label map may be."""


class PromptConfig(ConfigModel):
    """How a mask is asked for. A `component` is the mask as a segmenter may see it: grown, shrunk, frayed, leaked."""

    point: Weight = 0.35
    """How often one point on the mask asks first, relative to the other two."""
    box: Weight = 0.2
    """How often a noisy box asks first."""
    component: Weight = 0.45
    """How often a component asks first: by points on it, some of which lie off the mask."""
    component_points: Positive = 5
    """Most points on a component."""
    component_box: Share = 0.25
    """Chance that a component's bounding box is given besides."""
    component_shown: Share = 0.25
    """Chance that a component is shown as a mask besides."""
    rounds: Positive = 3
    """How often a mask is asked for; from the second time on the model is shown its last answer."""
    correction: Share = 0.6
    """Chance of a point on a mistake in each round after the first; else the answer is shown and nothing added."""

    @model_validator(mode="after")
    def _something_asks(self) -> "PromptConfig":
        if not self.point + self.box + self.component > 0:
            raise ValueError("point, box and component are all 0: nothing asks first")
        return self


class MaskObjectiveConfig(ConfigModel):
    """What makes an answer good."""

    cross: Weight = 2.0
    """Weight of the balanced cross-entropy."""
    balance: Share = 0.75
    """At the start: from 0, where every pixel counts alike, to 1, where a small mask counts as much as all the rest."""
    balanced: Share = 0.4
    """Share of the steps over which the balance falls to 0: it teaches where masks lie, but makes them too large."""
    dice: Weight = 1.0
    """Weight of the dice loss."""
    quality: Weight = 1.0
    """Weight of the squared error of the estimated IoU."""

    def balance_at(self, step: int, steps: int) -> float:
        """The balance in `step` (from 0) of `steps`."""
        lasts = self.balanced * steps
        return self.balance * max(0.0, 1.0 - step / lasts) if lasts else 0.0


class PromptableConfig(PretrainingConfig):
    """How the miniature's promptable mask model learns."""

    frame: FrameConfig = FrameConfig()
    """What is shown and what is asked for."""
    prompts: PromptConfig = PromptConfig()
    """How it is asked for."""
    objective: MaskObjectiveConfig = MaskObjectiveConfig()
    """The loss."""
