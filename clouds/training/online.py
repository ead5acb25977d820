"""Self-training within a training: a teacher labels images in the step that the student learns from them.

The student's loss is that of `clouds.training.segmentation`, over labelled images and, by labels that count as far as
they are trusted, over the others. It knows no file and no checkpoint.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clouds.data.samples import Dataset
from clouds.engine.seeding import item_seed
from clouds.models.heads import MaskOutput
from clouds.models.segmenter import MaskSegmenter
from clouds.models.segmenter_files import load_trainable_state, trainable_state
from clouds.training.distrust import Distrust
from clouds.training.draws import Drawn, Source, chunks
from clouds.training.feature_contrast import FeatureContrast
from clouds.training.feature_distance import FeatureDistance
from clouds.training.lessons import Lesson, Lessons
from clouds.training.loop import Step, TrainingPlace, run_training
from clouds.training.online_settings import ContrastConfig, OnlineConfig
from clouds.training.rare_classes import RareClasses
from clouds.training.segmentation import MaskLosses, groups_of, validation_of
from clouds.training.settings import TrainingConfig
from clouds.training.sharpening import Sharpening
from clouds.training.teacher import Teacher
from clouds.training.unlabelled import OnlineDraws

_WEIGHER = "weigher."


class Student(nn.Module):
    """The segmenter that learns and, with a learned weight of the contrast, the layer that gives it.

    The layer begins with a half everywhere, and is no part of the segmenter that the training gives.
    """

    def __init__(self, segmenter: MaskSegmenter, *, weighs: bool) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.weigher = nn.Conv2d(segmenter.head_config.channels, 1, kernel_size=1) if weighs else None
        if self.weigher is not None:
            for parameter in self.weigher.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self, images_BCHW: Tensor, features: Sequence[Tensor] | None = None
    ) -> tuple[MaskOutput, Tensor | None]:
        """As the segmenter, and weights (B, 1, h, w) in [0, 1] at the stride of the coarse map."""
        output: MaskOutput = self.segmenter(images_BCHW, features)
        return output, None if self.weigher is None else self.weigher(output.coarse_BChw).sigmoid()

    def own_state(self) -> dict[str, Tensor]:
        """What it learns besides the segmenter, by name."""
        own = {} if self.weigher is None else self.weigher.state_dict()
        return {f"{_WEIGHER}{name}": tensor for name, tensor in own.items()}


class OnlineLearner:
    """A student that learns from draws, some of which its teacher labels; see `clouds.training.loop.Learner`."""

    def __init__(
        self,
        student: Student,
        lessons: Lessons,
        draws: OnlineDraws,
        config: TrainingConfig,
        contrast: ContrastConfig | None = None,
        distance: FeatureDistance | None = None,
        *,
        backbone_lr_multiplier: float,
    ) -> None:
        self.model, self.draws, self.config = student, draws, config
        self._segmenter, self._lessons = student.segmenter, lessons
        self._distrust = Distrust(lessons.config)
        self._backbone_lr_multiplier = backbone_lr_multiplier
        self._mask_losses = MaskLosses.of(student.segmenter, draws, config, distance)
        self._contrast = None if contrast is None else FeatureContrast(contrast, draws.ignore)
        student.segmenter.backbone.checkpoint_activations(config.checkpoint_activations)

    @property
    def losses(self) -> Sequence[str]:
        """Those of `MaskLosses`, the weighted contrast if there is one, and the mean trust in the teacher's pixels."""
        contrast = () if self._contrast is None else ("contrast",)
        return (*self._mask_losses.names, *contrast, "trusted")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The segmenter's; what weighs the contrast learns as the head does."""
        groups = groups_of(self._segmenter, self.config, self._backbone_lr_multiplier)
        if self.model.weigher is None:
            return groups
        optimizer = self.config.optimizer
        own = {
            "name": "weigher",
            "params": list(self.model.weigher.parameters()),
            "parameter_names": [f"{_WEIGHER}{name}" for name, _ in self.model.weigher.named_parameters()],
            "lr": optimizer.lr * self.config.lr_multipliers.get("head", 1.0),
            "weight_decay": optimizer.weight_decay,
        }
        # first, so that the rate a log tells stays the segmenter's
        return [own, *groups]

    def backward(self, drawn: Sequence[Drawn], step: Step) -> Tensor:
        """Add the gradients of a share of a batch, in as many forward passes as the config allows at once."""
        if self.config.frozen_steps:
            self._segmenter.hold_backbone(step.number < self.config.frozen_steps)
        # 1. all labels first: the totals of the loss count them
        lessons = [self._lessons.of(part, step) for part in chunks(drawn, self.config.images_at_once)]
        totals = self._mask_losses.totals([lesson.batch for lesson in lessons], step)
        asked = max(self._asked(lessons, step), 1)
        # 2. then what is learned from them
        sums = torch.zeros(len(self.losses), device=step.accelerator.device)
        for position, lesson in enumerate(lessons):
            losses = self._pass(lesson, totals, step, last=position == len(lessons) - 1)
            losses["trusted"] = sums.new_tensor(lesson.trusted / asked)
            sums += torch.stack([losses[name] for name in self.losses])
        return sums

    def _asked(self, lessons: Sequence[Lesson], step: Step) -> int:
        """Of how many pixels the teacher was asked in this step, on all processes."""
        own = [sum(lesson.open for lesson in lessons), sum(lesson.trusted > 0 for lesson in lessons)]
        asked, trusted = step.accelerator.reduce(torch.tensor(own, device=step.accelerator.device), "sum").tolist()
        self._distrust.note(asked, trusted, step.number + 1, speaks=step.accelerator.is_main_process)
        return int(asked)

    def state(self) -> dict[str, Tensor]:
        """The weights that training changes; the teacher's are not among them."""
        return {**trainable_state(self._segmenter), **self.model.own_state()}

    def load_state(self, tensors: dict[str, Tensor], where: str = "the checkpoint") -> None:
        """Raises `CloudsError` for weights of another model."""
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(_WEIGHER)}
        rest = {name: tensor for name, tensor in tensors.items() if name not in own}
        load_trainable_state(self._segmenter, rest, where)
        if self.model.weigher is not None:
            self.model.weigher.load_state_dict({name.removeprefix(_WEIGHER): own[name] for name in own})

    def _pass(self, lesson: Lesson, totals: tuple[float, float, float], step: Step, *, last: bool) -> dict[str, Tensor]:
        """Add one forward pass's gradients; its share of the batch's losses, detached."""
        accelerator, batch = step.accelerator, lesson.batch
        self._segmenter.backbone.seed_items([item_seed(step.seed, "drop path", number) for number in batch.numbers])
        with nullcontext() if last else accelerator.no_sync(step.parallel):
            with accelerator.autocast():
                output, learned_B1hw = step.parallel(batch.images_BCHW.to(accelerator.device), lesson.features)
            losses = self._mask_losses(output, batch, totals, step, lesson.weights_BHW)
            loss = losses["loss"]
            if self._contrast is not None:
                labelled = [self.draws.is_labelled(source) for source in batch.sources]
                contrast = self._contrast(
                    output, learned_B1hw, batch.labels_BHW, lesson.weights_BHW, labelled, accelerator
                )
                loss = loss + contrast
                # every process has the contrast of all
                losses["contrast"] = contrast / accelerator.num_processes
                losses["loss"] = losses["loss"] + losses["contrast"]
            # data parallel averages gradients over processes; the loss is a sum over all of them
            accelerator.backward(loss * accelerator.num_processes)
        return {name: value.detach() for name, value in losses.items()}


