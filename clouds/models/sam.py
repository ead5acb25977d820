"""A segment-anything as a refiner of pseudo-labels. It knows no files, no stage, and not its model's family."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clouds.models.sam_promptable import EncodedImage, PromptableModel, PromptBatch
from clouds.ops.components import BoolArray, Region
from clouds.ops.mask_model import FloatArray, MaskCandidates
from clouds.ops.prompts import Prompt
from clouds.ops.refinement import PseudoLabel, RefinementResult, refine_all
from clouds.ops.refinement_settings import RefinementSettings

Encode = Callable[[], Sequence[EncodedImage]]
"""Encodes some images, when they are needed."""


class SamMaskModel:
    """A promptable model that has seen some images: the `MaskModel` of the refinement."""

    def __init__(self, model: PromptableModel, images: Sequence[EncodedImage], prompts_per_call: int) -> None:
        self._model = model
        self._images = images
        self._prompts_per_call = prompts_per_call

    @torch.inference_mode()
    def predict(self, prompts: Sequence[Prompt], previous_NHW: FloatArray | None) -> MaskCandidates:
        """Candidates per prompt. Prompts of one form (as many points, a box or none) share calls, whatever image."""
        order = sorted(range(len(prompts)), key=lambda number: _form(prompts[number]))
        logits: dict[int, FloatArray] = {}
        quality: dict[int, FloatArray] = {}
        for _, alike in groupby(order, key=lambda number: _form(prompts[number])):
            for chunk in _chunks(list(alike), self._prompts_per_call):
                shown_NHW = None if previous_NHW is None else previous_NHW[chunk]
                logits_NCHW, quality_NC = self._decode([prompts[number] for number in chunk], shown_NHW)
                logits.update(zip(chunk, logits_NCHW.float().cpu().numpy(), strict=True))
                quality.update(zip(chunk, quality_NC.float().cpu().numpy(), strict=True))
        every = range(len(prompts))
        return MaskCandidates(np.stack([logits[i] for i in every]), np.stack([quality[i] for i in every]))

    def shown(self, regions: Sequence[Region], images: Sequence[int] = ()) -> FloatArray:
        """Regions of the images as mask prompts, made one after another: a large image may have hundreds."""
        sizes = [self._images[image].image_size for image in images or [0] * len(regions)]
        frame, cells = self._model.frame, self._model.cells
        shown = [frame.logits(region, size, cells).numpy() for region, size in zip(regions, sizes, strict=True)]
        logits_NHW: FloatArray = np.concatenate(shown)
        return logits_NHW

    def masks(self, logits_NHW: FloatArray, images: Sequence[int] = ()) -> Iterator[BoolArray]:
        """The masks at their images' sizes, upsampled in chunks as they are asked for."""
        sizes = [self._images[image].image_size for image in images or [0] * len(logits_NHW)]
        for size, alike in groupby(range(len(logits_NHW)), key=lambda number: sizes[number]):
            for chunk in _chunks(list(alike), self._prompts_per_call):
                yield from self._at_image_size(logits_NHW[chunk], size)

    @torch.inference_mode()
    def _at_image_size(self, logits_NHW: FloatArray, size: tuple[int, int]) -> BoolArray:
        full_NHW = self._model.frame.masks(torch.from_numpy(logits_NHW).to(self._model.device), size)
        masks_NHW: BoolArray = (full_NHW > 0).cpu().numpy()
        return masks_NHW

    def _decode(self, prompts: Sequence[Prompt], shown_NHW: FloatArray | None) -> tuple[Tensor, Tensor]:
        device = self._model.device
        on, off = ([getattr(prompt, name) for prompt in prompts] for name in ("points_NXY", "negatives_NXY"))
        kinds_P = [1] * len(on[0]) + [0] * len(off[0])
        boxes = [np.reshape(prompt.box_XYXY, (2, 2)) for prompt in prompts if prompt.box_XYXY is not None]
        batch = PromptBatch(
            points_NPX=self._to_frame(prompts, [np.concatenate(both) for both in zip(on, off, strict=True)]),
            kinds_NP=torch.tensor([kinds_P] * len(prompts), dtype=torch.int, device=device),
            boxes_NX=self._to_frame(prompts, boxes).flatten(1) if boxes else None,
            shown_NHW=None if shown_NHW is None else torch.from_numpy(shown_NHW).to(device),
        )
        # half a pixel is lost where places are encoded in half precision
        with torch.autocast(device.type, enabled=False):
            return self._model.decode(self._features([prompt.image for prompt in prompts]), batch)

    def _features(self, images: list[int]) -> tuple[Tensor, ...]:
        """The features of one image per prompt; no copies of them where all are about the same."""
        device = self._model.device
        if len(set(images)) == 1:
            own = (features.to(device).float() for features in self._images[images[0]].features)
            return tuple(features[None].expand(len(images), *features.shape) for features in own)
        several = zip(*(self._images[image].features for image in images), strict=True)
        return tuple(torch.stack([features.to(device) for features in alike]).float() for alike in several)

    def _to_frame(self, prompts: Sequence[Prompt], points: Sequence[NDArray[np.int64]]) -> Tensor:
        """Pixels of each prompt's image as float32 pixels of the model's frame."""
        sizes = [self._images[prompt.image].image_size for prompt in prompts]
        moved = [self._model.frame.points(one_NXY, size) for one_NXY, size in zip(points, sizes, strict=True)]
        return torch.as_tensor(np.stack(moved), dtype=torch.float32, device=self._model.device)


