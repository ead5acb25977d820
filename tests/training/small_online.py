"""An online self-training that is as small as it can be with the real classes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from small_training import CROPPED, LABELS, small_config, world

from clouds.data.samples import Dataset
from clouds.data.transforms import AugmentConfig
from clouds.models.refinement_config import RefinementConfig
from clouds.models.sam_config import SamConfig
from clouds.models.segmenter import MaskSegmenter
from clouds.models.weights import HashCache
from clouds.training.draws import Source
from clouds.training.feature_distance import FeatureDistance
from clouds.training.loop import TrainingPlace
from clouds.training.online import Online, train_online
from clouds.training.online_settings import OnlineConfig
from clouds.training.settings import MixConfig
from clouds.training.sharpening import Sharpening
from clouds.training.unlabelled import OnlineDraws

CLEAN = AugmentConfig(crop=(32, 64), jitter=None)
WHOLE = AugmentConfig(scale=(1.0, 1.0), crop=(32, 64), jitter=None)

CLUDA = {
    "threshold": 0.2,
    "weighting": "image",
    "contrast": {"size": (8, 12), "learned": True},
}


def unlabelled(
    dataset: Dataset | None = None,
    augment: AugmentConfig = CROPPED,
    weight: float = 1.0,
    dice: float = 1.0,
    mix: MixConfig | None = None,
) -> Source:
    return Source(dataset or world(4, "photos"), weight, augment, dice=dice, mix=mix)


def labelled(dataset: Dataset | None = None, weight: float = 1.0, augment: AugmentConfig = CROPPED) -> Source:
    return Source(dataset or world(4), weight, augment)


def online_draws(seed: int = 5, augment: AugmentConfig = CROPPED, mix: MixConfig | None = None) -> OnlineDraws:
    return OnlineDraws([labelled()], [unlabelled(augment=augment, mix=mix)], seed, LABELS.ignore)


def sharpening(sam: Path, **values: Any) -> Sharpening:
    rule = RefinementConfig(min_area=0.02, show_component=True, min_agreement=0.0)
    return Sharpening(SamConfig(weights=str(sam), **values), rule, HashCache(sam.parent / "hashes.json"))


def train_small(
    model: MaskSegmenter,
    place: TrainingPlace,
    *,
    online: dict[str, Any] | None = None,
    sources: Sequence[Source] | None = None,
    target: Source | None = None,
    mix: MixConfig | None = None,
    refine: Sharpening | None = None,
    validated: dict[str, Dataset] | None = None,
    distance: FeatureDistance | None = None,
    **changes: Any,
) -> list[str]:
    """`online` are values of its config, `mix` is the target's; `changes` are those of the training's."""
    sources_of_target = [replace(target or unlabelled(), mix=mix)]
    given = Online(config=OnlineConfig(**(online or {})), sources=sources_of_target, sharpening=refine)
    return train_online(
        model,
        [labelled()] if sources is None else sources,
        given,
        small_config(**{"batch_size": 3, **changes}),
        place,
        ignore=LABELS.ignore,
        backbone_lr_multiplier=0.5,
        validated=validated,
        run_folder=place.folder.parent,
        distance=distance,
    )
