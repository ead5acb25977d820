"""Self-training within a training: what the teacher is, what it sees, what its labels count, and what is computed."""

import json

import pytest
import torch
from safetensors.torch import load_file
from small_online import CLEAN, CLUDA, WHOLE, labelled, sharpening, train_small, unlabelled
from small_training import ROUNDING, moments, place_at, relative_difference, small_segmenter, weights, world

from clouds.errors import CloudsError
from clouds.models.segmenter import parameter_groups
from clouds.models.segmenter_config import MaskLossConfig
from clouds.models.tiny_sam import build_tiny_sam
from clouds.training import distrust
from clouds.training.online_settings import OnlineConfig, TeacherConfig
from clouds.training.settings import MixConfig
from clouds.training.teacher import Teacher


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "sam.safetensors"
    build_tiny_sam(path, seed=0)
    return path


@pytest.fixture
def train(clip, runtime, tmp_path):
    """Trains a small segmenter online: (weights before, weights after, folder)."""

    def run(name="run", *, frozen=False, model=None, **changes):
        model = model or small_segmenter(clip, frozen=frozen)
        before = weights(model)
        place = place_at(tmp_path / name, runtime)
        train_small(model, place, **changes)
        return before, weights(model), place.folder

    return run


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("threshold", "said"), [(1.0, 1), (0.0, 0)])
def test_a_teacher_that_is_sure_of_nothing_for_long_is_told_of_once(train, caplog, monkeypatch, threshold, said):
    monkeypatch.setattr(distrust, "PATIENCE", 3)
    with caplog.at_level("WARNING"):
        *_, folder = train(online={"threshold": threshold}, steps=9, sources=[labelled(weight=1e-9)])
    assert all((line["trusted"] == 0) == (threshold == 1) for line in log(folder))
    told = [record.getMessage() for record in caplog.records if "the teacher" in record.getMessage()]
    assert len(told) == said
    if said:
        assert "up to step 3 " in told[0] and "`selftrain.online.threshold` = 1 (`weighting: ignore`)" in told[0]


def test_only_steps_in_a_row_count_and_those_without_a_question_do_not(caplog):
    noticed = distrust.Distrust(OnlineConfig(threshold=0.9))
    with caplog.at_level("WARNING"):
        for step in range(distrust.PATIENCE - 1):
            noticed.note(10, 0, step, speaks=True)
            noticed.note(0, 0, step, speaks=True)
        noticed.note(10, 1, 100, speaks=True)
        for step in range(distrust.PATIENCE - 1):
            noticed.note(10, 0, step, speaks=True)
        assert not caplog.records
        for step in (7, 8):
            noticed.note(10, 0, step, speaks=True)
    assert [("up to step 7" in record.getMessage()) for record in caplog.records] == [True]


@pytest.mark.parametrize(("every", "warm_start"), [(1, True), (2, False)])
def test_the_teacher_is_the_average_computed_by_hand(train, every, warm_start):
    teacher = {"decay": 0.7, "every": every, "warm_start": warm_start}
    before, _, folder = train(online={"teacher": teacher}, steps=4, checkpoint_every=1, keep_checkpoints=9)
    expected = dict(before)
    for step, checkpoint in enumerate(sorted(folder.glob("checkpoints/step-*")), 1):
        student = load_file(checkpoint / "model.safetensors")
        if step % every == 0:
            decay = min(1 - 1 / (step + 1), 0.7) if warm_start else 0.7
            expected = {name: decay * expected[name] + (1 - decay) * student[name] for name in student}
        found = load_file(checkpoint / "follower.safetensors")
        assert found.keys() == student.keys()
        torch.testing.assert_close(found, {name: expected[name] for name in student}, atol=1e-6, rtol=0)
    assert not torch.equal(found["head.class_predictor.bias"], student["head.class_predictor.bias"])


