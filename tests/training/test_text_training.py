"""A training with the text classifier: what its checkpoints hold, and that an interruption changes nothing."""

import pytest
from safetensors.torch import load_file
from small_training import HEAD, LABELS, draws_of, place_at, saved, small_config, world

from clouds.engine.progress import Progress
from clouds.models.segmenter import build_segmenter
from clouds.models.segmenter_config import BackboneConfig, SegmenterConfig
from clouds.models.segmenter_files import save_segmenter
from clouds.training.segmentation import train_segmenter

STEPS = 3


class Crash(Exception):
    """Ends a training where it stands."""


class Crashing(Progress):
    """A progress bar that ends the training after its second step."""

    def __init__(self):
        super().__init__("training", STEPS, 0, "step", shown=False)
        self.done = 0

    def advance(self, count=1, note=""):
        self.done += count
        if self.done == 2:
            raise Crash


@pytest.fixture
def train(clip, runtime):
    def run(folder, progress=None):
        segmenter = SegmenterConfig(backbone=BackboneConfig(weights=str(clip)), head=HEAD, classifier="text")
        model = build_segmenter(segmenter, LABELS, seed=3)
        config = small_config(steps=STEPS, checkpoint_every=1, ema=0.7)
        train_segmenter(
            model, draws_of(world(4)), config, place_at(folder, runtime, progress), backbone_lr_multiplier=1
        )
        save_segmenter(model, folder, LABELS.names)
        return model

    return run


def test_an_interruption_changes_no_byte_and_the_texts_are_no_part_of_a_checkpoint(train, tmp_path):
    train(tmp_path / "whole")
    with pytest.raises(Crash):
        train(tmp_path / "parts", Crashing())
    train(tmp_path / "parts")
    files = [file.relative_to(tmp_path / "whole") for file in (tmp_path / "whole").rglob("*") if file.is_file()]
    assert {"config.json", "model.safetensors", "text"} <= {file.parts[0] for file in files}
    for file in files:
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    for group in ("model", "average"):
        names = saved(tmp_path / "whole", group)
        assert "head.class_predictor.log_scale" in names and not any(name.startswith("texts.") for name in names)
    assert "texts.texts_SE" in load_file(tmp_path / "whole" / "model.safetensors")
