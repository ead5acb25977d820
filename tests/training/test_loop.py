"""What a training does to the weights, and what it refuses."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from small_training import (
    CROPPED,
    LABELS,
    ROUNDING,
    Faulty,
    draws_of,
    moments,
    place_at,
    relative_difference,
    saved,
    scores,
    small_config,
    small_segmenter,
    weights,
    world,
)

from clouds.errors import CloudsError
from clouds.models.segmenter import loss_settings, parameter_groups
from clouds.ops.mask_loss import count_labelled, count_masks, mask_loss
from clouds.training.draws import Draws, Source
from clouds.training.loop import Step, check_batch
from clouds.training.segmentation import SegmentationLearner, train_segmenter


@pytest.fixture
def train(clip, runtime, tmp_path):
    """Trains a small segmenter: (weights before, weights after, folder, items passed over)."""

    def run(name="run", *, frozen=False, draws=None, multiplier=1.0, model=None, max_failures=5, **changes):
        model = model or small_segmenter(clip, frozen=frozen)
        before = weights(model)
        place = place_at(tmp_path / name, runtime, max_failures=max_failures)
        config = small_config(**changes)
        skipped = train_segmenter(model, draws or draws_of(world(4)), config, place, backbone_lr_multiplier=multiplier)
        return before, weights(model), place.folder, skipped

    return run


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls(train):
    _, _, folder, _ = train(draws=draws_of(world(2)), steps=40, lr=2e-3, checkpoint_every=1000)
    losses = [line["loss"] for line in log(folder)]
    assert len(losses) == 40
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])


def test_the_log_names_each_loss_and_the_learning_rate(train):
    _, _, folder, _ = train(steps=4, schedule="poly", power=1.0, warmup_steps=2, lr=1e-3)
    lines = log(folder)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["lr"] for line in lines] == pytest.approx([0.5e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    for line in lines:
        assert line["loss"] == pytest.approx(line["class"] + line["mask"] + line["dice"], rel=1e-5)


def test_the_average_is_the_one_computed_by_hand(train):
    changes = {"steps": 4, "checkpoint_every": 1, "keep_checkpoints": 9}
    _, _, plain, _ = train("plain", **changes)
    before, after, averaged, _ = train("averaged", ema=0.6, **changes)
    expected = dict(before)
    for checkpoint in sorted(plain.glob("checkpoints/step-*")):
        stepped = load_file(checkpoint / "model.safetensors")
        expected = {name: 0.6 * mean + 0.4 * stepped[name] for name, mean in expected.items()}
    torch.testing.assert_close(after, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(saved(averaged, "average"), expected, atol=1e-6, rtol=0)
    # the average is what training gives, not what it trains
    torch.testing.assert_close(saved(averaged, "model"), saved(plain, "model"), atol=0, rtol=0)
    assert not torch.equal(after["head.class_predictor.bias"], saved(plain, "model")["head.class_predictor.bias"])


def test_images_at_once_change_rounding_only(train, clip):
    models = {images_at_once: small_segmenter(clip) for images_at_once in (None, 1, 3)}
    folders = {
        images_at_once: train(
            f"at-once-{images_at_once}",
            model=model,
            images_at_once=images_at_once,
            batch_size=4,
            lr=1e-4,
            clip_norm=None,
        )[2]
        for images_at_once, model in models.items()
    }
    for images_at_once in (1, 3):
        assert relative_difference(moments(folders[images_at_once]), moments(folders[None])) < ROUNDING
        torch.testing.assert_close(scores(models[images_at_once]), scores(models[None]), atol=1e-3, rtol=0)
        for one, other in zip(log(folders[images_at_once]), log(folders[None]), strict=True):
            assert one == pytest.approx(other, rel=1e-3)


def test_a_batch_without_labels_only_decays_the_weights(train, clip):
    draws = draws_of(Faulty(world(2), unlabelled=range(2)))
    before, after, folder, _ = train(draws=draws, steps=1, lr=1e-2, weight_decay=0.5, clip_norm=0.01)
    groups = parameter_groups(small_segmenter(clip), lr=1e-2, weight_decay=0.5)
    decayed = {name for group in groups if group["weight_decay"] for name in group["parameter_names"]}
    factor = 1 - 1e-2 * 0.5
    expected = {name: tensor * factor if name in decayed else tensor for name, tensor in before.items()}
    torch.testing.assert_close(after, expected, atol=1e-7, rtol=1e-6)
    assert log(folder)[0]["loss"] == 0


def test_the_dice_factor_is_the_sources_own(train):
    """Two of every three images have half of their dice loss, or none, and all of the others."""
    lines = {}
    for dice in (1.0, 0.5, 0.0):
        draws = Draws([Source(world(4), 1.0, CROPPED), Source(world(4, "guessed"), 2.0, CROPPED, dice=dice)], 5, 255)
        [lines[dice]] = log(train(f"dice-{dice}", draws=draws, steps=1, batch_size=6)[2])
    assert 0 < lines[0.0]["dice"] < lines[1.0]["dice"]
    assert lines[0.5]["dice"] == pytest.approx((lines[0.0]["dice"] + lines[1.0]["dice"]) / 2)
    assert lines[0.0]["mask"] == lines[1.0]["mask"] and lines[0.0]["class"] == lines[1.0]["class"]


def test_an_image_without_labels_counts_for_nothing(train):
    draws = next(
        draws
        for draws in (draws_of(Faulty(world(2), unlabelled=[index])) for index in range(2))
        if (draws.draw(0).labels_HW != 255).any()
    )
    assert (draws.draw(1).labels_HW == 255).all()
    _, _, both, _ = train("both", draws=draws, steps=1, batch_size=2)
    _, _, alone, _ = train("alone", draws=draws, steps=1, batch_size=1)
    assert log(both)[0] == pytest.approx(log(alone)[0], rel=1e-4)
    assert relative_difference(moments(both), moments(alone)) < ROUNDING


def test_an_image_without_labels_has_a_gradient_of_exactly_zero(clip, runtime, tmp_path):
    model = small_segmenter(clip).train()
    images_BCHW = (255 * torch.rand(3, 3, 32, 64, generator=torch.manual_seed(0))).requires_grad_(True)
    labels_BHW = torch.randint(0, 11, (3, 32, 64), dtype=torch.uint8, generator=torch.manual_seed(1))
    labels_BHW[1] = LABELS.ignore
    output = model(images_BCHW)
    generators = [torch.Generator().manual_seed(index) for index in range(3)]
    settings = loss_settings(small_config().loss, ignore=LABELS.ignore, stride=model.mask_stride)
    losses = mask_loss(
        output.class_logits,
        output.mask_logits,
        labels_BHW,
        num_masks=count_masks(labels_BHW),
        num_images=count_labelled(labels_BHW),
        generators=generators,
        settings=settings,
    )
    losses["loss"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert not images_BCHW.grad[1].any()
    assert images_BCHW.grad[0].any() and images_BCHW.grad[2].any()


def test_a_batch_without_labels_has_a_gradient_of_exactly_zero(clip, runtime):
    learner = SegmentationLearner(
        small_segmenter(clip), draws_of(Faulty(world(2), unlabelled=range(2))), small_config(),
        backbone_lr_multiplier=1.0,
    )  # fmt: skip
    step = Step(number=0, seed=0, batch_size=2, parallel=learner.model, accelerator=runtime.accelerator)
    sums = learner.backward([learner.draws.draw(number) for number in range(2)], step)
    assert sums.tolist() == [0.0] * 4
    gradients = [parameter.grad for parameter in learner.model.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_gradient_of_the_whole_model_is_clipped(train, frozen):
    _, _, folder, _ = train(steps=1, clip_norm=0.01, frozen=frozen)
    # after one step of AdamW the first moment is a tenth of the gradient
    assert float(moments(folder).norm()) / 0.1 == pytest.approx(0.01, rel=1e-3)


def test_without_a_clip_norm_the_gradient_is_as_it_is(train):
    _, _, folder, _ = train(steps=1, clip_norm=None)
    assert float(moments(folder).norm()) / 0.1 > 1


def test_a_frozen_backbone_stays_and_is_in_no_checkpoint(train):
    before, after, folder, _ = train(frozen=True, ema=0.5)
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("backbone."))
    assert not torch.equal(after["head.class_predictor.weight"], before["head.class_predictor.weight"])
    for group in ("model", "optimizer", "average"):
        names = saved(folder, group)
        assert names and all(name.startswith("head.") for name in names)


def test_a_backbone_without_a_learning_rate_stays(train):
    before, after, _, _ = train(multiplier=0.0)
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("backbone."))
    assert not torch.equal(after["head.class_predictor.weight"], before["head.class_predictor.weight"])


def test_a_backbone_learns_at_its_share_of_the_rate(train):
    before, after, _, _ = train(steps=1, multiplier=0.1, lr=1e-3, weight_decay=0)
    moved = {name: float((after[name] - before[name]).abs().max()) for name in before}
    # the first step of AdamW moves a weight by the learning rate
    assert max(value for name, value in moved.items() if name.startswith("backbone.")) == pytest.approx(1e-4, rel=0.02)
    assert max(value for name, value in moved.items() if name.startswith("head.")) == pytest.approx(1e-3, rel=0.02)


def test_parts_learn_at_their_share_of_the_rate(train):
    changes = {"lr_multipliers": {"head": 10.0, "backbone": 0.0}, "no_decay": ["bias"]}
    before, after, folder, _ = train(steps=1, lr=1e-4, weight_decay=0, **changes)
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("backbone."))
    moved = max(float((after[name] - before[name]).abs().max()) for name in before if name.startswith("head."))
    assert moved == pytest.approx(1e-3, rel=0.02)
    assert log(folder)[0]["lr"] == pytest.approx(1e-3)


def test_reading_ahead_changes_nothing(train, runtime, monkeypatch):
    _, read_here, _, _ = train("here")
    monkeypatch.setattr(runtime, "config", runtime.config.model_copy(update={"workers": 2}))
    _, read_ahead, _, _ = train("ahead")
    torch.testing.assert_close(read_ahead, read_here, atol=0, rtol=0)


def test_afterwards_the_model_is_ready_to_predict(train, clip):
    model = small_segmenter(clip)
    train(model=model, steps=1)
    assert not model.training and not model.head.training


def test_a_loss_that_is_not_finite_stops_the_training(train, clip):
    model = small_segmenter(clip)
    model.head.class_predictor.bias.data.fill_(float("nan"))
    with pytest.raises(CloudsError, match="the loss of step 1 is not a finite number") as raised:
        train(model=model)
    assert "optimizer.lr" in raised.value.mend


def test_what_was_passed_over_is_returned_and_told_once(train, capsys):
    draws = draws_of(Faulty(world(3), unreadable=[1]))
    _, _, _, skipped = train(draws=draws, steps=4)
    [item] = skipped
    assert item.startswith("scenes/source-000001: ") and "cut off" in item
    assert capsys.readouterr().err.count("passed over") == 1


def test_more_unusable_images_than_the_budget_stop_the_training(train):
    draws = draws_of(Faulty(world(8), unreadable=range(4)))
    with pytest.raises(CloudsError, match=r"more than the budget of 2 \('max_failures'\); the last: scenes/"):
        train(draws=draws, steps=8, max_failures=2)
    _, _, _, skipped = train("enough", draws=draws, steps=8, max_failures=4)
    assert len(skipped) == 4


def test_a_batch_smaller_than_the_processes_is_refused():
    with pytest.raises(CloudsError, match="a batch of 2 cannot be split between 3 processes"):
        check_batch(small_config(batch_size=2), SimpleNamespace(world_size=3))
    check_batch(small_config(batch_size=2), SimpleNamespace(world_size=2))