@pytest.mark.parametrize(
    ("frozen", "lora", "own"),
    [(False, None, {"backbone", "head"}), (True, None, {"head"}), (True, {"rank": 2}, {"backbone", "head"})],
)
def test_the_teacher_holds_what_is_trained_and_shares_the_rest(clip, frozen, lora, own):
    student = small_segmenter(clip, frozen=frozen, lora=lora)
    teacher = Teacher(student, TeacherConfig())
    assert {name.split(".")[0] for name in teacher.state()} == own
    theirs = dict(teacher.model.named_parameters())
    for name, parameter in student.named_parameters():
        shared = theirs[name].data_ptr() == parameter.data_ptr()
        assert shared == (not parameter.requires_grad), name
    assert any("lora" in name for name in teacher.state()) == (lora is not None)
    assert not any(parameter.requires_grad for parameter in theirs.values())
    assert not teacher.model.training
    images_BCHW = torch.randint(0, 256, (1, 3, 32, 64), dtype=torch.uint8)
    torch.testing.assert_close(teacher.model.predict(images_BCHW), student.eval().predict(images_BCHW))


def images_through_the_backbone(model):
    """Counts, step by step, the images of each pass."""
    passes = []
    model.backbone.register_forward_hook(lambda module, images, maps: passes.append(len(images[0])))
    return passes


@pytest.mark.parametrize(
    ("frozen", "augment", "mix", "expected"),
    [
        # one view: the teacher takes the frozen features of the student's batch
        (True, CLEAN, None, 4),
        # a backbone that learns is another one in the teacher
        (False, CLEAN, None, 8),
        # other colours, or classes pasted on, are another view
        (True, None, None, 8),
        (True, CLEAN, MixConfig(), 8),
    ],
)
def test_a_frozen_backbone_sees_a_view_once(train, clip, frozen, augment, mix, expected):
    model = small_segmenter(clip, frozen=frozen)
    passes = images_through_the_backbone(model)
    target = unlabelled(augment=augment) if augment else unlabelled()
    train(model=model, sources=[labelled(weight=0.0 if mix is None else 1e-9)], target=target,
          mix=mix, steps=1, batch_size=4)  # fmt: skip
    assert sum(passes) == expected


def test_shared_features_change_rounding_only(train, monkeypatch):
    changes = {"frozen": True, "target": unlabelled(augment=CLEAN), "steps": 2, "lr": 1e-4, "clip_norm": None}
    _, _, shared = train("shared", **changes)
    monkeypatch.setattr("clouds.training.unlabelled.OnlineDraws._one_view", lambda *_: False)
    _, _, twice = train("twice", **changes)
    assert relative_difference(moments(shared), moments(twice)) < ROUNDING


