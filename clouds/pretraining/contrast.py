"""Learns which caption belongs to which picture. It knows no object mask and no class.

Source: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", section 2.3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

from clouds.data.transforms import AugmentConfig, augment
from clouds.engine.seeding import item_seed
from clouds.errors import CloudsError
from clouds.models.clip_builder import Clip
from clouds.pretraining.contrast_config import ContrastConfig
from clouds.pretraining.corpus import Corpus, Rounds
from clouds.pretraining.groups import parameter_groups
from clouds.pretraining.state import load_weights
from clouds.training.loop import Step


@dataclass(frozen=True)
class DrawnPair:
    """One augmented picture, uint8 (H, W, 3), with its caption."""

    image_HWC: NDArray[np.uint8]
    caption: str


class PairDraws(TorchDataset[DrawnPair]):
    """The corpus's pictures and captions by draw number, each once per round, augmented by the draw."""

    def __init__(self, corpus: Corpus, config: AugmentConfig, seed: int) -> None:
        self._corpus, self._config, self._seed = corpus, config, seed
        self._rounds = Rounds(len(corpus.ids), seed)

    def __getitem__(self, number: int) -> DrawnPair:
        index = self._rounds(number)
        image_HWC = self._corpus.image(index)
        rng = np.random.default_rng(item_seed(self._seed, "augment", number))
        config = self._config
        if config.crop is None:
            config = config.model_copy(update={"crop": image_HWC.shape[:2]})
        unlabelled_HW = np.zeros(image_HWC.shape[:2], np.uint8)
        image_HWC, _ = augment(image_HWC, unlabelled_HW, config, rng, ignore=0)
        return DrawnPair(image_HWC, self._corpus.caption(index))


class ContrastLearner:
    """A `Learner` of a CLIP on a corpus's pictures and captions."""

    losses: Sequence[str] = ("loss", "scale")

    def __init__(self, clip: Clip, corpus: Corpus, config: ContrastConfig, *, seed: int) -> None:
        self.clip = clip
        self.model: nn.Module = clip.model
        self.draws = PairDraws(corpus, config.augment, seed)
        self._config = config

    def parameter_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(self.model, self._config.optimizer)

    def backward(self, drawn: Sequence[DrawnPair], step: Step) -> Tensor:
        accelerator = step.accelerator
        processes = accelerator.num_processes
        if step.batch_size % processes:
            raise CloudsError(
                f"a batch of {step.batch_size} pairs cannot be shared out evenly between {processes} processes",
                "set batch_size to a multiple of the number of processes",
            )
        self._bound_scale()
        images_BHWC = torch.from_numpy(np.stack([one.image_HWC for one in drawn])).to(accelerator.device)
        tokens_BL = self.clip.tokens([one.caption for one in drawn]).to(accelerator.device)
        with accelerator.autocast():
            images_BD, texts_BD, scale = step.parallel(self.clip.normalise(images_BHWC.permute(0, 3, 1, 2)), tokens_BL)
        loss = self.clip.loss(accelerator.process_index, processes)(images_BD.float(), texts_BD.float(), scale.float())
        # each process has the loss of the whole batch; gathering sums what all of them send back to a feature, and data
        # parallel averages over processes: the gradient is that of the loss, without a factor
        accelerator.backward(loss)
        return torch.stack([loss, scale.float()]).detach() / processes

    def state(self) -> dict[str, Tensor]:
        return dict(self.model.state_dict())

    def load_state(self, tensors: dict[str, Tensor], where: str = "the checkpoint") -> None:
        load_weights(self.model, tensors, where)

    def save(self, folder: Path) -> None:
        """Write the CLIP, float16, as open_clip reads it."""
        self._bound_scale()
        self.clip.save(folder, torch.float16)

    @torch.no_grad()
    def _bound_scale(self) -> None:
        self.clip.model.logit_scale.clamp_(0, math.log(self._config.largest_scale))
