"""A validation measures what it should, changes nothing, and keeps the best weights when it is told to."""

import json

import numpy as np
import pytest
import torch
from small_training import (
    LABELS,
    Faulty,
    draws_of,
    place_at,
    saved,
    small_config,
    small_segmenter,
    weights,
    world,
)

from clouds.errors import CloudsError
from clouds.ops.confusion import confusion_matrix, scores
from clouds.training.segmentation import train_segmenter
from clouds.training.settings import ValidationConfig
from clouds.training.validation import SegmentationValidation

SETS = {"held": world(3, "held"), "tall": world(2, "tall", height=48, width=40)}


@pytest.fixture
def train(clip, runtime, tmp_path):
    """Trains with a validation, or none: (its folder, the model)."""

    def run(name, sets=SETS, validation=None, **changes):
        if validation is not None:
            validation = ValidationConfig(**{"data": list(sets), "every": 2, **validation})
        model = small_segmenter(clip)
        config = small_config(**{"steps": 5, "validation": validation, **changes})
        folder = tmp_path / name
        train_segmenter(
            model, draws_of(world(4)), config, place_at(folder, runtime), backbone_lr_multiplier=1.0, validated=sets
        )
        return folder, model

    return run


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def checkpoints(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.glob("checkpoints/*/*")}


def miou(model, dataset, indices):
    total = 0
    for index in indices:
        scores_BKHW = model.predict(torch.from_numpy(dataset.image(index)).permute(2, 0, 1)[None])
        total = total + confusion_matrix(scores_BKHW[0].argmax(0).numpy(), dataset.labels(index), LABELS.num_classes)
    return scores(total).mean_iou


@pytest.mark.parametrize("changes", [{}, {"ema": 0.5, "frozen_steps": 2}])
def test_it_changes_no_byte_of_what_is_trained(train, changes):
    changes = {"steps": 4, "checkpoint_every": 1, "keep_checkpoints": 9, **changes}
    plain, before = train("plain", **changes)
    validated, after = train("validated", validation={}, **changes)
    assert checkpoints(plain) == checkpoints(validated)
    assert all(torch.equal(tensor, weights(after)[name]) for name, tensor in weights(before).items())
    own = ({name: value for name, value in line.items() if "miou" not in name} for line in log(validated))
    assert list(own) == log(plain)


@pytest.mark.parametrize("ema", [None, 0.5])
def test_it_measures_the_weights_that_the_training_gives(train, ema):
    folder, model = train("run", validation={}, ema=ema)
    lines = log(folder)
    assert [line["step"] for line in lines if "miou" in line] == [2, 4, 5]
    expected = {name: miou(model, dataset, range(len(dataset.ids))) for name, dataset in SETS.items()}
    for name, value in expected.items():
        assert lines[-1][f"miou/{name}"] == pytest.approx(value, rel=1e-6)
    assert lines[-1]["miou"] == pytest.approx(sum(expected.values()) / 2, rel=1e-6)


def test_it_takes_so_many_images_spread_evenly(train):
    spread = world(7, "spread")
    folder, model = train("run", sets={"spread": spread}, validation={"images": 3})
    assert log(folder)[-1]["miou"] == pytest.approx(miou(model, spread, [0, 2, 4]), rel=1e-6)


def test_the_best_weights_are_kept(train):
    # a learning rate that ruins what was learned
    changes = {"steps": 6, "lr": 3e-2, "ema": 0.5, "schedule": "constant"}
    folder, model = train("run", validation={"every": 1, "keep_best": True}, **changes)
    found = [line["miou"] for line in log(folder)]
    best = int(np.argmax(found))
    assert best < 5, "the last step is the best: this test shows nothing"
    both = [miou(model, dataset, range(len(dataset.ids))) for dataset in SETS.values()]
    assert sum(both) / 2 == pytest.approx(found[best], rel=1e-6)
    state = json.loads((folder / "checkpoints" / "step-00000006" / "state.json").read_text())
    assert state["values"]["best"] == {"step": best + 1, "value": pytest.approx(found[best], rel=1e-6)}
    short, _ = train("short", **{**changes, "steps": best + 1})
    for name, tensor in saved(short, "average").items():
        assert torch.equal(tensor, saved(folder, "best")[name])
        assert torch.equal(tensor, weights(model)[name])


def test_an_image_that_cannot_be_read_is_passed_over_and_told(train, capsys):
    folder, model = train("run", sets={"held": Faulty(SETS["held"], unreadable=[1])}, validation={"every": 5})
    assert log(folder)[-1]["miou"] == pytest.approx(miou(model, SETS["held"], [0, 2]), rel=1e-6)
    assert capsys.readouterr().err.count("validation passed over: held/source-000001: ") == 1
    state = json.loads((folder / "checkpoints" / "step-00000005" / "state.json").read_text())
    assert state["values"]["skipped"] == []


def test_a_set_without_ground_truth_has_no_score(train):
    sets = {**SETS, "blank": Faulty(world(2, "blank"), unlabelled=range(2))}
    last = log(train("run", sets=sets, validation={})[0])[-1]
    assert "miou/blank" not in last and "miou/held" in last


def test_no_ground_truth_at_all_is_an_error(train):
    with pytest.raises(CloudsError, match="validation: no image of blank has a labelled pixel"):
        train("run", sets={"blank": Faulty(world(2, "blank"), unlabelled=range(2))}, validation={})


def test_it_draws_nothing_at_random(clip, runtime, tmp_path):
    validation = SegmentationValidation(
        config=ValidationConfig(data=("held",), every=1),
        datasets={"held": SETS["held"]},
        model=small_segmenter(clip),
        ignore=LABELS.ignore,
        runtime=runtime,
        progress=place_at(tmp_path, runtime).progress,
    )
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert validation.measure() == validation.measure()
    assert torch.equal(before, torch.get_rng_state())
    assert np.random.get_state()[1].tolist() == numpys
