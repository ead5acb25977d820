"""A training with the text classifier: what its checkpoints hold, and that an interruption changes nothing."""

import pytest
import torch
from safetensors.torch import load_file
from small_training import HEAD, LABELS, draws_of, place_at, saved, small_config, world

from clouds.engine.progress import Progress
from clouds.models.segmenter import build_segmenter
from clouds.models.segmenter_config import BackboneConfig, SegmenterConfig
from clouds.models.segmenter_files import save_segmenter
from clouds.training.online_settings import TeacherConfig
from clouds.training.segmentation import train_segmenter
from clouds.training.teacher import Teacher

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


def test_a_teacher_shares_the_texts_and_reads_them_with_weights_of_its_own(clip):
    segmenter = SegmenterConfig(backbone=BackboneConfig(weights=str(clip)), head=HEAD, classifier="text")
    student = build_segmenter(segmenter, LABELS, seed=3)
    teacher = Teacher(student, TeacherConfig())
    assert teacher.model.naming is student.naming and teacher.model.texts is student.texts
    own = teacher.model.head.class_predictor.log_scale
    assert own.data_ptr() != student.head.class_predictor.log_scale.data_ptr()
    images_BCHW = torch.randint(0, 256, (1, 3, 32, 64), dtype=torch.uint8)
    torch.testing.assert_close(teacher.model.predict(images_BCHW), student.eval().predict(images_BCHW))
