"""What a student is to learn of a batch: its labels, those that a teacher gives among them. It computes no loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clouds.engine.seeding import item_seed
from clouds.models.segmenter import MaskSegmenter
from clouds.ops.label_trust import label_weights
from clouds.training.draws import Batch, Drawn, ForTeacher, batch_of
from clouds.training.loop import Step
from clouds.training.online_settings import OnlineConfig
from clouds.training.sharpening import LabelRefiner, TeacherLabel
from clouds.training.teacher import Teacher


@dataclass(frozen=True)
class Lesson:
    """A batch with all its labels, how far they are trusted, and the features of a frozen backbone, if it was asked.

    `trusted` is the sum of trust over the pixels that the teacher was asked about, `open` their number.
    """

    batch: Batch
    weights_BHW: Tensor | None = None
    features: list[Tensor] | None = None
    trusted: float = 0.0
    open: int = 0


@dataclass(frozen=True)
class _Said:
    """What the teacher said of some images: uint8 and float32, both (B, H, W), on the CPU."""

    labels_BHW: Tensor
    confidence_BHW: Tensor


class Lessons:
    """Asks the teacher, and the mask model where it is due, about the images of a batch that have no labels.

    Where the teacher sees what the student sees, and the backbone is frozen, that backbone sees it once for both; the
    features are kept from here to the student's pass.
    """

    def __init__(
        self,
        segmenter: MaskSegmenter,
        teacher: Teacher,
        config: OnlineConfig,
        ignore: int,
        refiner: LabelRefiner | None = None,
    ) -> None:
        self._segmenter, self._teacher, self.config, self._refiner = segmenter, teacher, config, refiner
        self._ignore = ignore
        self._fixed = not any(parameter.requires_grad for _, parameter in segmenter.backbone.named_parameters())

    def of(self, drawn: Sequence[Drawn], step: Step) -> Lesson:
        """The lesson of the draws of one forward pass."""
        batch = batch_of(drawn)
        asked = {place: one.unlabelled for place, one in enumerate(drawn) if one.unlabelled is not None}
        if not asked:
            return Lesson(batch)
        # 1. what the teacher sees
        views_BCHW = torch.stack([_view(batch, place, one.image_HWC) for place, one in asked.items()])
        one_view = all(one.image_HWC is None for one in asked.values())
        features = self._features(batch, step) if one_view and self._fixed else None
        # 2. what it says
        said = self._said(views_BCHW, None if features is None else [maps[list(asked)] for maps in features], step)
        # 3. what of that counts
        return self._joined(batch, asked, views_BCHW, said, features, step)

    def _features(self, batch: Batch, step: Step) -> list[Tensor]:
        with torch.no_grad(), step.accelerator.autocast():
            return self._segmenter.features(batch.images_BCHW.to(step.accelerator.device))

    def _said(self, views_BCHW: Tensor, features: list[Tensor] | None, step: Step) -> _Said:
        # by its share of sure pixels, an image counts with those that are not
        threshold = 0.0 if self.config.weighting == "image" else self.config.threshold
        views_BCHW = views_BCHW.to(step.accelerator.device)
        return _Said(*self._teacher.label(views_BCHW, features, step.accelerator.autocast(), threshold, self._ignore))

    def _joined(
        self,
        batch: Batch,
        asked: Mapping[int, ForTeacher],
        views_BCHW: Tensor,
        said: _Said,
        features: list[Tensor] | None,
        step: Step,
    ) -> Lesson:
        """The batch with what the teacher said of the images it was asked about, where their pixels are open."""
        places = list(asked)
        open_BHW = torch.stack([torch.from_numpy(one.open_HW) for one in asked.values()])
        known_BHW = batch.labels_BHW[places]
        inside_BHW = open_BHW | (known_BHW != self._ignore)
        said = replace(said, labels_BHW=said.labels_BHW.masked_fill(~inside_BHW, self._ignore))
        every = self.config.refine_every
        if self._refiner is not None and every is not None and step.number % every == 0:
            numbers = [batch.numbers[place] for place in places]
            mirrored = [one.mirrored for one in asked.values()]
            said = replace(said, labels_BHW=self._refined(views_BCHW, said, mirrored, numbers, step))
        labels_BHW = batch.labels_BHW.clone()
        labels_BHW[places] = torch.where(open_BHW, said.labels_BHW, known_BHW)
        counted_BHW = open_BHW & (said.labels_BHW != self._ignore)
        trust_BHW = label_weights(said.confidence_BHW, inside_BHW, self.config.threshold, self.config.weighting)
        weights_BHW, trusted = None, counted_BHW.sum()
        if trust_BHW is not None:
            weights_BHW = torch.ones(labels_BHW.shape)
            weights_BHW[places] = torch.where(open_BHW, trust_BHW, 1.0)
            trusted = trust_BHW[counted_BHW].sum()
        return Lesson(replace(batch, labels_BHW=labels_BHW), weights_BHW, features, float(trusted), int(open_BHW.sum()))

    def _refined(
        self, views_BCHW: Tensor, said: _Said, mirrored: Sequence[bool | None], numbers: Sequence[int], step: Step
    ) -> Tensor:
        assert self._refiner is not None
        taught = [
            TeacherLabel(
                image_HWC=views_BCHW[place].permute(1, 2, 0).contiguous().numpy(),
                labels_HW=said.labels_BHW[place].numpy(),
                confidence_HW=said.confidence_BHW[place].numpy(),
                mirrored=mirrored[place],
                seed=item_seed(step.seed, "refine", number),
            )
            for place, number in enumerate(numbers)
        ]
        with step.accelerator.autocast():
            refined = self._refiner(taught, self._ignore)
        return torch.stack([torch.from_numpy(labels_HW) for labels_HW in refined])


def _view(batch: Batch, place: int, clean_HWC: NDArray[np.uint8] | None) -> Tensor:
    """What the teacher sees of an image, (3, H, W): the clean view, where the student sees another."""
    if clean_HWC is None:
        return batch.images_BCHW[place]
    return torch.from_numpy(np.ascontiguousarray(clean_HWC.transpose(2, 0, 1)))
