"""What the promptable mask model learns from, by draw number: a frame, some of its masks, their first prompts.

It knows no model but the side of its frame, and no class: an object is a number.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from clouds.data.transforms import AugmentConfig, photometric
from clouds.engine.seeding import item_seed
from clouds.errors import CloudsError
from clouds.ops.components import BoolArray
from clouds.pretraining.corpus import Corpus, Rounds
from clouds.pretraining.promptable_config import FrameConfig, PromptableConfig
from clouds.pretraining.prompting import FirstPrompt, first_prompt, touching

_ATTEMPTS = 20


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture as the model sees it before padding: uint8 (h, w, 3), and the number of the object at each pixel."""

    image_HWC: NDArray[np.uint8]
    objects_HW: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class DrawnMasks:
    """One frame, bool (N, h, w) masks that are asked for in it, and how each is asked for first."""

    number: int
    image_HWC: NDArray[np.uint8]
    targets_NHW: BoolArray
    prompts: tuple[FirstPrompt, ...]


class MaskDraws(TorchDataset[DrawnMasks | CloudsError]):
    """Pictures of the corpus by draw number, each once per round; one without objects is passed over for the next."""

    def __init__(self, corpus: Corpus, image_size: int, config: PromptableConfig, seed: int) -> None:
        self._corpus, self._image_size, self._config, self._seed = corpus, image_size, config, seed
        self._rounds = Rounds(len(corpus.ids), seed)

    def __getitem__(self, number: int) -> DrawnMasks | CloudsError:
        """The draw, or the error that there is no object to ask for."""
        rng = np.random.default_rng(item_seed(self._seed, "frame", number))
        for attempt in range(_ATTEMPTS):
            index = self._rounds(number + attempt)
            whole = Frame(self._corpus.image(index), self._corpus.instances(index).astype(np.int32))
            frame = framed(whole, self._image_size, self._config.frame, rng)
            targets_NHW = choose_masks(frame.objects_HW, self._config.frame, rng)
            if len(targets_NHW):
                break
        else:
            return CloudsError(
                f"{_ATTEMPTS} pictures in a row show no object of {self._config.frame.min_area} pixels",
                "lower 'frame.min_area', or learn from pictures with objects",
            )
        prompts = [first_prompt(mask_HW, frame.objects_HW, self._config.prompts, rng) for mask_HW in targets_NHW]
        return DrawnMasks(number, frame.image_HWC, targets_NHW, tuple(prompts))


def framed(whole: Frame, image_size: int, config: FrameConfig, rng: np.random.Generator) -> Frame:
    """The whole picture or a square crop, its longer side scaled to the frame; maybe mirrored, colours jittered."""
    height, width = whole.objects_HW.shape
    box = (0.0, 0.0, float(width), float(height))
    if rng.random() < config.crops:
        side = max(1.0, rng.uniform(*config.crop_side) * min(height, width))
        left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
        box = (left, top, left + side, top + side)
    scale = image_size / max(box[2] - box[0], box[3] - box[1])
    size = max(1, int((box[2] - box[0]) * scale + 0.5)), max(1, int((box[3] - box[1]) * scale + 0.5))
    image_HWC = np.array(Image.fromarray(whole.image_HWC).resize(size, Image.Resampling.BILINEAR, box))
    objects_HW = np.array(Image.fromarray(whole.objects_HW).resize(size, Image.Resampling.NEAREST, box))
    if rng.random() < config.flip:
        image_HWC, objects_HW = image_HWC[:, ::-1], objects_HW[:, ::-1]
    image_HWC = photometric(np.ascontiguousarray(image_HWC), rng, AugmentConfig(jitter=config.jitter))
    return Frame(image_HWC, np.ascontiguousarray(objects_HW))


def choose_masks(objects_HW: NDArray[np.int32], config: FrameConfig, rng: np.random.Generator) -> BoolArray:
    """Up to `config.masks` objects as bool (N, H, W), small ones as likely as large ones; some grown to groups."""
    areas = np.bincount(objects_HW.ravel())
    areas[0] = 0
    numbers = np.flatnonzero(areas >= config.min_area)
    if not len(numbers):
        return np.zeros((0, *objects_HW.shape), np.bool_)
    # a street has dozens of leaves and poles and one road: each fourfold of the area gets the same chance
    sizes = (np.log2(areas[numbers]) / 2).astype(int)
    weights = 1.0 / np.bincount(sizes)[sizes]
    count = min(config.masks, len(numbers))
    picked = rng.choice(numbers, size=count, replace=False, p=weights / weights.sum())
    grows = rng.random(count) < config.groups
    return np.stack([_target(objects_HW, int(n), bool(g), rng) for n, g in zip(picked, grows, strict=True)])


def _target(objects_HW: NDArray[np.int32], number: int, grows: bool, rng: np.random.Generator) -> BoolArray:
    mask_HW: BoolArray = objects_HW == number
    for _ in range(int(rng.integers(1, 4)) if grows else 0):
        neighbours = touching(mask_HW, objects_HW)
        if len(neighbours):
            mask_HW |= objects_HW == rng.choice(neighbours)
    return mask_HW
