"""Classes pasted onto images whose labels were made before: as a teacher's are, and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
from small_online import CLEAN, labelled, unlabelled
from small_training import CROPPED, LABELS, Faulty, by_class, place_at, small_config, small_segmenter, weights, world
from test_resume import Crash, Stopping, content, crash, terminate

from clouds.data.transforms import AugmentConfig, BlurConfig, JitterConfig
from clouds.engine.interrupt import Interrupted
from clouds.errors import CloudsError
from clouds.training.draws import Draws, Source, load_steps
from clouds.training.mixing import MixedDraws
from clouds.training.segmentation import train_segmenter
from clouds.training.settings import MixConfig
from clouds.training.unlabelled import OnlineDraws

STRONG = AugmentConfig(crop=(32, 64), jitter=JitterConfig(probability=1.0), blur=BlurConfig(probability=1.0))


def guessed(augment=CROPPED, mix=None, **values):
    """A source whose labels are there, though guessed."""
    return replace(unlabelled(augment=augment, mix=mix or MixConfig()), **values)


def repainted():
    return labelled(world(3, "repainted"), weight=0.5)


def without(source):
    return replace(source, mix=None)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("augment", [CLEAN, STRONG])
def test_rounds_mix_what_a_teachers_images_are_mixed_with(seed, augment):
    """The same images, cuts, classes and colours; only who labels what is below differs."""
    kinds, target = [labelled(), repainted()], guessed(augment)
    mixed = MixedDraws([*kinds, target], seed, LABELS.ignore)
    plain = Draws([*kinds, without(replace(target, augment=CLEAN))], seed, LABELS.ignore)
    online = OnlineDraws(kinds, [target], seed, LABELS.ignore)
    pasted = 0
    for number in range(16):
        one, other, below = (draws.draw(number) for draws in (mixed, online, plain))
        assert np.array_equal(one.image_HWC, other.image_HWC) and one.unlabelled is None
        assert (one.source, one.skipped, one.number) == (other.source, other.skipped, number)
        if other.unlabelled is None:
            assert np.array_equal(one.labels_HW, other.labels_HW)
        else:
            pasted += np.count_nonzero(other.labels_HW != LABELS.ignore)
            expected_HW = np.where(other.labels_HW != LABELS.ignore, other.labels_HW, below.labels_HW)
            assert np.array_equal(one.labels_HW, expected_HW)
    assert pasted


def test_images_of_the_other_sources_are_drawn_as_without_a_mix():
    sources = [labelled(), repainted(), guessed()]
    mixed = MixedDraws(sources, 5, LABELS.ignore)
    plain = Draws([*sources[:2], without(sources[2])], 5, LABELS.ignore)
    for number in range(20):
        one, other = mixed.draw(number), plain.draw(number)
        assert one.source == other.source
        same = np.array_equal(one.image_HWC, other.image_HWC) and np.array_equal(one.labels_HW, other.labels_HW)
        assert same == (one.source != 2)


def test_a_draw_is_a_function_of_its_number():
    draws = MixedDraws([labelled(), guessed(STRONG)], 5, LABELS.ignore)
    steps = load_steps(draws, range(2, 4), 3, 0, 1, 2)
    again = MixedDraws([labelled(), guessed(STRONG)], 5, LABELS.ignore)
    for one in reversed([drawn for step in steps for drawn in step]):
        other = again.draw(one.number)
        assert np.array_equal(one.image_HWC, other.image_HWC) and np.array_equal(one.labels_HW, other.labels_HW)


def test_what_is_pasted_is_drawn_by_class_where_its_source_is(runtime, tmp_path):
    """Wherever among the sources the one with a table of classes stands."""
    by = by_class(world(4), tmp_path, runtime)
    whole, target = by.sources[0], guessed(CLEAN, MixConfig(share=1.0))
    rare = MixedDraws([target, whole], 5, LABELS.ignore, {1: by.tables[0]})
    plain = MixedDraws([target, whole], 5, LABELS.ignore)
    drawn = [(rare.draw(number), plain.draw(number)) for number in range(12)]
    assert any(not np.array_equal(one.labels_HW, other.labels_HW) for one, other in drawn if one.source == 0)


def test_images_that_are_never_drawn_are_not_with_a_mix_either():
    """What filters leave out stays out, and what they weigh comes as often."""
    times = [0, 3, 1, 0]
    target = guessed(CLEAN, dataset=Faulty(world(4, "photos"), unreadable=[0, 3]), times=times)
    draws = MixedDraws([labelled(weight=1e-9), target], 5, LABELS.ignore)
    assert not any(draws.draw(number).skipped for number in range(12))


def test_files_that_cannot_be_read_are_passed_over_in_both_parts():
    sources = [
        labelled(Faulty(world(2), unreadable=[0])),
        guessed(dataset=Faulty(world(2, "photos"), unreadable=[1])),
    ]
    draws = MixedDraws(sources, 5, LABELS.ignore)
    skipped = {item for number in range(12) for item in draws.draw(number).skipped}
    assert {item.partition("/")[0] for item in skipped} == {"scenes", "photos"}
    broken = MixedDraws([labelled(), guessed(dataset=Faulty(world(2), unreadable=[0, 1]))], 5, LABELS.ignore)
    assert any(isinstance(broken[number], CloudsError) for number in range(4))


def test_what_cannot_be_mixed_is_named():
    small = guessed(CLEAN.model_copy(update={"crop": (24, 32)}))
    draws = MixedDraws([labelled(weight=1e-9), small], 5, LABELS.ignore)
    with pytest.raises(CloudsError, match=r"not 32x24 \('photos'\) and 64x32 \('scenes'\)") as raised:
        draws.draw(0)
    assert "generated_augment.crop" in raised.value.mend
    with pytest.raises(CloudsError, match="no data"):
        MixedDraws([Source(world(1), 0.0, CROPPED), guessed()], 5, LABELS.ignore)


def test_interruptions_change_no_byte(clip, runtime, tmp_path):
    changes = {"steps": 4, "checkpoint_every": 2, "ema": 0.7, "batch_size": 3, "lr": 1e-4}

    def train(folder, stop=None):
        model = small_segmenter(clip)
        sources = [labelled(Faulty(world(4), unreadable=[2])), guessed(dice=0.5)]
        train_segmenter(
            model,
            MixedDraws(sources, 5, LABELS.ignore),
            small_config(**changes),
            place_at(folder, runtime, Stopping(*stop) if stop else None),
            backbone_lr_multiplier=0.5,
        )
        return weights(model)

    whole = train(tmp_path / "whole")
    for stop in ((1, terminate), (3, crash)):
        with pytest.raises((Crash, Interrupted)):
            train(tmp_path / "cut", stop)
    resumed = train(tmp_path / "cut")
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert all(bool((tensor == whole[name]).all()) for name, tensor in resumed.items())
