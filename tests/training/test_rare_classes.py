"""Rare classes are drawn as published, from counts that are made once whatever interrupts them."""

from types import SimpleNamespace

import numpy as np
import pytest
from small_training import CROPPED, LABELS, Faulty, world

from clouds.data.transforms import AugmentConfig
from clouds.errors import CloudsError, UsageError
from clouds.training import rare_classes as module
from clouds.training.draws import Draws, Source
from clouds.training.rare_classes import ClassCounter, rare_classes
from clouds.training.settings import RareClassConfig

PLAIN = AugmentConfig(scale=(1.0, 1.0), flip=0.0, jitter=None)


def config(**changes):
    return RareClassConfig(**{"temperature": 0.1, "min_pixels": 10, "min_crop_pixels": 0, **changes})


def counted(dataset, folder, runtime, *, max_failures=5):
    counter = ClassCounter(
        folder=folder, runtime=runtime, num_classes=LABELS.num_classes, max_failures=max_failures
    )  # fmt: skip
    return counter.count(dataset)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 2)


def test_classes_are_drawn_as_published():
    pixels_NK = np.array([[60, 0, 20], [0, 0, 20]], np.uint32)
    table = rare_classes(pixels_NK, config(temperature=0.5), "it")
    assert table.classes.tolist() == [0, 2]
    weight = np.exp((1 - np.array([0.6, 0.4])) / 0.5)
    assert table.share == pytest.approx(weight / weight.sum())
    assert [held.tolist() for held in table.images] == [[0], [0, 1]]


def test_a_low_temperature_overflows_nothing():
    table = rare_classes(np.array([[900, 100], [950, 50]], np.uint32), config(temperature=1e-6), "it")
    assert table.share.tolist() == [0.0, 1.0]


def test_a_class_that_no_image_holds_is_not_drawn():
    table = rare_classes(np.array([[60, 9, 20]], np.uint32), config(), "it")
    assert table.classes.tolist() == [0, 2]


def test_when_no_image_holds_enough_the_field_is_named():
    with pytest.raises(UsageError, match=r"data set 'x': no image holds 99 pixels .*min_pixels.* the most are 60"):
        rare_classes(np.array([[60, 9]], np.uint32), config(min_pixels=99), "data set 'x'")


@pytest.mark.parametrize("workers", [0, 1])
def test_counts_are_those_of_the_labels(tmp_path, runtime, small_chunks, monkeypatch, workers):
    monkeypatch.setattr(runtime, "config", runtime.config.model_copy(update={"workers": workers}))
    dataset = world(5)
    pixels_NK, unread = counted(Faulty(dataset, unlabelled=[3]), tmp_path, runtime)
    assert unread == []
    for index in (0, 1, 2, 4):
        labels_HW = dataset.labels(index)
        assert pixels_NK[index].tolist() == [int((labels_HW == class_id).sum()) for class_id in range(11)]
    assert pixels_NK[3].sum() == 0


class Watched(Faulty):
    """A data set that notes which labels are read, and fails after some."""

    def labels(self, index):
        self.read.append(index)
        if len(self.read) > self.most:
            raise KeyboardInterrupt
        return self.dataset.labels(index)


def watched(most):
    dataset = Watched(world(5))
    object.__setattr__(dataset, "read", [])
    object.__setattr__(dataset, "most", most)
    return dataset


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_interrupted_count_goes_on_and_leaves_the_same_bytes(tmp_path, runtime, small_chunks):
    whole, _ = counted(world(5), tmp_path / "whole", runtime)
    with pytest.raises(KeyboardInterrupt):
        counted(watched(most=3), tmp_path / "cut", runtime)
    rest = watched(most=9)
    resumed, _ = counted(rest, tmp_path / "cut", runtime)
    assert rest.read == [2, 3, 4]
    assert np.array_equal(whole, resumed)
    assert content(tmp_path / "whole") == content(tmp_path / "cut")


def test_what_is_counted_is_not_counted_again(tmp_path, runtime, small_chunks):
    first, _ = counted(world(5), tmp_path, runtime)
    again = watched(most=0)
    second, _ = counted(again, tmp_path, runtime)
    assert again.read == [] and np.array_equal(first, second)


def test_processes_share_the_chunks(tmp_path, runtime, small_chunks):
    read = []
    for rank in (1, 0):
        process = SimpleNamespace(rank=rank, world_size=2, is_main=rank == 0, config=runtime.config, wait=lambda: None)
        dataset = watched(most=9)
        try:
            pixels_NK, _ = counted(dataset, tmp_path, process)
        except FileNotFoundError:  # what the other one counts is not there yet, and nobody waits here
            assert rank == 1
        read.append(dataset.read)
    assert read == [[2, 3], [0, 1, 4]]
    assert np.array_equal(pixels_NK, counted(world(5), tmp_path / "alone", runtime)[0])


def test_labels_that_cannot_be_read_are_told_and_hold_nothing(tmp_path, runtime):
    unlabelled = world(3)
    dataset = Unread(unlabelled, unread=[1])
    pixels_NK, unread = counted(dataset, tmp_path, runtime)
    assert pixels_NK[1].sum() == 0 and pixels_NK[2].sum() > 0
    assert unread == ["scenes/source-000001: labels are cut off"]


