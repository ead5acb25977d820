"""Started by `torchrun` with the folders of a tiny CLIP and of the results: what the processes train together.

The cases together hold what can go wrong between processes: shares of unequal size, several forward passes before the
gradients meet, noise in the layers, a parameter that no loss reaches, an image without labels and one that only one
process meets unread; a backbone that no loss reaches for some steps, classes that each counts some of, images that each
is validated on; and, online, features that are compared across processes, in shares of unequal size, and with those
that there were at the beginning.
"""

import sys
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file
from small_online import CLUDA, labelled, train_small, unlabelled
from small_training import Faulty, by_class, draws_of, place_at, scores, small_config, small_segmenter, world
from torch import nn

from clouds.engine.atomic import write_json
from clouds.engine.runtime import Runtime
from clouds.engine.settings import RuntimeConfig
from clouds.models.segmenter import MaskSegmenter
from clouds.training.feature_distance import FeatureDistance
from clouds.training.segmentation import train_segmenter
from clouds.training.settings import DistanceConfig, MixConfig, ValidationConfig

CASES = {
    "unfrozen": {"frozen": False, "drop_path": 0.5, "images_at_once": 1},
    "adapted": {"frozen": True, "lora": {"rank": 2}, "images_at_once": None},
    "featured": {"frozen": False, "images_at_once": None},
    "online": {"frozen": False, "images_at_once": None},
}
ONLINE = {**CLUDA, "threshold": 0.168, "teacher": {"decay": 0.9}}
HELD = {"held": world(3, "held", height=24, width=40)}
FEATURES = {
    "frozen_steps": 2,
    "lr_multipliers": {"head": 10.0},
    "validation": ValidationConfig(data=("held",), every=1),
}


def train_case(name: str, clip: Path, folder: Path, runtime: Runtime) -> None:
    """Three steps; the weights and what was passed over, as each process sees it."""
    case = dict(CASES[name])
    images_at_once = case.pop("images_at_once")
    model = small_segmenter(clip, **case)
    model.head.add_module("spare", nn.Linear(2, 2).requires_grad_(True))
    nn.init.ones_(model.head.spare.weight)
    nn.init.ones_(model.head.spare.bias)
    dataset = Faulty(world(6), unreadable=[1], unlabelled=[4])
    if name == "online":
        distance = FeatureDistance(model, DistanceConfig(classes=("road",), min_share=0.1, weight=0.1), [0])
        # away from the start, where its direction is rounding
        for _, parameter in model.backbone.named_parameters():
            parameter.data *= 1.05
        skipped = train_small(
            model,
            place_at(folder / name, runtime),
            online=ONLINE,
            sources=[labelled(dataset)],
            target=replace(unlabelled(), guessed=True),
            mix=MixConfig(),
            distance=distance,
            lr=1e-4,
            clip_norm=None,
        )
        _leave(model, folder / name, runtime, skipped)
        return
    features = FEATURES if name == "featured" else {}
    draws = by_class(dataset, folder / name, runtime) if features else draws_of(dataset)
    config = small_config(
        batch_size=3, steps=3, lr=1e-4, clip_norm=None, ema=0.5, images_at_once=images_at_once, **features
    )
    skipped = train_segmenter(
        model, draws, config, place_at(folder / name, runtime), backbone_lr_multiplier=0.5, validated=HELD
    )
    _leave(model, folder / name, runtime, skipped)


def _leave(model: MaskSegmenter, folder: Path, runtime: Runtime, skipped: list[str]) -> None:
    save_file({"scores": scores(model), **model.state_dict()}, folder / f"rank-{runtime.rank}.safetensors")
    write_json(folder / f"rank-{runtime.rank}.json", {"skipped": skipped})


if __name__ == "__main__":
    runtime = Runtime(RuntimeConfig(device="cpu"))
    for name in CASES:
        train_case(name, Path(sys.argv[1]), Path(sys.argv[2]), runtime)
    runtime.close()