def test_images_at_once_change_rounding_only(train):
    changes = {
        "frozen": True,
        "target": unlabelled(augment=CLEAN),
        "online": {"threshold": 0.168, "weighting": "pixel"},
        "batch_size": 4,
        "steps": 2,
        "lr": 1e-4,
        "clip_norm": None,
    }
    _, _, whole = train("whole", **changes)
    _, _, parts = train("parts", images_at_once=1, **changes)
    assert relative_difference(moments(parts), moments(whole)) < ROUNDING
    for one, other in zip(log(parts), log(whole), strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_where_the_teacher_is_sure_of_nothing_nothing_is_learned(train, clip):
    before, after, folder = train(
        sources=[labelled(weight=0.0)], online={"threshold": 1.0}, steps=1, lr=1e-2, weight_decay=0.5
    )
    groups = parameter_groups(small_segmenter(clip), lr=1e-2, weight_decay=0.5)
    decayed = {name for group in groups if group["weight_decay"] for name in group["parameter_names"]}
    rates = {name: group["lr"] for group in parameter_groups(small_segmenter(clip), lr=1e-2, weight_decay=0.5,
             backbone_lr_multiplier=0.5) for name in group["parameter_names"]}  # fmt: skip
    expected = {
        name: tensor * (1 - rates[name] * 0.5) if name in decayed else tensor for name, tensor in before.items()
    }
    torch.testing.assert_close(after, expected, atol=1e-7, rtol=1e-6)
    assert log(folder)[0]["loss"] == 0 and log(folder)[0]["trusted"] == 0


def test_an_image_without_a_sure_pixel_weighs_nothing(train):
    """As in the first steps of CLUDA: the labels are there, and carry no gradient, so that AdamW has no moments."""
    online = {"threshold": 1.0, "weighting": "image"}
    _, _, folder = train(sources=[labelled(weight=0.0)], online=online, steps=2)
    assert not moments(folder).any()


@pytest.mark.parametrize("weighting", ["ignore", "pixel", "image"])
def test_the_log_tells_how_far_the_teacher_is_trusted(train, weighting):
    _, _, folder = train(online={"threshold": 0.168, "weighting": weighting}, steps=1, batch_size=4)
    assert all(0 < line["trusted"] < 1 for line in log(folder))


def test_dice_can_be_turned_off_where_labels_are_guessed(train):
    alone = {"sources": [labelled(weight=0.0)], "steps": 1}
    lines = {dice: log(train(f"dice-{dice}", target=unlabelled(dice=dice), **alone)[2])[0] for dice in (1.0, 0.5, 0.0)}
    assert lines[0.0]["dice"] == 0 and lines[0.0]["mask"] == lines[1.0]["mask"] > 0
    assert lines[0.5]["dice"] == pytest.approx(lines[1.0]["dice"] / 2)


def test_everything_of_cluda_at_once(train, sam):
    """The losses add up, the contrast's weigher moves, and the segmenter's own weights alone are what is given."""
    before, after, folder = train(
        online={**CLUDA, "refine_every": 2},
        mix=MixConfig(),
        refine=sharpening(sam),
        steps=3,
        lr=1e-3,
        checkpoint_every=1000,
    )
    for line in log(folder):
        parts = sum(line[name] for name in ("class", "mask", "dice", "contrast"))
        assert line["loss"] == pytest.approx(parts, rel=1e-5) and line["contrast"] > 0
    state = load_file(max(folder.glob("checkpoints/step-*")) / "model.safetensors")
    assert state["weigher.weight"].abs().max() > 0
    assert before.keys() == after.keys()


def test_the_contrast_alone_draws_features_together(train):
    nothing_else = MaskLossConfig(num_points=64, class_weight=0, mask_weight=0, dice_weight=0)
    contrast = {"size": (16, 32), "temperature": 0.3, "target_weight": 0}
    _, _, folder = train(
        sources=[labelled(world(1), augment=WHOLE.model_copy(update={"flip": 0.0}))],
        target=unlabelled(weight=1e-9),
        online={"contrast": contrast},
        loss=nothing_else,
        steps=10,
        batch_size=1,
        lr=2e-3,
        checkpoint_every=1000,
    )
    losses = [line["loss"] for line in log(folder)]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_the_labels_are_refined_in_every_so_many_th_step(train, sam, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "clouds.training.sharpening.LabelRefiner.__call__",
        lambda self, taught, ignore: asked.append(len(taught)) or [one.labels_HW for one in taught],
    )
    train(sources=[labelled(weight=0.0)], online={"refine_every": 3}, refine=sharpening(sam), steps=7, batch_size=2)
    assert asked == [2, 2, 2]


def test_whole_images_are_encoded_once_and_parts_each_time(train, sam, monkeypatch, tmp_path):
    from clouds.models.sam import SamRefiner

    seen = []
    encode = SamRefiner.encode
    monkeypatch.setattr(SamRefiner, "encode", lambda self, images: seen.append(len(images)) or encode(self, images))
    alone = {"sources": [labelled(weight=0.0)], "online": {"refine_every": 1}, "refine": sharpening(sam)}
    train("whole", target=unlabelled(augment=WHOLE), steps=6, batch_size=2, **alone)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != "origin.json"]
    # mirrored or not
    assert len(seen) == len(kept) == 4
    seen.clear()
    train("part", target=unlabelled(), steps=2, batch_size=2, **alone)
    assert len(seen) == 4
    assert len(list((tmp_path / "cache").rglob("*"))) == len(kept) + 1 + len({path.parent for path in kept}) + 2


def test_what_cannot_be_learned_from_is_said(train):
    with pytest.raises(CloudsError, match="nothing unlabelled"):
        train(target=unlabelled(weight=0.0))
    with pytest.raises(CloudsError, match=r"32x24 \('photos'\) and 64x32 \('scenes'\)"):
        train(target=unlabelled(augment=CLEAN.model_copy(update={"crop": (24, 32)})), mix=MixConfig())


def test_it_is_validated_and_held_as_any_training(train):
    held = {"held": world(2, "held", height=24, width=40)}
    _, _, folder = train(
        validated=held, validation={"data": ("held",), "every": 2, "keep_best": True}, steps=2, ema=0.5, frozen_steps=1
    )
    assert log(folder)[1]["miou/held"] >= 0
