"""Self-training within a training: a teacher labels images in the step that the student learns from them.

The student's loss is that of `clouds.training.segmentation`, over labelled images and, by labels that count as far as
they are trusted, over the others. It knows no file and no checkpoint.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clouds.data.samples import Dataset
from clouds.engine.seeding import item_seed
from clouds.models.heads import MaskOutput
from clouds.models.segmenter import MaskSegmenter
from clouds.models.segmenter_files import load_trainable_state, trainable_state
from clouds.ops.label_trust import label_weights
from clouds.training.draws import Batch, Drawn, ForTeacher, Source, split
from clouds.training.feature_contrast import FeatureContrast
from clouds.training.loop import Step, TrainingPlace, run_training
from clouds.training.online_settings import OnlineConfig
from clouds.training.rare_classes import RareClasses
from clouds.training.segmentation import MaskLosses, groups_of, validation_of
from clouds.training.settings import TrainingConfig
from clouds.training.sharpening import LabelRefiner, Sharpening, TeacherLabel
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


@dataclass(frozen=True)
class _Lesson:
    """A batch with all its labels, how far they are trusted, and the features of a frozen backbone, if it was asked.

    `trusted` and `open` are the sum of trust over the pixels that the teacher was asked about, and their number.
    """

    batch: Batch
    weights_BHW: Tensor | None = None
    features: list[Tensor] | None = None
    trusted: float = 0.0
    open: int = 0


class OnlineLearner:
    """A student that learns from draws, some of which its teacher labels; see `clouds.training.loop.Learner`.

    Where the teacher sees what the student sees, and the backbone is frozen, that backbone sees it once for both; the
    features are kept from the teacher's labels to the student's pass.
    """

    def __init__(
        self,
        student: Student,
        teacher: Teacher,
        draws: OnlineDraws,
        config: TrainingConfig,
        online: OnlineConfig,
        *,
        backbone_lr_multiplier: float,
        refiner: LabelRefiner | None = None,
    ) -> None:
        self.model, self.draws, self.config = student, draws, config
        self._segmenter, self._teacher, self._online, self._refiner = student.segmenter, teacher, online, refiner
        self._backbone_lr_multiplier = backbone_lr_multiplier
        self._mask_losses = MaskLosses.of(student.segmenter, draws, config)
        self._contrast = None if online.contrast is None else FeatureContrast(online.contrast, draws.ignore)
        self._fixed = not any(parameter.requires_grad for _, parameter in student.segmenter.backbone.named_parameters())
        student.segmenter.backbone.checkpoint_activations(config.checkpoint_activations)

    @property
    def losses(self) -> Sequence[str]:
        """Those of the masks, the weighted contrast where there is one, and the mean trust in the teacher's pixels."""
        contrast = () if self._contrast is None else ("contrast",)
        return ("loss", "class", "mask", "dice", *contrast, "trusted")

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
        lessons = [self._taught(part, step) for part in self._parts(drawn)]
        totals = self._mask_losses.totals([lesson.batch for lesson in lessons], step)
        opened = torch.tensor([sum(lesson.open for lesson in lessons)], device=step.accelerator.device)
        asked = max(int(step.accelerator.reduce(opened, "sum")), 1)
        # 2. then what is learned from them
        sums = torch.zeros(len(self.losses), device=step.accelerator.device)
        for position, lesson in enumerate(lessons):
            losses = self._pass(lesson, totals, step, last=position == len(lessons) - 1)
            losses["trusted"] = sums.new_tensor(lesson.trusted / asked)
            sums += torch.stack([losses[name] for name in self.losses])
        return sums

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

    def _parts(self, drawn: Sequence[Drawn]) -> list[tuple[Batch, Sequence[Drawn]]]:
        batches, start, parts = split(drawn, self.config.images_at_once), 0, []
        for batch in batches:
            parts.append((batch, drawn[start : start + len(batch.numbers)]))
            start += len(batch.numbers)
        return parts

    def _taught(self, part: tuple[Batch, Sequence[Drawn]], step: Step) -> _Lesson:
        """A batch whose unlabelled images the teacher has labelled."""
        batch, drawn = part
        asked = {place: one.unlabelled for place, one in enumerate(drawn) if one.unlabelled is not None}
        if not asked:
            return _Lesson(batch)
        views = [batch.images_BCHW[place] if one.image_HWC is None else _channels_first(one.image_HWC)
                 for place, one in asked.items()]  # fmt: skip
        views_BCHW, features = torch.stack(views), None
        if self._fixed and all(one.image_HWC is None for one in asked.values()):
            with torch.no_grad(), step.accelerator.autocast():
                features = self._segmenter.features(batch.images_BCHW.to(step.accelerator.device))
        threshold = 0.0 if self._online.weighting == "image" else self._online.threshold
        labels_BHW, confidence_BHW = self._teacher.label(
            views_BCHW.to(step.accelerator.device),
            None if features is None else [feature[list(asked)] for feature in features],
            step.accelerator.autocast(),
            threshold,
            self.draws.ignore,
        )
        return self._lesson(batch, asked, views_BCHW, (labels_BHW, confidence_BHW), features, step)

    def _lesson(
        self,
        batch: Batch,
        asked: Mapping[int, ForTeacher],
        views_BCHW: Tensor,
        said: tuple[Tensor, Tensor],
        features: list[Tensor] | None,
        step: Step,
    ) -> _Lesson:
        """The batch with what the teacher said of the images it was asked about, where their pixels are open."""
        ignore, (labels_BHW, confidence_BHW) = self.draws.ignore, said
        places = list(asked)
        open_BHW = torch.stack([torch.from_numpy(one.open_HW) for one in asked.values()])
        known_BHW = batch.labels_BHW[places]
        inside_BHW = open_BHW | (known_BHW != ignore)
        labels_BHW = labels_BHW.masked_fill(~inside_BHW, ignore)
        if self._refiner is not None and self._due(step):
            numbers = [batch.numbers[place] for place in places]
            labels_BHW = self._refined(views_BCHW, labels_BHW, confidence_BHW, asked, numbers, step)
        trust_BHW = label_weights(confidence_BHW, inside_BHW, self._online.threshold, self._online.weighting)
        labels_all_BHW = batch.labels_BHW.clone()
        labels_all_BHW[places] = torch.where(open_BHW, labels_BHW, known_BHW)
        weights_BHW = None
        if trust_BHW is not None:
            weights_BHW = torch.ones(labels_all_BHW.shape)
            weights_BHW[places] = torch.where(open_BHW, trust_BHW, 1.0)
        counted_BHW = open_BHW & (labels_BHW != ignore)
        trusted = counted_BHW.sum() if trust_BHW is None else trust_BHW[counted_BHW].sum()
        return _Lesson(
            replace(batch, labels_BHW=labels_all_BHW), weights_BHW, features, float(trusted), int(open_BHW.sum())
        )

    def _due(self, step: Step) -> bool:
        return self._online.refine_every is not None and step.number % self._online.refine_every == 0

    def _refined(
        self,
        views_BCHW: Tensor,
        labels_BHW: Tensor,
        confidence_BHW: Tensor,
        asked: Mapping[int, ForTeacher],
        numbers: Sequence[int],
        step: Step,
    ) -> Tensor:
        taught = [
            TeacherLabel(
                image_HWC=view_CHW.permute(1, 2, 0).contiguous().numpy(),
                labels_HW=labels_HW.numpy(),
                confidence_HW=confidence_HW.numpy(),
                mirrored=one.mirrored,
                seed=item_seed(step.seed, "refine", number),
            )
            for view_CHW, labels_HW, confidence_HW, one, number in zip(
                views_BCHW, labels_BHW, confidence_BHW, asked.values(), numbers, strict=True
            )
        ]
        assert self._refiner is not None
        with step.accelerator.autocast():
            refined = self._refiner(taught, self.draws.ignore)
        return torch.stack([torch.from_numpy(labels_HW) for labels_HW in refined])

    def _pass(self, lesson: _Lesson, totals: tuple[float, float], step: Step, *, last: bool) -> dict[str, Tensor]:
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
) -> list[str]:
    """Train a segmenter in place, with a teacher of its own; see `run_training` for what it returns and raises.

    `tables` and `validated` are as for `train_segmenter`; encoded images are kept below `run_folder`.
    """
    draws = OnlineDraws(labelled, online.sources, place.seed, ignore, tables, online.config.mix)
    refiner = None
    if online.config.refine_every is not None:
        if online.sharpening is None:
            raise ValueError("`refine_every` needs a mask model")
        refiner = online.sharpening.build(place.runtime, run_folder or place.folder)
    # there before the teacher is made, which shares the frozen weights where they lie
    model.to(place.runtime.device)
    teacher = Teacher(model, online.config.teacher)
    contrast = online.config.contrast
    learner = OnlineLearner(
        Student(model, weighs=contrast is not None and contrast.learned),
        teacher,
        draws,
        config,
        online.config,
        backbone_lr_multiplier=backbone_lr_multiplier,
        refiner=refiner,
    )
    return run_training(learner, config, place, validation_of(model, ignore, config, place, validated), teacher)


def _channels_first(image_HWC: Any) -> Tensor:
    return torch.from_numpy(image_HWC.transpose(2, 0, 1).copy())
