"""Pseudo-labels sharpened by a mask model, as one pure function. It knows no particular model: see `MaskModel`.

Each connected component of a class is asked of the model as a prompt; the masks that come back claim pixels for their
component's class. A class is never told apart by its number: permuting the classes permutes the result.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from clouds.ops.components import BoolArray, IntArray, Region, connected_components, region_of
from clouds.ops.mask_model import FloatArray, MaskChoice, MaskModel, ask
from clouds.ops.prompts import PointRule, prompts_for

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


def published() -> RefinementSettings:
    """The rule of the published CLOUDS code (yasserben/CLOUDS), without its slips.

    Five random points on every component over 5,000 of 768x768 pixels, one pass, the best mask by the model's
    estimate, nothing rejected; pixels claimed by two classes and pixels claimed by none carry no label. Unlike there,
    a prompt cannot lose its class and two overlapping masks of the same class are united.
    """
    return RefinementSettings(
        min_area=5000 / (768 * 768),
        points="random",
        points_per_component=5,
        passes=1,
        choose_by="quality",
        min_agreement=0.0,
        contested="ignore",
        unclaimed="ignore",
        protect_small=False,
    )


@dataclass(frozen=True, eq=False)
class RefinementResult:
    """Refined labels and what was done to them; counts are of one image."""

    labels_HW: IntArray
    components: int
    """Connected components of the pseudo-label."""
    prompted: int
    """Those large enough to be prompted; 0 means that no mask touched this image."""
    accepted: int
    """Masks that claimed pixels."""
    rejected: int
    """Masks that agreed too little with their component."""
    contested_pixels: int
    """Pixels claimed by masks of several classes."""
    changed_pixels: int
    """Pixels whose label is not what it was, those that became ignore among them."""
    ignored_pixels: int
    """Pixels without a label afterwards."""

    def counts(self) -> dict[str, int]:
        """Everything but the labels, ready for a record."""
        return {name: value for name, value in vars(self).items() if name != "labels_HW"}


@dataclass(frozen=True, eq=False)
class _Claim:
    """A mask that wants its pixels for a class."""

    region: Region
    score: float


def refine_labels(
    labels_HW: IntArray,
    confidence_HW: FloatArray | None,
    mask_model: MaskModel,
    settings: RefinementSettings,
    rng: np.random.Generator,
    ignore: int = 255,
) -> RefinementResult:
    """Pseudo-labels refined by a mask model; the input is left as it is.

    Args:
        labels_HW: pseudo-label, class ids and `ignore`, any integer dtype; the result has the same dtype.
        confidence_HW: float32 in [0, 1]; needed only where `settings.unclaimed` is `keep_confident`.
        mask_model: the model, having seen the image; not called when there is nothing to prompt.
        rng: draws the points.

    Raises ValueError where shapes do not fit or a needed confidence is missing.
    """
    _check_inputs(labels_HW, confidence_HW, settings)
    # 1. which components are asked
    components = connected_components(labels_HW, ignore, settings.connectivity)
    prompted = [region for region in components if region.area > settings.min_area * labels_HW.size]
    # 2. which pixels the model's masks claim for them
    claims = _claims(prompted, mask_model, settings, rng)
    claimed_HW, contested_HW = _settle(claims, settings, np.full_like(labels_HW, ignore), ignore)
    # 3. what becomes of the rest
    unclaimed_HW = _unclaimed(labels_HW, confidence_HW, settings, ignore)
    refined_HW = np.where(claimed_HW == ignore, unclaimed_HW, claimed_HW)
    if settings.contested == "ignore":
        refined_HW[contested_HW] = ignore
    if settings.protect_small:
        small_HW = _unprompted(labels_HW, prompted, ignore)
        refined_HW[small_HW] = unclaimed_HW[small_HW]
    return RefinementResult(
        labels_HW=refined_HW,
        components=len(components),
        prompted=len(prompted),
        accepted=len(claims),
        rejected=len(prompted) - len(claims),
        contested_pixels=int(np.count_nonzero(contested_HW)),
        changed_pixels=int(np.count_nonzero(refined_HW != labels_HW)),
        ignored_pixels=int(np.count_nonzero(refined_HW == ignore)),
    )


def _check_inputs(labels_HW: IntArray, confidence_HW: FloatArray | None, settings: RefinementSettings) -> None:
    if labels_HW.ndim != 2 or not np.issubdtype(labels_HW.dtype, np.integer):
        raise ValueError(f"labels are integers of shape (H, W), not {labels_HW.dtype} of shape {labels_HW.shape}")
    if confidence_HW is None:
        if settings.unclaimed == "keep_confident":
            raise ValueError("unclaimed is keep_confident, but there is no confidence")
    elif confidence_HW.shape != labels_HW.shape:
        raise ValueError(f"labels have shape {labels_HW.shape}, their confidence {confidence_HW.shape}")


def _claims(
    regions: list[Region], model: MaskModel, settings: RefinementSettings, rng: np.random.Generator
) -> list[_Claim]:
    """The masks that agree with their region, as claims for its class, in the regions' order."""
    if not regions:
        return []
    prompts = prompts_for(regions, settings.points, settings.points_per_component, settings.box, rng)
    chosen = ask(
        model, prompts, regions, settings.choose_by, settings.passes, settings.settled, settings.show_component
    )
    masks = model.masks(chosen.logits_NHW)
    return [
        _Claim(region_of(mask_HW, region.class_id), float(score))
        for region, mask_HW, score in zip(regions, masks, chosen.score_N, strict=True)
        if region.iou(mask_HW) >= settings.min_agreement
    ]


def _settle(
    claims: list[_Claim], settings: RefinementSettings, claimed_HW: IntArray, ignore: int
) -> tuple[IntArray, BoolArray]:
    """`claimed_HW`, full of `ignore`, with each pixel given to its first claimant; and where classes contested it."""
    contested_HW = np.zeros(claimed_HW.shape, dtype=np.bool_)
    for claim in _by_rank(claims, settings):
        region = claim.region
        taken_HW = claimed_HW[region.window]
        free_HW = taken_HW == ignore
        contested_HW[region.window] |= region.mask_HW & ~free_HW & (taken_HW != region.class_id)
        taken_HW[region.mask_HW & free_HW] = region.class_id
    return claimed_HW, contested_HW


def _by_rank(claims: list[_Claim], settings: RefinementSettings) -> list[_Claim]:
    # sorting is stable: among equals the component that comes first in reading order wins, whatever its class
    if settings.contested == "smaller":
        return sorted(claims, key=lambda claim: claim.region.area)
    return sorted(claims, key=lambda claim: -claim.score)


def _unclaimed(
    labels_HW: IntArray, confidence_HW: FloatArray | None, settings: RefinementSettings, ignore: int
) -> IntArray:
    """What every pixel would be if no mask claimed it."""
    if settings.unclaimed == "ignore":
        return np.full_like(labels_HW, ignore)
    if settings.unclaimed == "keep_confident" and confidence_HW is not None:
        return np.where(confidence_HW >= settings.min_confidence, labels_HW, ignore).astype(labels_HW.dtype)
    return labels_HW


def _unprompted(labels_HW: IntArray, prompted: list[Region], ignore: int) -> BoolArray:
    """Pixels that have a class but belong to none of the prompted components."""
    outside_HW: BoolArray = labels_HW != ignore
    for region in prompted:
        outside_HW[region.window] &= ~region.mask_HW
    return outside_HW
