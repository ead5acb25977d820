"""What a promptable mask model is to us, and how it is asked again and again. It knows no particular model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from clouds.ops.components import BoolArray, Region, region_of
from clouds.ops.prompts import Prompt

FloatArray = NDArray[np.float32]
MaskChoice = Literal["quality", "agreement"]


@dataclass(frozen=True, eq=False)
class MaskCandidates:
    """What a mask model answers: for each of N prompts C masks to choose from.

    `logits_NCHW` float32 at the model's own resolution, positive inside; `quality_NC` float32, the model's own
    estimate of each mask's IoU.
    """

    logits_NCHW: FloatArray
    quality_NC: FloatArray


class MaskModel(Protocol):
    """A promptable mask model that has already seen the image, or several: each prompt says which it is about.

    Where `images` is asked for, it says of which image each entry is; left out, all are of the first.
    """

    def predict(self, prompts: Sequence[Prompt], previous_NHW: FloatArray | None) -> MaskCandidates:
        """Candidates for all prompts; `previous_NHW` are the logits chosen in the pass before, to start from."""
        ...

    def shown(self, regions: Sequence[Region], images: Sequence[int] = ()) -> FloatArray:
        """Regions of the image as logits at the model's own resolution, to start from."""
        ...

    def masks(self, logits_NHW: FloatArray, images: Sequence[int] = ()) -> Iterable[BoolArray]:
        """The logits as masks of the whole image, one after another, so that nobody need hold them all."""
        ...


@dataclass(frozen=True, eq=False)
class ChosenMasks:
    """One mask per prompt: `logits_NHW` and `score_N` (the number it was chosen by), float32, and its pixels.

    A mask in `masks` bears the class of the region it was asked for, and is of the image's size.
    """

    logits_NHW: FloatArray
    score_N: FloatArray
    masks: list[Region]


@dataclass(frozen=True, eq=False)
class _Choice:
    """The candidate taken for each prompt; the pixels of all or, where choosing did not look at them, of none."""

    logits_NHW: FloatArray
    score_N: FloatArray
    masks: list[Region]


def ask(
    model: MaskModel,
    prompts: Sequence[Prompt],
    regions: Sequence[Region],
    choice: MaskChoice,
    passes: int,
    settled: float,
    show_regions: bool = False,
) -> ChosenMasks:
    """The model's mask for each prompt, after up to `passes` passes, each shown the mask of the one before.

    Args:
        regions: what each prompt asks for, in the same order.
        choice: `quality` takes the candidate the model itself holds best, `agreement` the one with the most IoU with
            its region.
        settled: a prompt is asked no further once its mask has at least this IoU with its previous one.
        show_regions: the first pass is shown the regions themselves as masks to start from.
    """
    images = [prompt.image for prompt in prompts]
    shown_NHW = model.shown(regions, images) if show_regions else None
    first = _choose(model, model.predict(prompts, shown_NHW), prompts, regions, choice)
    logits_NHW, score_N, masks = first.logits_NHW, first.score_N, dict(enumerate(first.masks))
    moving = np.arange(len(prompts))
    for _ in range(passes - 1):
        before_NHW = logits_NHW[moving]
        asked, about = [prompts[i] for i in moving.tolist()], [regions[i] for i in moving.tolist()]
        after = _choose(model, model.predict(asked, before_NHW), asked, about, choice)
        logits_NHW[moving], score_N[moving] = after.logits_NHW, after.score_N
        # none where choosing did not look at pixels
        masks.update(zip(moving.tolist(), after.masks, strict=False))
        moving = moving[_iou(before_NHW > 0, after.logits_NHW > 0) < settled]
        if not moving.size:
            break
    if not masks:
        full = zip(regions, model.masks(logits_NHW, images), strict=True)
        masks = {number: region_of(mask_HW, region.class_id) for number, (region, mask_HW) in enumerate(full)}
    return ChosenMasks(logits_NHW, score_N, [masks[number] for number in range(len(prompts))])


def _choose(
    model: MaskModel,
    candidates: MaskCandidates,
    prompts: Sequence[Prompt],
    regions: Sequence[Region],
    choice: MaskChoice,
) -> _Choice:
    masks: list[Region] = []
    if choice == "quality":
        score_NC = np.nan_to_num(candidates.quality_NC, nan=-np.inf)
    else:
        score_NC, masks = _agreement(model, candidates.logits_NCHW, prompts, regions)
    best_N = score_NC.argmax(axis=1)
    every_N = np.arange(len(best_N))
    return _Choice(candidates.logits_NCHW[every_N, best_N], score_NC[every_N, best_N], masks)


def _agreement(
    model: MaskModel, logits_NCHW: FloatArray, prompts: Sequence[Prompt], regions: Sequence[Region]
) -> tuple[FloatArray, list[Region]]:
    """Each candidate's IoU with its region, and the pixels of each prompt's first best candidate."""
    count, choices, height, width = logits_NCHW.shape
    images = [prompt.image for prompt in prompts for _ in range(choices)]
    score_NC = np.full((count, choices), -1, dtype=np.float32)
    best: list[Region] = []
    full = iter(model.masks(logits_NCHW.reshape(count * choices, height, width), images))
    for number, region in enumerate(regions):
        kept = None
        for candidate in range(choices):
            mask_HW = next(full)
            score_NC[number, candidate] = region.iou(mask_HW)
            if score_NC[number].argmax() == candidate:
                kept = region_of(mask_HW, region.class_id)
        assert kept is not None, "a model gives at least one candidate"
        best.append(kept)
    return score_NC, best


def _iou(one_NHW: BoolArray, other_NHW: BoolArray) -> NDArray[np.float64]:
    common_N = np.count_nonzero(one_NHW & other_NHW, axis=(1, 2))
    union_N = np.count_nonzero(one_NHW | other_NHW, axis=(1, 2))
    # two empty masks are the same mask
    return np.where(union_N == 0, 1.0, common_N / np.maximum(union_N, 1))
