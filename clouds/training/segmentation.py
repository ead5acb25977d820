"""Learning to segment: the mask loss on augmented images with labels. It knows no step's number and no checkpoint."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clouds.data.samples import Dataset
from clouds.engine.seeding import item_seed
from clouds.models.heads import MaskOutput
from clouds.models.segmenter import MaskSegmenter, loss_settings, parameter_groups
from clouds.models.segmenter_files import load_trainable_state, trainable_state
from clouds.ops.mask_loss import MaskLossSettings, count_labelled, count_masks, mask_loss
from clouds.training.draws import Batch, Drawn, Draws, split
from clouds.training.feature_distance import FeatureDistance
from clouds.training.loop import Step, TrainingPlace, run_training
from clouds.training.mixing import MixedDraws
from clouds.training.settings import TrainingConfig
from clouds.training.unlabelled import OnlineDraws
from clouds.training.validation import SegmentationValidation


@dataclass(frozen=True)
class MaskLosses:
    """The mask loss of the batches that make a step, whichever learner passes them through its model.

    `dice_S` are the factors on the dice loss of the images of each source. With a `distance`, it is added for those of
    sources whose labels are true, `true_S`.
    """

    settings: MaskLossSettings
    dice_S: tuple[float, ...]
    true_S: tuple[bool, ...]
    distance: FeatureDistance | None = None

    @classmethod
    def of(
        cls,
        model: MaskSegmenter,
        draws: Draws | MixedDraws | OnlineDraws,
        config: TrainingConfig,
        distance: FeatureDistance | None,
    ) -> "MaskLosses":
        settings = loss_settings(config.loss, ignore=draws.ignore, stride=model.mask_stride)
        sources = draws.sources
        dice_S, true_S = tuple(one.dice for one in sources), tuple(not one.guessed for one in sources)
        return cls(settings, dice_S, true_S, distance)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the losses; the first is the sum of the others."""
        return ("loss", "class", "mask", "dice", *(() if self.distance is None else ("distance",)))

    def totals(self, batches: Sequence[Batch], step: Step) -> tuple[float, float, float]:
        """Target masks, labelled images and cells of the distance of the whole batch, over all processes."""
        ignore, distance = self.settings.ignore, self.distance
        counts = [
            sum(count_masks(batch.labels_BHW, ignore) for batch in batches),
            sum(count_labelled(batch.labels_BHW, ignore) for batch in batches),
            sum(0 if distance is None else int(distance.cells(batch, self.true_S).sum()) for batch in batches),
        ]
        totals = torch.tensor(counts, dtype=torch.float32, device=step.accelerator.device)
        masks, images, cells = step.accelerator.reduce(totals, "sum").tolist()
        return masks, images, cells

    def __call__(
        self,
        output: MaskOutput,
        batch: Batch,
        totals: tuple[float, float, float],
        step: Step,
        weights_BHW: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The losses of one forward pass, its share of the whole batch's; see `mask_loss` and `FeatureDistance`."""
        dice_B = torch.tensor([self.dice_S[source] for source in batch.sources])
        losses = mask_loss(
            output.class_logits,
            output.mask_logits,
            batch.labels_BHW,
            num_masks=totals[0],
            num_images=totals[1],
            generators=[
                torch.Generator().manual_seed(item_seed(step.seed, "points", number)) for number in batch.numbers
            ],
            settings=self.settings,
            weights_BHW=weights_BHW,
            dice_B=None if bool((dice_B == 1).all()) else dice_B,
        )
        if self.distance is not None:
            cells_Bhw = self.distance.cells(batch, self.true_S)
            losses["distance"] = self.distance(output, batch, cells_Bhw, totals[2], step.accelerator)
            losses["loss"] = losses["loss"] + losses["distance"]
        return losses


class SegmentationLearner:
    """A segmenter that learns from draws; see `clouds.training.loop.Learner`."""

    def __init__(
        self,
        model: MaskSegmenter,
        draws: Draws | MixedDraws,
        config: TrainingConfig,
        distance: FeatureDistance | None = None,
        *,
        backbone_lr_multiplier: float,
    ) -> None:
        self.model, self.draws, self.config = model, draws, config
        self._backbone_lr_multiplier = backbone_lr_multiplier
        self._mask_losses = MaskLosses.of(model, draws, config, distance)
        model.backbone.checkpoint_activations(config.checkpoint_activations)

    @property
    def losses(self) -> Sequence[str]:
        """Those of the masks, and the weighted distance of the features where there is one."""
        return self._mask_losses.names

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The model's, with the learning rates of its parts."""
        return groups_of(self.model, self.config, self._backbone_lr_multiplier)

    def backward(self, drawn: Sequence[Drawn], step: Step) -> Tensor:
        """Add the gradients of a share of a batch, in as many forward passes as the config allows at once.

        In the frozen steps the backbone's tower has none, so that neither the clip, nor the decay, nor AdamW's moments
        see it.
        """
        if self.config.frozen_steps:
            self.model.hold_backbone(step.number < self.config.frozen_steps)
        batches = split(drawn, self.config.images_at_once)
        totals = self._mask_losses.totals(batches, step)
        sums = torch.zeros(len(self.losses), device=step.accelerator.device)
        for position, batch in enumerate(batches):
            sums += self._pass(batch, totals, step, last=position == len(batches) - 1)
        return sums

    def state(self) -> dict[str, Tensor]:
        """The weights that training changes; a frozen backbone's are none of them."""
        return trainable_state(self.model)

    def load_state(self, tensors: dict[str, Tensor], where: str = "the checkpoint") -> None:
        """Raises `CloudsError` for weights of another model."""
        load_trainable_state(self.model, tensors, where)

    def _pass(self, batch: Batch, totals: tuple[float, float, float], step: Step, *, last: bool) -> Tensor:
        """Add one forward pass's gradients; its share of the batch's losses."""
        accelerator = step.accelerator
        self.model.backbone.seed_items([item_seed(step.seed, "drop path", number) for number in batch.numbers])
        with nullcontext() if last else accelerator.no_sync(step.parallel):
            with accelerator.autocast():
                output = step.parallel(batch.images_BCHW.to(accelerator.device))
            losses = self._mask_losses(output, batch, totals, step)
            # data parallel averages gradients over processes; the loss is a sum over all of them
            accelerator.backward(losses["loss"] * accelerator.num_processes)
        return torch.stack([losses[name].detach() for name in self.losses])


def train_segmenter(
    model: MaskSegmenter,
    draws: Draws | MixedDraws,
    config: TrainingConfig,
    place: TrainingPlace,
    *,
    backbone_lr_multiplier: float,
    validated: Mapping[str, Dataset] | None = None,
    distance: FeatureDistance | None = None,
) -> list[str]:
    """Train a segmenter in place; see `run_training` for what it returns and raises.

    `validated` are the data sets of `config.validation`.
    """
    learner = SegmentationLearner(model, draws, config, distance, backbone_lr_multiplier=backbone_lr_multiplier)
    return run_training(learner, config, place, validation_of(model, draws.ignore, config, place, validated))


def validation_of(
    model: MaskSegmenter,
    ignore: int,
    config: TrainingConfig,
    place: TrainingPlace,
    validated: Mapping[str, Dataset] | None,
) -> SegmentationValidation | None:
    """The validation that the config asks for, on the data sets it names."""
    if config.validation is None:
        return None
    return SegmentationValidation(
        config=config.validation,
        datasets=validated or {},
        model=model,
        ignore=ignore,
        runtime=place.runtime,
        progress=place.progress,
    )


def groups_of(model: MaskSegmenter, config: TrainingConfig, backbone_lr_multiplier: float) -> list[dict[str, Any]]:
    """The model's parameter groups with the learning rates that the config gives its parts."""
    return parameter_groups(
        model,
        lr=config.optimizer.lr,
        weight_decay=config.optimizer.weight_decay,
        backbone_lr_multiplier=backbone_lr_multiplier,
        lr_multipliers=config.lr_multipliers,
        no_decay=config.no_decay,
    )
