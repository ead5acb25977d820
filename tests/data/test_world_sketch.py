"""The canvas: paints, surfaces, camera, windows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clouds.data.world.classes import Kind
from clouds.data.world.dice import Dice, blend, clip_color, shade, stable_hash
from clouds.data.world.domains import DOMAINS
from clouds.data.world.looks import choose_setting
from clouds.data.world.sketch import SAMPLES, Camera, Sketch, Surface

CAMERA = Camera(focal=90.0, center_x=60.0, horizon_y=30.0, height=1.5, roll=0.0)


def test_the_samples_of_a_pixel_have_a_middle_one() -> None:
    assert SAMPLES % 2 == 1


@given(
    x=st.floats(-20, 20), y=st.floats(0, 20), z=st.floats(1, 80), roll=st.floats(-0.05, 0.05), focal=st.floats(50, 500)
)
def test_offsets_undo_a_projection(x: float, y: float, z: float, roll: float, focal: float) -> None:
    camera = Camera(focal, 64.0, 32.0, 1.5, roll)
    column, row = camera.project(x, y, z)
    right, down = camera.offsets(np.array([column], np.float32), np.array([row], np.float32))
    assert np.allclose([right[0], down[0]], [focal * x / z, focal * (1.5 - y) / z], rtol=1e-3, atol=1e-2)


@given(st.floats(-3, 3), st.floats(2, 30), st.sampled_from([-1, 1]), st.floats(-0.05, 0.05))
def test_a_cutout_stands_where_the_world_says(x: float, z: float, flip: int, roll: float) -> None:
    camera = Camera(90.0, 90.0, 60.0, 1.5, roll)
    by_world, by_cutout = Sketch(camera, 40, 60), Sketch(camera, 40, 60)
    outline = [(-0.6, 0.0), (0.6, 0.0), (0.3, 1.8)]
    car = by_world.add_instance(Kind.CAR)
    for sketch in (by_world, by_cutout):
        sketch.add_paint((0, 0, 0), car, Surface.SKY)
    by_world.fill(by_world.add_paint((9, 9, 9), car, Surface.FACING, z), [(x + flip * a, b, z) for a, b in outline])
    by_cutout.cutout(Kind.CAR, x, z, 1.0, flip).fill((9, 9, 9), outline)
    # equal but for rounding at the outline
    assert np.mean(by_world.numbers() != by_cutout.numbers()) < 0.01


def test_thin_strokes_are_a_pixel_wide() -> None:
    sketch = Sketch(CAMERA, 30, 40)
    sketch.add_paint((0, 0, 0), sketch.add_instance(Kind.SKY), Surface.SKY)
    sketch.cutout(Kind.POLE, 0.0, 40.0).stroke((1, 1, 1), (0, 0), (0, 6), 0.01)
    centers = sketch.numbers()[SAMPLES // 2 :: SAMPLES, SAMPLES // 2 :: SAMPLES]
    assert (centers > 0).sum() >= 3


def test_colours_stay_in_range_and_zero_variety_keeps_them() -> None:
    dice = Dice((1, 2))
    assert dice.vary((10, 20, 30), 0.0) == (10, 20, 30)
    varied = np.array([dice.vary((250, 128, 3), 0.4) for _ in range(200)])
    assert varied.min() >= 0 and varied.max() <= 255 and len(np.unique(varied, axis=0)) > 100
    assert clip_color(-3, 300, 7.9) == (0, 255, 7)
    assert shade((100, 100, 100), 0.5) == (50, 50, 50)
    assert blend((0, 0, 0), (100, 200, 50), 0.5) == (50, 100, 25)


def test_dice_are_fair_and_repeatable() -> None:
    counts = np.bincount([Dice((seed,)).count((1, 3)) for seed in range(600)], minlength=4)
    assert counts[0] == 0 and counts[1:].min() > 150
    first, second = Dice((7, 8)), Dice((7, 8))
    assert [first.random() for _ in range(3000)] == [second.random() for _ in range(3000)]
    assert stable_hash("fog") == stable_hash("fog") != stable_hash("night")


def test_a_setting_keeps_to_its_domain() -> None:
    for name, domain in DOMAINS.items():
        for seed in range(20):
            setting = choose_setting(domain, Dice((seed, stable_hash(name))))
            assert setting.place.name in {place.name for place in domain.places} and setting.light in domain.lights
            assert setting.weather.fog[0] <= setting.fog <= setting.weather.fog[1]
            assert any(film.texture[0] <= setting.texture <= film.texture[1] for film in domain.films)
