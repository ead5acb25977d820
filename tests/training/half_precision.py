"""Started with the folders of a tiny CLIP and of the results: a training in bf16, which a process chooses once."""

import sys
from pathlib import Path

from small_training import draws_of, place_at, small_config, small_segmenter, world

from clouds.engine.runtime import Runtime
from clouds.engine.settings import RuntimeConfig
from clouds.training.segmentation import train_segmenter
from clouds.training.settings import ValidationConfig

if __name__ == "__main__":
    held = {"held": world(2)}
    validation = ValidationConfig(data=("held",), every=10)
    config = small_config(
        steps=30, lr=2e-3, checkpoint_every=100, frozen_steps=5, images_at_once=1, validation=validation
    )
    place = place_at(Path(sys.argv[2]), Runtime(RuntimeConfig(device="cpu", mixed_precision="bf16")))
    model = small_segmenter(Path(sys.argv[1]))
    train_segmenter(model, draws_of(world(2)), config, place, backbone_lr_multiplier=1.0, validated=held)
