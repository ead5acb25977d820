"""How well a mask model answers prompts about objects it never saw. It knows no particular model: see `MaskModel`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clouds.engine.seeding import item_seed
from clouds.models.sam import SamMaskModel, SamRefiner
from clouds.models.sam_original import OriginalSam
from clouds.ops.components import BoolArray, Region, region_of
from clouds.ops.mask_model import MaskCandidates, MaskModel, ask
from clouds.ops.prompts import Prompt, prompts_for
from clouds.ops.refinement_settings import RefinementSettings
from clouds.pretraining.corpus import Corpus
from clouds.pretraining.prompting import corrupted

Sight = Callable[[NDArray[np.uint8]], MaskModel]
"""A mask model that has seen an image."""

SIZES = (("small", 0.004), ("medium", 0.03), ("large", 1.0))
"""Names of object sizes, and the share of the picture up to which each reaches."""

_POINTS = {"point": (1, False), "points": (5, False), "box": (0, True)}


@dataclass(frozen=True)
class _Score:
    """IoUs of one kind of prompt on one object."""

    name: str
    size: str
    iou: float


def appraise_sam(sam: Any, corpus: Corpus, count: int, *, seed: int = 0, min_area: int = 4) -> dict[str, float]:
    """`appraise_masks` of a `Sam` in evaluation mode, on its own device."""
    refiner = SamRefiner(OriginalSam(sam, sam.device), RefinementSettings())

    def see(image_HWC: NDArray[np.uint8]) -> MaskModel:
        [encoded] = refiner.encode([image_HWC])
        return SamMaskModel(refiner.model, [encoded], prompts_per_call=32)

    return appraise_masks(see, corpus, count, seed=seed, min_area=min_area)


def appraise_masks(see: Sight, corpus: Corpus, count: int, *, seed: int = 0, min_area: int = 4) -> dict[str, float]:
    """Mean IoUs in [0, 1] over the objects of at least `min_area` pixels in a corpus's first `count` pictures.

    `point`, `points`, `box`: one point drawn on the object, five, its box; of the candidates the one the model holds
    best. The same with `_best`: the candidate that is best in truth. `point_small`, ...: objects of a size alone (see
    `SIZES`). `component` is the IoU of objects as a segmenter may see them (`corrupted`), `refined` that of the answer
    to five points on them in two passes, the candidate that agrees most, and `refined_shown` where they are shown as
    masks besides: how far these lie above is what a refinement wins. Raises ValueError where there is no such object.
    """
    scores: list[_Score] = []
    for index in range(min(count, len(corpus.ids))):
        objects_HW = corpus.instances(index)
        masks = [objects_HW == number for number in np.unique(objects_HW) if number]
        masks = [mask_HW for mask_HW in masks if np.count_nonzero(mask_HW) >= min_area]
        if masks:
            rng = np.random.default_rng(item_seed(seed, "appraisal", str(corpus.ids[index])))
            model = see(corpus.image(index))
            scores += _prompted(model, masks, rng)
            scores += _refined(model, masks, objects_HW, rng)
    if not scores:
        raise ValueError("there is no object to appraise with")
    return _means(scores)


def _prompted(model: MaskModel, masks: list[BoolArray], rng: np.random.Generator) -> Iterator[_Score]:
    regions = [region_of(mask_HW, 0) for mask_HW in masks]
    sizes = [_size(mask_HW) for mask_HW in masks]
    for name, (points, boxed) in _POINTS.items():
        prompts = _without_points(regions) if not points else prompts_for(regions, "random", points, boxed, rng)
        candidates = model.predict(prompts, None)
        ious_NC = _ious(model, candidates, regions)
        held_N = ious_NC[np.arange(len(regions)), candidates.quality_NC.argmax(1)]
        for size, held, best in zip(sizes, held_N.tolist(), ious_NC.max(1).tolist(), strict=True):
            yield _Score(name, size, held)
            yield _Score(f"{name}_best", size, best)


def _refined(
    model: MaskModel, masks: list[BoolArray], objects_HW: NDArray[np.integer], rng: np.random.Generator
) -> Iterator[_Score]:
    components = [region_of(corrupted(mask_HW, objects_HW, rng), 0) for mask_HW in masks]
    prompts = prompts_for(components, "random", 5, False, rng)
    for mask_HW, component in zip(masks, components, strict=True):
        yield _Score("component", _size(mask_HW), component.iou(mask_HW))
    for name, shows in (("refined", False), ("refined_shown", True)):
        chosen = ask(model, prompts, components, "agreement", passes=2, settled=1.0, show_regions=shows)
        for mask_HW, answer in zip(masks, chosen.masks, strict=True):
            yield _Score(name, _size(mask_HW), answer.iou(mask_HW))


def _without_points(regions: list[Region]) -> list[Prompt]:
    return [Prompt(np.zeros((0, 2), np.int64), region.box_XYXY) for region in regions]


def _ious(model: MaskModel, candidates: MaskCandidates, regions: list[Region]) -> NDArray[np.float64]:
    count, choices, height, width = candidates.logits_NCHW.shape
    masks = model.masks(candidates.logits_NCHW.reshape(count * choices, height, width))
    owners = [region for region in regions for _ in range(choices)]
    return np.array([region.iou(mask_HW) for region, mask_HW in zip(owners, masks, strict=True)]).reshape(
        count, choices
    )


def _size(mask_HW: BoolArray) -> str:
    share = np.count_nonzero(mask_HW) / mask_HW.size
    return next(name for name, most in SIZES if share <= most)


def _means(scores: list[_Score]) -> dict[str, float]:
    groups: dict[str, list[float]] = {}
    for score in scores:
        groups.setdefault(score.name, []).append(score.iou)
    for size, _ in SIZES:
        for score in scores:
            if score.size == size:
                groups.setdefault(f"{score.name}_{size}", []).append(score.iou)
    return {name: float(np.mean(values)) for name, values in groups.items()}