@dataclass(frozen=True, kw_only=True)
class Online:
    """What online self-training needs beside a training: its config, the unlabelled sources, and who refines."""

    config: OnlineConfig
    sources: Sequence[Source]
    sharpening: Sharpening | None = None


def train_online(
    model: MaskSegmenter,
    labelled: Sequence[Source],
    online: Online,
    config: TrainingConfig,
    place: TrainingPlace,
    *,
    ignore: int,
    backbone_lr_multiplier: float,
    tables: Mapping[int, RareClasses] | None = None,
    validated: Mapping[str, Dataset] | None = None,
    run_folder: Path | None = None,
    distance: FeatureDistance | None = None,
) -> list[str]:
    """Train a segmenter in place, with a teacher of its own; see `run_training` for what it returns and raises.

    `tables` and `validated` are as for `train_segmenter`; encoded images are kept below `run_folder`.
    """
    draws = OnlineDraws(labelled, online.sources, place.seed, ignore, tables)
    refiner = None
    if online.config.refine_every is not None:
        if online.sharpening is None:
            raise ValueError("`refine_every` needs a mask model")
        refiner = online.sharpening.build(place.runtime, run_folder or place.folder)
    # there before the teacher is made, which shares the frozen weights where they lie
    model.to(place.runtime.device)
    teacher, contrast = Teacher(model, online.config.teacher), online.config.contrast
    learner = OnlineLearner(
        Student(model, weighs=contrast is not None and contrast.learned),
        Lessons(model, teacher, online.config, ignore, refiner),
        draws,
        config,
        contrast,
        distance,
        backbone_lr_multiplier=backbone_lr_multiplier,
    )
    return run_training(learner, config, place, validation_of(model, ignore, config, place, validated), teacher)
