from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from clouds.data.transforms import PAD_LEVEL, AugmentConfig, BlurConfig, JitterConfig, augment, geometric, photometric

IGNORE = 255
SIDES = st.integers(1, 40)


def noise_HWC(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def still(**values: Any) -> AugmentConfig:
    return AugmentConfig(**{"scale": (1, 1), "flip": 0, "jitter": None, **values})


@settings(deadline=None, max_examples=50)
@given(
    size=st.tuples(SIDES, SIDES),
    crop=st.tuples(SIDES, SIDES),
    scale=st.sampled_from([(0.5, 2.0), (0.01, 0.1), (1.0, 1.0), (3.0, 4.0)]),
    share=st.sampled_from([None, 0.75]),
    seed=st.integers(0, 2**63),
)
def test_a_sample_has_the_crops_size_and_no_invented_label(
    size: tuple[int, int], crop: tuple[int, int], scale: tuple[float, float], share: float | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels_HW = rng.choice(np.array([3, 7, 19, IGNORE], np.uint8), size)
    config = AugmentConfig(crop=crop, scale=scale, max_class_share=share)
    image_HWC, out_HW = augment(noise_HWC(*size), labels_HW, config, rng, IGNORE)
    assert image_HWC.shape == (*crop, 3)
    assert out_HW.shape == crop
    assert image_HWC.dtype == out_HW.dtype == np.uint8
    assert image_HWC.flags.c_contiguous
    assert image_HWC.flags.writeable
    assert out_HW.flags.writeable
    assert set(np.unique(out_HW)) <= set(np.unique(labels_HW)) | {IGNORE}


@settings(deadline=None, max_examples=50)
@given(size=st.tuples(SIDES, SIDES), seed=st.integers(0, 1000))
def test_padding_is_ignored_and_lies_below_and_right(size: tuple[int, int], seed: int) -> None:
    labels_HW = np.zeros(size, np.uint8)
    rng = np.random.default_rng(seed)
    image_HWC, out_HW = geometric(noise_HWC(*size), labels_HW, still(crop=(30, 30)), rng, IGNORE)
    inside = min(size[0], 30), min(size[1], 30)
    assert (out_HW[: inside[0], : inside[1]] == 0).all()
    assert (out_HW == IGNORE).sum() == 900 - inside[0] * inside[1]
    assert (image_HWC[out_HW == IGNORE] == PAD_LEVEL).all()


def test_the_same_generator_gives_the_same_sample() -> None:
    config = AugmentConfig(crop=(20, 30))
    labels_HW = noise_HWC(25, 31)[..., 0] % 5
    first, second = (augment(noise_HWC(25, 31), labels_HW, config, np.random.default_rng(4), IGNORE) for _ in range(2))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
    other = augment(noise_HWC(25, 31), labels_HW, config, np.random.default_rng(5), IGNORE)
    assert (first[0] != other[0]).any()


def test_nothing_random_leaves_everything_as_it_is() -> None:
    image_HWC, labels_HW = noise_HWC(12, 17), noise_HWC(12, 17)[..., 0]
    out = augment(image_HWC, labels_HW, still(), np.random.default_rng(0), IGNORE)
    assert (out[0] == image_HWC).all()
    assert (out[1] == labels_HW).all()


def test_without_crop_the_whole_image_is_scaled() -> None:
    out = geometric(
        noise_HWC(10, 20), np.zeros((10, 20), np.uint8), still(scale=(1.5, 1.5)), np.random.default_rng(0), 255
    )
    assert out[0].shape == (15, 30, 3)
    assert out[1].shape == (15, 30)


def test_image_and_labels_stay_aligned_under_scale_crop_and_flip() -> None:
    labels_HW = np.zeros((64, 96), np.uint8)
    labels_HW[10:40, 20:70] = 1
    image_HWC = np.repeat(labels_HW[..., None] * 200, 3, axis=2)
    config = AugmentConfig(crop=(48, 48), jitter=None)
    for seed in range(30):
        out_HWC, out_HW = geometric(image_HWC, labels_HW, config, np.random.default_rng(seed), IGNORE)
        # on an edge, bilinear may fall half way between two classes: those pixels decide nothing
        decided_HW = (out_HW != IGNORE) & (np.abs(out_HWC[..., 0].astype(int) - 100) > 30)
        assert decided_HW.mean() > 0.5
        assert ((out_HWC[..., 0] > 100) == out_HW)[decided_HW].all()


def test_a_window_equals_the_crop_of_the_whole_scaled_image() -> None:
    image_HWC = noise_HWC(40, 60)
    whole_HWC = np.asarray(Image.fromarray(image_HWC).resize((90, 60), Image.Resampling.BILINEAR)).astype(int)
    config = still(scale=(1.5, 1.5), crop=(32, 32))
    window_HWC, _ = geometric(image_HWC, np.zeros((40, 60), np.uint8), config, np.random.default_rng(1), IGNORE)
    differences = [
        np.abs(whole_HWC[top : top + 32, left : left + 32] - window_HWC).max()
        for top in range(60 - 32 + 1)
        for left in range(90 - 32 + 1)
    ]
    assert min(differences) <= 2


def test_flip_mirrors_both() -> None:
    image_HWC, labels_HW = noise_HWC(5, 8), noise_HWC(5, 8)[..., 1]
    out = geometric(image_HWC, labels_HW, still(flip=1), np.random.default_rng(0), IGNORE)
    assert (out[0] == image_HWC[:, ::-1]).all()
    assert (out[1] == labels_HW[:, ::-1]).all()


def test_crops_of_one_class_are_drawn_anew() -> None:
    labels_HW = np.zeros((60, 60), np.uint8)
    labels_HW[:, 40:] = 1
    image_HWC = noise_HWC(60, 60)

    def lopsided(share: float | None) -> int:
        config = still(crop=(20, 20), max_class_share=share)
        outs = [geometric(image_HWC, labels_HW, config, np.random.default_rng(seed), IGNORE) for seed in range(60)]
        return sum(np.bincount(out_HW.ravel()).max() > 0.75 * 400 for _, out_HW in outs)

    assert lopsided(0.75) < 10 < 30 < lopsided(None)


def test_ignored_pixels_count_for_no_class() -> None:
    labels_HW = np.full((60, 60), IGNORE, np.uint8)
    labels_HW[::4, ::4], labels_HW[2::4, 2::4] = 0, 1
    # seven of eight pixels are ignored, and of the others each class has half
    config = still(crop=(20, 20), max_class_share=0.75)
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    limited = geometric(noise_HWC(60, 60), labels_HW, config, first, IGNORE)[1]
    assert (limited == geometric(noise_HWC(60, 60), labels_HW, still(crop=(20, 20)), second, IGNORE)[1]).all()
    # no crop was drawn again
    assert first.random() == second.random()


def test_crops_are_tried_so_often_and_no_more() -> None:
    one_class_HW = np.zeros((60, 60), np.uint8)

    def after(tries: int, share: float | None) -> float:
        rng = np.random.default_rng(3)
        config = still(crop=(20, 20), max_class_share=share, crop_tries=tries)
        geometric(noise_HWC(60, 60), one_class_HW, config, rng, IGNORE)
        return rng.random()

    assert after(1, 0.75) == after(1, None) == after(10, None)
    assert len({after(tries, 0.75) for tries in (1, 2, 10)}) == 3


def test_blur_spreads_a_point_as_wide_as_its_sigma() -> None:
    point_HWC = np.zeros((41, 41, 3), np.uint8)
    point_HWC[20, 20] = 255
    config = AugmentConfig(jitter=None, blur=BlurConfig(probability=1, sigma=(1.5, 1.5)))
    blurred_HW = photometric(point_HWC, np.random.default_rng(0), config)[..., 0].astype(float)
    offsets_W = np.arange(41) - 20
    spread = np.sqrt((blurred_HW.sum(0) * offsets_W**2).sum() / blurred_HW.sum())
    assert spread == pytest.approx(1.5, abs=0.2)


def test_blur_has_a_coin_and_does_not_disturb_the_jitter() -> None:
    image_HWC = noise_HWC(16, 16)
    blurs = AugmentConfig(jitter=None, blur=BlurConfig(sigma=(1, 1)))
    same = sum((photometric(image_HWC, np.random.default_rng(seed), blurs) == image_HWC).all() for seed in range(200))
    assert 70 < same < 130
    never = AugmentConfig(blur=BlurConfig(probability=0))
    for seed in range(5):
        jittered_HWC = photometric(image_HWC, np.random.default_rng(seed), AugmentConfig())
        assert (photometric(image_HWC, np.random.default_rng(seed), never) == jittered_HWC).all()


def test_images_and_labels_must_agree_in_size() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        augment(noise_HWC(4, 4), np.zeros((4, 5), np.uint8), still(), np.random.default_rng(0), IGNORE)


def jittered(image_HWC: np.ndarray, seed: int = 0, **parts: Any) -> np.ndarray:
    nothing = {"probability": 1, "brightness": 0, "contrast": (1, 1), "saturation": (1, 1), "hue": 0}
    config = AugmentConfig(jitter=JitterConfig(**{**nothing, **parts}))
    return photometric(image_HWC, np.random.default_rng(seed), config)


def test_jitter_of_no_strength_changes_only_by_rounding() -> None:
    grey_HWC = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert (jittered(grey_HWC) == grey_HWC).all()
    image_HWC = noise_HWC(20, 20)
    assert np.abs(jittered(image_HWC).astype(int) - image_HWC).max() <= 6


def test_brightness_shifts_and_contrast_scales_every_level() -> None:
    grey_HWC = np.full((2, 2, 3), 100, np.uint8)
    shifts = {int(jittered(grey_HWC, seed, brightness=32)[0, 0, 0]) - 100 for seed in range(200)}
    assert min(shifts) in range(-32, -27)
    assert max(shifts) in range(28, 33)
    factors = [jittered(grey_HWC, seed, contrast=(0.5, 1.5))[0, 0, 0] / 100 for seed in range(200)]
    assert 0.5 <= min(factors) < 0.55
    assert 1.45 < max(factors) <= 1.5


def test_saturation_and_hue_move_colours_not_greys() -> None:
    grey_HWC = np.full((2, 2, 3), 77, np.uint8)
    red_HWC = np.full((1, 1, 3), (200, 40, 40), np.uint8)
    assert (jittered(grey_HWC, saturation=(1.5, 1.5), hue=90) == grey_HWC).all()
    assert jittered(red_HWC, saturation=(0, 0)).tolist() == [[[200, 200, 200]]]
    turned = [jittered(red_HWC, seed, hue=18)[0, 0].astype(int) for seed in range(100)]
    # 36 degrees of 60 turn red no further than 0.6 of the way to yellow or to magenta
    assert all(color[0] == 200 and 40 <= max(color[1], color[2]) <= 40 + 0.6 * 160 + 3 for color in turned)
    assert max(color[1] for color in turned) > 120
    assert max(color[2] for color in turned) > 120


def test_each_part_has_its_own_coin() -> None:
    grey_HWC = np.full((1, 1, 3), 100, np.uint8)
    config = AugmentConfig(jitter=JitterConfig(contrast=(1, 1), saturation=(1, 1), hue=0))
    same = sum(int(photometric(grey_HWC, np.random.default_rng(seed), config)[0, 0, 0] == 100) for seed in range(400))
    assert 160 < same < 260


def test_the_clean_image_is_left_for_the_teacher() -> None:
    image_HWC = noise_HWC(8, 8)
    before_HWC = image_HWC.copy()
    photometric(image_HWC, np.random.default_rng(1), AugmentConfig())
    assert (image_HWC == before_HWC).all()


def test_ranges_rise() -> None:
    with pytest.raises(ValidationError, match="smaller number first"):
        AugmentConfig(scale=(2.0, 0.5))
    with pytest.raises(ValidationError):
        AugmentConfig(scale=(0.0, 0.5))
