"""Learns which places of a picture lie on one object: the image encoder of a `Sam`, before it is asked for masks.

A published SAM's encoder has learned to see from millions of pictures (He et al. 2022, "Masked Autoencoders Are
Scalable Vision Learners") before it meets a prompt. This one learns from the same object masks that will be asked for,
all pairs of places of a picture at once, where a dialogue about masks would show it a handful.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

from clouds.engine.seeding import item_seed
from clouds.models.miniature import SAM
from clouds.models.sam_checkpoint import save_sam
from clouds.ops.affinity import affinity_loss
from clouds.pretraining.affinity_config import AffinityConfig
from clouds.pretraining.corpus import Corpus, Rounds
from clouds.pretraining.groups import parameter_groups
from clouds.pretraining.promptable_config import FrameConfig
from clouds.pretraining.promptable_draws import Frame, framed
from clouds.pretraining.state import load_weights
from clouds.training.loop import Step

_FIRST_OFFSET = 2.0


@dataclass(frozen=True, eq=False)
class DrawnFrame:
    """One frame before padding, uint8 (h, w, 3), and the number of the object at each pixel; the number of its draw."""

    number: int
    image_HWC: NDArray[np.uint8]
    objects_HW: NDArray[np.int32]


class FrameDraws(TorchDataset[DrawnFrame]):
    """Frames by draw number, each picture of the corpus once per round."""

    def __init__(self, corpus: Corpus, image_size: int, config: FrameConfig, seed: int) -> None:
        self._corpus, self._image_size, self._config, self._seed = corpus, image_size, config, seed
        self._rounds = Rounds(len(corpus.ids), seed)

    def __getitem__(self, number: int) -> DrawnFrame:
        rng = np.random.default_rng(item_seed(self._seed, "frame", number))
        index = self._rounds(number)
        whole = Frame(self._corpus.image(index), self._corpus.instances(index).astype(np.int32))
        frame = framed(whole, self._image_size, self._config, rng)
        return DrawnFrame(number, frame.image_HWC, frame.objects_HW)


class _Affinity(nn.Module):
    """The encoder, with the scale on which distances of its features are read."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.full((), _FIRST_OFFSET))

    def forward(self, frames_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One feature per place, float32 (B, T, C), row by row; the scale's logarithm and the offset.

        These two pass through here for data parallelism, which gathers the gradients of what a forward pass gives.
        """
        features_BTC: Tensor = self.encoder(frames_BCHW).float().flatten(2).transpose(1, 2)
        return features_BTC, self.log_scale * 1.0, self.offset * 1.0


class AffinityLearner:
    """A `Learner` of the image encoder of a `Sam` on a corpus's pictures and the masks of their objects."""

    losses: Sequence[str] = ("loss",)

    def __init__(self, model: Any, corpus: Corpus, config: AffinityConfig, *, seed: int) -> None:
        self.sam = model
        self.model: nn.Module = _Affinity(model.image_encoder.requires_grad_(True))
        self.draws = FrameDraws(corpus, model.image_encoder.img_size, config.frame, seed)
        self._config = config
        self._cells = model.prompt_encoder.image_embedding_size[0]

    def parameter_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(self.model, self._config.optimizer)

    def backward(self, drawn: Sequence[DrawnFrame], step: Step) -> Tensor:
        device = step.accelerator.device
        # on the CPU, where those parts of the model stay that do not learn
        frames = [self.sam.preprocess(torch.from_numpy(one.image_HWC).permute(2, 0, 1)) for one in drawn]
        with step.accelerator.autocast():
            features_BTC, log_scale, offset = step.parallel(torch.stack(frames).to(device))
        losses = [
            affinity_loss(features_TC, self._shares(one).to(device), log_scale, offset)
            for one, features_TC in zip(drawn, features_BTC, strict=True)
        ]
        loss = torch.stack(losses).sum() / step.batch_size
        # data parallel averages gradients over processes; the loss is a sum over all of them
        step.accelerator.backward(loss * step.accelerator.num_processes)
        return loss.detach()[None]

    def state(self) -> dict[str, Tensor]:
        return dict(self.model.state_dict())

    def load_state(self, tensors: Mapping[str, Tensor], where: str = "the checkpoint") -> None:
        load_weights(self.model, tensors, where)

    def save(self, folder: Path) -> None:
        """Write the whole `Sam`, of which only the image encoder has learned, as `load_sam` reads it."""
        save_sam(self.sam, folder / SAM)

    def _shares(self, one: DrawnFrame) -> Tensor:
        return torch.from_numpy(object_shares(one.objects_HW, self.sam.image_encoder.img_size, self._cells))


def object_shares(objects_HW: NDArray[np.integer], side: int, cells: int) -> NDArray[np.float32]:
    """The share of each cell that each object covers, (cells * cells, objects) float32, cells row by row.

    The picture lies in the upper left of a square of `side` pixels, which `cells` divides. Number 0 is no object.
    """
    height, width = objects_HW.shape
    numbers, places = np.unique(objects_HW, return_inverse=True)
    padded_HW = np.full((side, side), len(numbers), np.int64)
    padded_HW[:height, :width] = places.reshape(height, width)
    pixels = side // cells
    places_TP = padded_HW.reshape(cells, pixels, cells, pixels).transpose(0, 2, 1, 3).reshape(cells * cells, -1)
    counts_TK = np.zeros((cells * cells, len(numbers) + 1), np.float32)
    np.add.at(counts_TK, (np.arange(cells * cells)[:, None], places_TP), 1.0)
    return counts_TK[:, :-1][:, numbers > 0] / np.float32(pixels * pixels)
