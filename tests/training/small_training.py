"""A training that is as small as it can be with the real classes, and data sets with faults."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from clouds.data.labels import LabelMap
from clouds.data.samples import Dataset
from clouds.data.transforms import AugmentConfig
from clouds.data.world_set import WorldConfig, open_world
from clouds.engine.progress import Progress
from clouds.engine.runtime import Runtime
from clouds.errors import InputError
from clouds.models.segmenter import MaskSegmenter, build_segmenter
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, MaskLossConfig, SegmenterConfig
from clouds.training.draws import Draws, Source
from clouds.training.loop import TrainingPlace
from clouds.training.rare_classes import ClassCounter, rare_classes
from clouds.training.settings import OptimizerConfig, RareClassConfig, TrainingConfig

LABELS = LabelMap.of("street11")
CROPPED = AugmentConfig(crop=(32, 64))
HEAD = HeadConfig(
    channels=32, queries=12, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2, decoder_feedforward=32
)


def world(count: int, name: str = "scenes", *, height: int = 32, width: int = 64) -> Dataset:
    return open_world(name, WorldConfig(domain="source", count=count, height=height, width=width), LABELS)


@dataclass(frozen=True)
class Faulty:
    """A data set some of whose items cannot be read, or have no labelled pixel."""

    dataset: Dataset
    unreadable: Collection[int] = ()
    unlabelled: Collection[int] = ()

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def ids(self) -> Sequence[str]:
        return self.dataset.ids

    def image(self, index: int) -> NDArray[np.uint8]:
        if index in self.unreadable:
            raise InputError(f"{self.ids[index]}.png is cut off")
        return self.dataset.image(index)

    def labels(self, index: int) -> NDArray[np.uint8]:
        labels_HW = self.dataset.labels(index)
        return np.full_like(labels_HW, LABELS.ignore) if index in self.unlabelled else labels_HW

    def stamp(self, index: int) -> str:
        return ""

    def identity(self) -> Mapping[str, Any]:
        return {}


def draws_of(*datasets: Dataset, augment: AugmentConfig = CROPPED, seed: int = 5) -> Draws:
    return Draws([Source(dataset, 1.0, augment) for dataset in datasets], seed, LABELS.ignore)


def by_class(dataset: Dataset, folder: Path, runtime: Runtime) -> Draws:
    """Draws by class, counted as a stage counts them: in the training's folder, where it is not there yet."""
    counter = ClassCounter(
        folder=folder / "class_pixels", runtime=runtime, num_classes=LABELS.num_classes, max_failures=0
    )
    rare = RareClassConfig(temperature=0.1, min_pixels=20, min_crop_pixels=10)
    table = rare_classes(counter.count(dataset)[0], rare, "scenes")
    return Draws([Source(dataset, 1.0, CROPPED, rare)], 5, LABELS.ignore, {0: table})


def small_segmenter(clip: Path, *, frozen: bool = False, **values: Any) -> MaskSegmenter:
    backbone = BackboneConfig(weights=str(clip), frozen=frozen, **values)
    return build_segmenter(SegmenterConfig(backbone=backbone, head=HEAD), LABELS.num_classes, seed=3)


def small_config(**changes: Any) -> TrainingConfig:
    """`changes` replace fields; those of the optimizer may be given among them."""
    of_optimizer = {name: changes.pop(name) for name in list(changes) if name in OptimizerConfig.model_fields}
    optimizer = OptimizerConfig(**{"lr": 1e-3, "clip_norm": 1.0, **of_optimizer})
    return TrainingConfig(
        **{"steps": 3, "batch_size": 2, "optimizer": optimizer, "loss": MaskLossConfig(num_points=64), **changes}
    )


def place_at(folder: Path, runtime: Runtime, progress: Progress | None = None, max_failures: int = 5) -> TrainingPlace:
    folder.mkdir(parents=True, exist_ok=True)
    progress = progress or Progress("training", 1, 0, "step", shown=False)
    return TrainingPlace(folder=folder, runtime=runtime, seed=9, progress=progress, max_failures=max_failures)


def weights(model: MaskSegmenter) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def saved(folder: Path, group: str) -> dict[str, Tensor]:
    """A group of tensors of the folder's newest checkpoint."""
    newest = max(folder.glob("checkpoints/step-*"))
    return load_file(newest / f"{group}.safetensors")


def moments(folder: Path) -> Tensor:
    """The optimizer's first moments of all weights, in one vector: the running mean of the gradients.

    Weights themselves compare badly: some have no gradient but rounding, which AdamW turns into whole steps, and a
    gradient of the wrong size it takes for the right one.
    """
    state = saved(folder, "optimizer")
    return torch.cat([state[name].double().flatten() for name in sorted(state) if name.endswith("/exp_avg")])


# attention masks and sampled points are chosen by a threshold, so rounding in a logit moves a gradient by more
ROUNDING = 2e-3


def relative_difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def scores(model: MaskSegmenter) -> Tensor:
    """What the model predicts for two scenes."""
    images_BHWC = np.stack([world(2).image(index) for index in range(2)])
    return model.predict(torch.from_numpy(images_BHWC).permute(0, 3, 1, 2))
