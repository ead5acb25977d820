"""What a promptable mask model is to us, and how it is asked again and again. It knows no particular model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from clouds.ops.components import BoolArray, Region
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
    """A promptable mask model that has already seen the image."""

    def predict(self, prompts: Sequence[Prompt], previous_NHW: FloatArray | None) -> MaskCandidates:
        """Candidates for all prompts; `previous_NHW` are the logits chosen in the pass before, to start from."""
        ...

    def shown(self, regions: Sequence[Region]) -> FloatArray:
        """Regions of the image as logits at the model's own resolution, to start from."""
        ...

    def masks(self, logits_NHW: FloatArray) -> Iterable[BoolArray]:
        """The logits as masks of the whole image, one after another, so that nobody need hold them all."""
        ...


@dataclass(frozen=True, eq=False)
class ChosenMasks:
    """One mask per prompt: `logits_NHW` and `score_N` (the number it was chosen by), float32."""

    logits_NHW: FloatArray
    score_N: FloatArray


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
    shown_NHW = model.shown(regions) if show_regions else None
    chosen = _choose(model, model.predict(prompts, shown_NHW), regions, choice)
    moving = np.arange(len(prompts))
    for _ in range(passes - 1):
        before_NHW = chosen.logits_NHW[moving]
        candidates = model.predict([prompts[int(i)] for i in moving], before_NHW)
        after = _choose(model, candidates, [regions[int(i)] for i in moving], choice)
        chosen.logits_NHW[moving], chosen.score_N[moving] = after.logits_NHW, after.score_N
        moving = moving[_iou(before_NHW > 0, after.logits_NHW > 0) < settled]
        if not moving.size:
            break
    return chosen


def _choose(model: MaskModel, candidates: MaskCandidates, regions: Sequence[Region], choice: MaskChoice) -> ChosenMasks:
    if choice == "quality":
        score_NC = np.nan_to_num(candidates.quality_NC, nan=-np.inf)
    else:
        score_NC = _agreement(model, candidates.logits_NCHW, regions)
    best_N = score_NC.argmax(axis=1)
    every_N = np.arange(len(best_N))
    return ChosenMasks(candidates.logits_NCHW[every_N, best_N], score_NC[every_N, best_N])


def _agreement(model: MaskModel, logits_NCHW: FloatArray, regions: Sequence[Region]) -> FloatArray:
    count, choices, height, width = logits_NCHW.shape
    masks = model.masks(logits_NCHW.reshape(count * choices, height, width))
    owners = [region for region in regions for _ in range(choices)]
    scores = [region.iou(mask_HW) for region, mask_HW in zip(owners, masks, strict=True)]
    return np.array(scores, dtype=np.float32).reshape(count, choices)


def _iou(one_NHW: BoolArray, other_NHW: BoolArray) -> NDArray[np.float64]:
    common_N = np.count_nonzero(one_NHW & other_NHW, axis=(1, 2))
    union_N = np.count_nonzero(one_NHW | other_NHW, axis=(1, 2))
    # two empty masks are the same mask
    return np.where(union_N == 0, 1.0, common_N / np.maximum(union_N, 1))