class Unread(Faulty):
    """A data set some of whose label files are damaged."""

    def __init__(self, dataset, unread):
        super().__init__(dataset)
        object.__setattr__(self, "unread", unread)

    def labels(self, index):
        from clouds.errors import InputError

        if index in self.unread:
            raise InputError("labels are cut off")
        return self.dataset.labels(index)


def test_too_many_of_them_stop_the_training_and_are_counted_again_once_mended(tmp_path, runtime, small_chunks):
    with pytest.raises(CloudsError, match=r"labels of 2 training images .*budget of 1.* scenes/source-000000"):
        counted(Unread(world(5), unread=[0, 4]), tmp_path, runtime, max_failures=1)
    mended = watched(most=9)
    pixels_NK, unread = counted(mended, tmp_path, runtime, max_failures=1)
    assert mended.read == [0, 1, 4]
    assert unread == [] and (pixels_NK.sum(axis=1) > 0).all()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory, runtime):
    """A data set with what is counted of it."""
    dataset = world(12)
    return dataset, counted(dataset, tmp_path_factory.mktemp("counts"), runtime)[0]


def rare_draws(scenes, augment=PLAIN, seed=5, others=(), **changes):
    dataset, pixels_NK = scenes
    table = rare_classes(pixels_NK, config(**changes), "scenes")
    return Draws([Source(dataset, 1.0, augment), *others], seed, LABELS.ignore, {0: table}), table


def test_a_draw_is_a_function_of_seed_and_number(scenes):
    forwards, _ = rare_draws(scenes, CROPPED, min_crop_pixels=5)
    backwards, _ = rare_draws(scenes, CROPPED, min_crop_pixels=5)
    there = [forwards.draw(number) for number in range(12)]
    back = [backwards.draw(number) for number in reversed(range(12))][::-1]
    assert all(np.array_equal(one.image_HWC, other.image_HWC) for one, other in zip(there, back, strict=True))
    other_seed = rare_draws(scenes, CROPPED, seed=6, min_crop_pixels=5)[0].draw(0)
    assert not np.array_equal(there[0].image_HWC, other_seed.image_HWC)


def test_drawn_images_hold_classes_as_often_as_the_table_says(scenes):
    draws, table = rare_draws(scenes, min_pixels=40, temperature=0.05)
    rarest = int(table.classes[table.share.argmax()])
    holding = {scenes[0].labels(index).tobytes() for index in table.images[int(table.share.argmax())]}
    count = 300
    share = sum(draws.draw(number).labels_HW.tobytes() in holding for number in range(count)) / count
    in_rounds = len(holding) / len(scenes[0].ids)
    assert share > min(1.0, table.share.max()) - 0.1
    assert share > in_rounds, f"class {rarest}"


def test_a_crop_has_enough_of_the_class_where_one_can(scenes):
    cropped = AugmentConfig(crop=(16, 16), scale=(1.0, 1.0), jitter=None)

    def mean(**changes):
        draws, table = rare_draws(scenes, cropped, temperature=0.01, min_pixels=20, **changes)
        rarest = table.classes[table.share.argmax()]
        return np.mean([(draws.draw(number).labels_HW == rarest).sum() for number in range(80)])

    assert mean(min_crop_pixels=20) > 1.5 * mean(min_crop_pixels=0)


def test_an_image_that_cannot_be_read_is_passed_over_for_another_of_the_class(scenes):
    dataset, pixels_NK = scenes
    rarest = int(pixels_NK.sum(axis=0).argmin())
    holding = np.flatnonzero(pixels_NK[:, rarest] >= 1).tolist()
    assert len(holding) > 1
    draws, _ = rare_draws((Faulty(dataset, unreadable=holding[:1]), pixels_NK), min_pixels=1, temperature=1e-6)
    drawn = [draws.draw(number) for number in range(10)]
    assert any(one.skipped for one in drawn)
    assert all((one.labels_HW == rarest).any() for one in drawn)


def test_where_no_image_of_a_class_can_be_read_another_one_is_drawn(scenes):
    dataset, pixels_NK = scenes
    rarest = int(pixels_NK.sum(axis=0).argmin())
    holding = np.flatnonzero(pixels_NK[:, rarest] >= 1).tolist()
    draws, _ = rare_draws((Faulty(dataset, unreadable=holding), pixels_NK), min_pixels=1, temperature=1e-6)
    drawn = draws.draw(0)
    assert not (drawn.labels_HW == rarest).any()
    assert set(drawn.skipped) == {
        f"scenes/{dataset.ids[index]}: {dataset.ids[index]}.png is cut off" for index in holding
    }


def test_the_other_sets_are_drawn_as_before(scenes):
    other = Source(world(4, "other", height=16, width=48), 1.0, CROPPED)
    mixed, _ = rare_draws(scenes, CROPPED, others=[other])
    plain = Draws([Source(scenes[0], 1.0, CROPPED), other], 5, LABELS.ignore)
    for number in range(20):
        assert mixed._turn(number) == plain._turn(number)
        if mixed._turn(number)[0] == 1:
            assert np.array_equal(mixed.draw(number).image_HWC, plain.draw(number).image_HWC)
