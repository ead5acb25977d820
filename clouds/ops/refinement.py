"""Pseudo-labels sharpened by a mask model, as one pure function. It knows no particular model: see `MaskModel`.

Each connected component of a class is asked of the model as a prompt; the masks that come back claim pixels for their
component's class. A class is never told apart by its number: permuting the classes permutes the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clouds.ops.components import BoolArray, IntArray, Region, connected_components
from clouds.ops.mask_model import FloatArray, MaskModel, ask
from clouds.ops.prompts import Prompt, prompts_for, with_negatives
from clouds.ops.refinement_settings import RefinementSettings


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
    """Masks that agreed too little with their component, or were empty."""
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
class PseudoLabel:
    """What is to be refined of one image.

    `labels_HW`: class ids and the ignore id, any integer dtype. `confidence_HW`: float32 in [0, 1], needed only where
    the settings' `unclaimed` is `keep_confident`. `rng` draws the points.
    """

    labels_HW: IntArray
    confidence_HW: FloatArray | None
    rng: np.random.Generator


@dataclass(frozen=True, eq=False)
class _Asked:
    """The components of one image's pseudo-label that are large enough, and how many there are in all."""

    regions: list[Region]
    components: int


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
    """A pseudo-label refined by a mask model that has seen its image: `refine_all` of one."""
    [result] = refine_all([PseudoLabel(labels_HW, confidence_HW, rng)], mask_model, settings, ignore)
    return result


def refine_all(
    pseudo: Sequence[PseudoLabel], mask_model: MaskModel, settings: RefinementSettings, ignore: int = 255
) -> list[RefinementResult]:
    """Pseudo-labels refined by a mask model, in order; the input is left as it is. Results have its dtype.

    Args:
        mask_model: the model, having seen the images in the order of their pseudo-labels; asked about all of them at
            once, and not at all where there is nothing to prompt.

    Raises ValueError where shapes do not fit or a needed confidence is missing.
    """
    for one in pseudo:
        _check_inputs(one.labels_HW, one.confidence_HW, settings)
    # 1. which components are asked
    asked = [_asked(one.labels_HW, settings, ignore) for one in pseudo]
    # 2. which pixels the model's masks claim for them
    claims = _claims(pseudo, asked, mask_model, settings, ignore)
    # 3. who gets which, and what becomes of the rest
    return [_settled(*of_image, settings, ignore) for of_image in zip(pseudo, asked, claims, strict=True)]


def _check_inputs(labels_HW: IntArray, confidence_HW: FloatArray | None, settings: RefinementSettings) -> None:
    if labels_HW.ndim != 2 or not np.issubdtype(labels_HW.dtype, np.integer):
        raise ValueError(f"labels are integers of shape (H, W), not {labels_HW.dtype} of shape {labels_HW.shape}")
    if confidence_HW is None:
        if settings.unclaimed == "keep_confident":
            raise ValueError("unclaimed is keep_confident, but there is no confidence")
    elif confidence_HW.shape != labels_HW.shape:
        raise ValueError(f"labels have shape {labels_HW.shape}, their confidence {confidence_HW.shape}")


def _asked(labels_HW: IntArray, settings: RefinementSettings, ignore: int) -> _Asked:
    components = connected_components(labels_HW, ignore, settings.connectivity)
    large = [region for region in components if region.area > settings.min_area * labels_HW.size]
    return _Asked(large, len(components))


def _claims(
    pseudo: Sequence[PseudoLabel],
    asked: Sequence[_Asked],
    model: MaskModel,
    settings: RefinementSettings,
    ignore: int,
) -> list[list[_Claim]]:
    """For each image the masks that agree with their region, as claims for its class, in the regions' order."""
    claims: list[list[_Claim]] = [[] for _ in pseudo]
    regions = [region for one in asked for region in one.regions]
    if not regions:
        return claims
    prompts = [
        replace(prompt, image=image)
        for image, (one, about) in enumerate(zip(pseudo, asked, strict=True))
        for prompt in _prompts(one, about.regions, settings, ignore)
    ]
    chosen = ask(
        model, prompts, regions, settings.choose_by, settings.passes, settings.settled, settings.show_component
    )
    for prompt, region, mask, score in zip(prompts, regions, chosen.masks, chosen.score_N.tolist(), strict=True):
        if mask.area > 0 and region.agreement(mask) >= settings.min_agreement:
            claims[prompt.image].append(_Claim(mask, score))
    return claims


def _prompts(one: PseudoLabel, regions: list[Region], settings: RefinementSettings, ignore: int) -> list[Prompt]:
    prompts = prompts_for(regions, settings.points, settings.points_per_component, settings.box, one.rng)
    if settings.negative_points:
        prompts = with_negatives(prompts, regions, one.labels_HW, settings.negative_points, one.rng, ignore)
    return prompts


def _settled(
    one: PseudoLabel, asked: _Asked, claims: list[_Claim], settings: RefinementSettings, ignore: int
) -> RefinementResult:
    labels_HW = one.labels_HW
    claimed_HW, contested_HW = _settle(claims, settings, np.full_like(labels_HW, ignore), ignore)
    keeps = settings.keep_unprompted and not asked.regions
    unclaimed_HW = labels_HW if keeps else _unclaimed(labels_HW, one.confidence_HW, settings, ignore)
    refined_HW = np.where(claimed_HW == ignore, unclaimed_HW, claimed_HW)
    if settings.contested == "ignore":
        refined_HW[contested_HW] = ignore
    if settings.protect_small:
        small_HW = _unprompted(labels_HW, asked.regions, ignore)
        refined_HW[small_HW] = unclaimed_HW[small_HW]
    return RefinementResult(
        labels_HW=refined_HW,
        components=asked.components,
        prompted=len(asked.regions),
        accepted=len(claims),
        rejected=len(asked.regions) - len(claims),
        contested_pixels=int(np.count_nonzero(contested_HW)),
        changed_pixels=int(np.count_nonzero(refined_HW != labels_HW)),
        ignored_pixels=int(np.count_nonzero(refined_HW == ignore)),
    )


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
