"""How pseudo-labels are refined: every number of the rule, and the rules that have a name. It refines nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from clouds.ops.mask_model import MaskChoice
from clouds.ops.prompts import PointRule

Connectivity = Literal[4, 8]
Contested = Literal["better", "smaller", "ignore"]
Unclaimed = Literal["keep", "keep_confident", "ignore"]

_CHOICES = {
    "connectivity": Connectivity,
    "points": PointRule,
    "choose_by": MaskChoice,
    "contested": Contested,
    "unclaimed": Unclaimed,
}


@dataclass(frozen=True, kw_only=True)
class RefinementSettings:
    """How pseudo-labels are refined. Shares, IoUs and confidences lie in [0, 1]."""

    min_area: float = 0.0005
    """A component is prompted if it covers more than this share of the image."""
    connectivity: Connectivity = 8
    """Whether pixels that touch only at a corner are connected (8) or not (4)."""
    points: PointRule = "random"
    """Where the points of a component lie: `random` on it, on its `core`, or one at its `centre`."""
    points_per_component: int = 5
    """Points per component (`centre` always gives one)."""
    negative_points: int = 0
    """Points per component on neighbours of other classes, which its mask should leave out; none where it has none."""
    box: bool = False
    """Whether the component's bounding box is part of the prompt."""
    show_component: bool = False
    """Whether the first pass is shown the component itself as a mask prompt."""
    passes: int = 2
    """How often the model is asked; from the second time on it is shown the mask it gave."""
    settled: float = 0.99
    """A component's passes end early once its mask has at least this IoU with that of the pass before."""
    choose_by: MaskChoice = "agreement"
    """Which of the candidate masks is taken: best by the model's own estimate, or by IoU with the component."""
    min_agreement: float = 0.5
    """A mask with less IoU with its component is rejected."""
    contested: Contested = "better"
    """Who gets a pixel that masks of several classes claim: the better mask by `choose_by`, the smaller, or nobody."""
    unclaimed: Unclaimed = "keep"
    """Pixels without a mask keep the pseudo-label, keep it from `min_confidence` on, or become ignore."""
    keep_unprompted: bool = False
    """Whether an image none of whose components is prompted keeps its pseudo-label, whatever `unclaimed` says."""
    min_confidence: float = 0.5
    """The least confidence at which `keep_confident` keeps a pseudo-label."""
    protect_small: bool = True
    """Whether components too small to be prompted (poles, signs, distant people) are safe from the masks of others."""

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} is {getattr(self, name)!r}: it is one of {get_args(choices)}")
        for name in ("min_area", "settled", "min_agreement", "min_confidence"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}: it lies in [0, 1]")
        for name in ("points_per_component", "passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it is at least 1")
        if self.negative_points < 0:
            raise ValueError(f"negative_points is {self.negative_points}: it is at least 0")


def published() -> RefinementSettings:
    """The rule of the published CLOUDS code (yasserben/CLOUDS), without its slips.

    Five random points on every component over 5,000 of 768x768 pixels, one pass, the best mask by the model's
    estimate, nothing rejected; pixels claimed by two classes and pixels claimed by none carry no label, but in an image
    without such a component all keep theirs. Unlike there, a prompt cannot lose its class and two overlapping masks of
    the same class are united.
    """
    return RefinementSettings(
        min_area=5000 / (768 * 768),
        connectivity=4,
        points="random",
        points_per_component=5,
        passes=1,
        choose_by="quality",
        min_agreement=0.0,
        contested="ignore",
        unclaimed="ignore",
        keep_unprompted=True,
        protect_small=False,
    )


PRESETS: Mapping[str, RefinementSettings] = {"default": RefinementSettings(), "published": published()}
"""Rules that have a name, for a config to start from."""