class SamRefiner:
    """Refines the pseudo-labels of images with a promptable model.

    `rounded_to` is what encoded images are rounded to, kept or not: what is asked of a kept one then has the same
    answer, to the bit, as when it was fresh.
    """

    def __init__(
        self,
        model: PromptableModel,
        settings: RefinementSettings,
        prompts_per_call: int = 32,
        rounded_to: torch.dtype = torch.float32,
    ) -> None:
        self.model = model
        self._settings = settings
        self._prompts_per_call = prompts_per_call
        self._rounded_to = rounded_to

    def refine(
        self,
        image_HWC: NDArray[np.uint8],
        labels_HW: NDArray[np.uint8],
        confidence_HW: FloatArray | None,
        seed: int,
        ignore: int = 255,
    ) -> RefinementResult:
        """Refined labels of one image of any size; at most one pass of the image encoder.

        Args:
            image_HWC: uint8 RGB in [0, 255].
            labels_HW: uint8 class ids of the same size, `ignore` where there is none.
            confidence_HW: float32 in [0, 1], if the settings need it.
            seed: draws the points.

        Raises ValueError where the sizes differ.
        """
        pseudo = PseudoLabel(labels_HW, confidence_HW, np.random.default_rng(seed))
        [result] = self.refine_all(lambda: self.encode([image_HWC]), [pseudo], ignore)
        return result

    @torch.inference_mode()
    def encode(self, images_HWC: Sequence[NDArray[np.uint8]]) -> list[EncodedImage]:
        """Images of any sizes through the image encoder as one batch."""
        features = self.model.encode(self.model.frame.pixels(images_HWC, self.model.device))
        rounded = [alike.to(self._rounded_to) for alike in features]
        return [
            # clones, so that one image that is kept does not keep its batch
            EncodedImage(tuple(alike[number].clone() for alike in rounded), (image.shape[0], image.shape[1]))
            for number, image in enumerate(images_HWC)
        ]

    def refine_all(self, encode: Encode, pseudo: Sequence[PseudoLabel], ignore: int = 255) -> list[RefinementResult]:
        """As `refine`, for several images whose components share calls of the decoder.

        `encode` gives the images, in the order of their pseudo-labels; it is called once, or not at all where no
        component is large enough to be asked about.
        """
        seen = _SeenWhenAsked(self.model, encode, pseudo, self._prompts_per_call)
        return refine_all(pseudo, seen, self._settings, ignore)


class _SeenWhenAsked:
    """The `MaskModel` of images that are encoded at the first question."""

    def __init__(
        self, model: PromptableModel, encode: Encode, pseudo: Sequence[PseudoLabel], prompts_per_call: int
    ) -> None:
        self._model, self._encode, self._prompts_per_call = model, encode, prompts_per_call
        self._sizes = [one.labels_HW.shape for one in pseudo]
        self._seen: SamMaskModel | None = None

    def predict(self, prompts: Sequence[Prompt], previous_NHW: FloatArray | None) -> MaskCandidates:
        return self._asked().predict(prompts, previous_NHW)

    def shown(self, regions: Sequence[Region], images: Sequence[int] = ()) -> FloatArray:
        return self._asked().shown(regions, images)

    def masks(self, logits_NHW: FloatArray, images: Sequence[int] = ()) -> Iterator[BoolArray]:
        return self._asked().masks(logits_NHW, images)

    def _asked(self) -> SamMaskModel:
        if self._seen is None:
            images = self._encode()
            for image, size in zip(images, self._sizes, strict=True):
                if image.image_size != size:
                    raise ValueError(f"the image has size {image.image_size} (height, width), its labels {size}")
            self._seen = SamMaskModel(self._model, images, self._prompts_per_call)
        return self._seen


def _form(prompt: Prompt) -> tuple[int, int, bool]:
    return len(prompt.points_NXY), len(prompt.negatives_NXY), prompt.box_XYXY is not None


def _chunks(numbers: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
