"""The teacher of an online self-training: a moving average of the student that labels images. It draws nothing.

It holds a copy of what training changes and nothing else: the weights that are frozen are the student's own tensors.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from clouds.models.segmenter import MaskSegmenter
from clouds.models.segmenter_files import trainable_state
from clouds.ops.ema import ema_update
from clouds.ops.pseudo_labels import pseudo_labels
from clouds.training.online_settings import TeacherConfig


class Teacher:
    """A segmenter that follows another; see `clouds.training.loop.Follower`."""

    def __init__(self, student: MaskSegmenter, config: TeacherConfig) -> None:
        """Begins as the student is now. The student has to be on its device, and its frozen weights stay there."""
        own = trainable_state(student)
        tensors = [*student.named_parameters(), *student.named_buffers()]
        shared: dict[int, Any] = {id(tensor): tensor for name, tensor in tensors if name not in own}
        # the classes' names, and with them a text tower that is never trained
        shared |= {id(one): one for one in (student.naming, student.texts)}
        self.model = deepcopy(student, shared).eval()
        for name, parameter in self.model.named_parameters():
            if name in own:
                parameter.requires_grad_(False)
        state = self.model.state_dict()
        self._state = {name: state[name] for name in own}
        self._student, self._config = student, config

    def state(self) -> dict[str, Tensor]:
        """The weights that differ from the student's, by name; not copies."""
        return self._state

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        for name, tensor in self._state.items():
            tensor.copy_(tensors[name])

    def follow(self, step: int) -> None:
        """Move towards the student after so many steps of it, if an update is due."""
        config = self._config
        if step % config.every == 0:
            decay = min(1 - 1 / (step + 1), config.decay) if config.warm_start else config.decay
            ema_update(self._state, trainable_state(self._student), decay)

    def label(
        self,
        images_BCHW: Tensor,
        features: Sequence[Tensor] | None,
        autocast: AbstractContextManager[None],
        threshold: float,
        ignore: int,
    ) -> tuple[Tensor, Tensor]:
        """Labels uint8 and confidence float32 of images, both (B, H, W) on the CPU; see `pseudo_labels`.

        `features` are those of a frozen backbone, where the student had them computed already.
        """
        with autocast:
            scores_BKHW = self.model.predict(images_BCHW, features)
        labels_BHW, confidence_BHW = pseudo_labels(scores_BKHW, threshold, ignore)
        return labels_BHW.cpu(), confidence_BHW.cpu()
