"""A CLIP small enough to train in a test, its pictures, and one of two processes that train it.

Here and not beside the tests: a spawned process imports what it runs by its module's name.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from clouds.models.clip_builder import build_clip
from clouds.models.clip_sizes import ClipSizes, ClipTextSizes
from clouds.pretraining.contrast import ContrastLearner, DrawnPair
from clouds.pretraining.contrast_config import ContrastConfig
from clouds.training.loop import Step
from clouds.training.settings import OptimizerConfig

SIZES = ClipSizes(
    trunk="test_convnext3",
    height=32,
    width=64,
    embed_dim=16,
    text=ClipTextSizes(width=16, layers=1, heads=2, context=8),
)
OPTIMIZER = OptimizerConfig(lr=1e-3, weight_decay=0.0)
CONFIG = ContrastConfig(steps=20, batch_size=8, optimizer=OPTIMIZER)
COLORS = {"red": (200, 30, 30), "green": (30, 190, 40), "blue": (30, 40, 220), "white": (230, 230, 230)}
CAPTIONS = tuple(f"{upper} above {lower}" for upper in COLORS for lower in COLORS)
WORDS = (*COLORS, "above")


class Flags:
    """Pictures of two stripes, named by their captions."""

    ids = CAPTIONS

    def image(self, index: int) -> NDArray[np.uint8]:
        upper, _, lower = CAPTIONS[index].split()
        noise = np.random.default_rng(index).integers(0, 25, (32, 64, 3))
        image_HWC = np.empty((32, 64, 3), np.uint8)
        image_HWC[:16], image_HWC[16:] = COLORS[upper], COLORS[lower]
        return (image_HWC + noise).astype(np.uint8)

    def caption(self, index: int) -> str:
        return CAPTIONS[index]

    def instances(self, index: int) -> NDArray[np.uint16]:
        raise AssertionError("nobody needs the masks")


def learner(**changes: Any) -> ContrastLearner:
    return ContrastLearner(build_clip(SIZES, WORDS, seed=1), Flags(), CONFIG.model_copy(update=changes), seed=7)


def gradients(accelerator: Accelerator) -> tuple[Tensor, dict[str, Tensor]]:
    """The losses and the gradients of a step on eight pairs, of which this process has its share."""
    model = learner()
    drawn: list[DrawnPair] = [
        model.draws[number] for number in range(accelerator.process_index, 8, accelerator.num_processes)
    ]
    parallel = accelerator.prepare_model(model.model)
    losses = model.backward(drawn, Step(number=0, seed=7, batch_size=8, parallel=parallel, accelerator=accelerator))
    named = model.model.named_parameters()
    return accelerator.reduce(losses, "sum"), {name: one.grad for name, one in named if one.grad is not None}


def one_of_two(rank: int, port: int, folder: str) -> None:
    """A process that writes its gradients to a file."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {**address, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.save(gradients(Accelerator(cpu=True)), Path(folder, str(rank)))
    torch.distributed.destroy_process_group()
