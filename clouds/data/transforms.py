"""Augmentation of an image and its labels, every draw from a given generator. It knows no data set and no model."""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from pydantic import AfterValidator, Field

from clouds.config import ConfigModel, Share

# the level of padded image pixels: middle grey, near every model's mean; their labels are ignored
PAD_LEVEL = 128


def rising(values: tuple[float, float]) -> tuple[float, float]:
    """The pair itself. Raises `ValueError` where its first number is the greater."""
    if values[0] > values[1]:
        raise ValueError("give the smaller number first")
    return values


Size = Annotated[int, Field(ge=1)]
Range = Annotated[
    tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]],
    AfterValidator(rising),
]


class JitterConfig(ConfigModel):
    """The photometric distortion of SSD (Liu et al. 2016), each part on its own coin; the defaults are SSD's."""

    probability: Share = 0.5
    """Chance of each part."""
    brightness: Annotated[float, Field(ge=0, le=255)] = 32
    """Largest shift of brightness, in levels of 0..255."""
    contrast: Range = (0.5, 1.5)
    """Least and largest factor on all levels."""
    saturation: Range = (0.5, 1.5)
    """Least and largest factor on saturation."""
    hue: Annotated[float, Field(ge=0, le=90)] = 18
    """Largest shift of hue in steps of 2 degrees, as the published code counts it (8-bit hue of 0..179)."""


class BlurConfig(ConfigModel):
    """Gaussian blur; the defaults are those of DACS and DAFormer (for crops of 512 pixels)."""

    probability: Share = 0.5
    """Chance of it."""
    sigma: Range = (0.15, 1.15)
    """Least and largest standard deviation in pixels."""


class AugmentConfig(ConfigModel):
    """Random scale, crop, flip, colour jitter and blur."""

    crop: tuple[Size, Size] | None = None
    """(height, width) of the result; a smaller image is padded, and padding is never learned; none: all of it."""
    scale: Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], AfterValidator(rising)] = (
        0.5,
        2.0,
    )
    """Least and largest factor on the image's size."""
    flip: Share = 0.5
    """Chance to mirror left and right."""
    max_class_share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Draw another crop while one class holds more than this share of its labelled pixels; none: take any."""
    crop_tries: Size = 10
    """Crops drawn at most; the last one is taken whatever it holds."""
    jitter: JitterConfig | None = JitterConfig()
    """Colour jitter; none: colours stay."""
    blur: BlurConfig | None = None
    """Gaussian blur, after the jitter; none: it stays sharp."""


@dataclass(frozen=True)
class _Crop:
    """A window of a scaled image: its box in the pixels of the image as it was, and its size after scaling."""

    box: tuple[float, float, float, float]
    size: tuple[int, int]


def augment(
    image_HWC: NDArray[np.uint8],
    labels_HW: NDArray[np.uint8],
    config: AugmentConfig,
    rng: np.random.Generator,
    ignore: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A training sample: `geometric`, then `photometric`."""
    image_HWC, labels_HW = geometric(image_HWC, labels_HW, config, rng, ignore)
    return photometric(image_HWC, rng, config), labels_HW


def geometric(
    image_HWC: NDArray[np.uint8],
    labels_HW: NDArray[np.uint8],
    config: AugmentConfig,
    rng: np.random.Generator,
    ignore: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Scaled, cropped, mirrored: the image bilinear, the labels nearest, both exactly `config.crop` in size.

    Where the scaled image is smaller than the crop, it is padded below and at the right, the labels with `ignore`.
    Colours are untouched, so that a teacher may see the result clean.
    """
    if image_HWC.shape[:2] != labels_HW.shape:
        raise ValueError(f"image {image_HWC.shape[:2]} and labels {labels_HW.shape} differ in size")
    scale = rng.uniform(*config.scale)
    window = _draw_crop(labels_HW, config, scale, rng, ignore)
    mirrored = rng.random() < config.flip
    image_HWC = _cut(image_HWC, window, Image.Resampling.BILINEAR)
    labels_HW = _cut(labels_HW, window, Image.Resampling.NEAREST)
    if mirrored:
        image_HWC, labels_HW = image_HWC[:, ::-1], labels_HW[:, ::-1]
    size = config.crop or window.size
    return _padded(image_HWC, size, PAD_LEVEL), _padded(labels_HW, size, ignore)


def photometric(image_HWC: NDArray[np.uint8], rng: np.random.Generator, config: AugmentConfig) -> NDArray[np.uint8]:
    """The uint8 RGB image with `config.jitter`, then with `config.blur`."""
    if config.jitter is not None:
        image_HWC = _jittered(image_HWC, rng, config.jitter)
    if config.blur is not None:
        image_HWC = _blurred(image_HWC, rng, config.blur)
    return image_HWC


def _jittered(image_HWC: NDArray[np.uint8], rng: np.random.Generator, jitter: JitterConfig) -> NDArray[np.uint8]:
    """Contrast comes before or after the change of colour, by a coin."""
    shift = rng.uniform(-jitter.brightness, jitter.brightness)
    contrast, saturation = rng.uniform(*jitter.contrast), rng.uniform(*jitter.saturation)
    hue = rng.uniform(-jitter.hue, jitter.hue)
    bright, contrasted, saturated, hued = rng.random(4) < jitter.probability
    contrast_first = rng.random() < 0.5
    brightness_levels = _levels(1.0, shift if bright else 0.0)
    contrast_levels = _levels(contrast if contrasted else 1.0)
    image = Image.fromarray(image_HWC).point(brightness_levels * 3)
    if contrast_first:
        image = image.point(contrast_levels * 3)
    if saturated or hued:
        image = _recolored(image, saturation if saturated else 1.0, hue if hued else 0.0)
    return np.array(image if contrast_first else image.point(contrast_levels * 3))


def _blurred(image_HWC: NDArray[np.uint8], rng: np.random.Generator, blur: BlurConfig) -> NDArray[np.uint8]:
    sigma, wanted = rng.uniform(*blur.sigma), rng.random() < blur.probability
    return np.array(Image.fromarray(image_HWC).filter(ImageFilter.GaussianBlur(sigma))) if wanted else image_HWC


def _draw_crop(
    labels_HW: NDArray[np.uint8], config: AugmentConfig, scale: float, rng: np.random.Generator, ignore: int
) -> _Crop:
    height, width = labels_HW.shape
    scaled = max(1, round(height * scale)), max(1, round(width * scale))
    wanted = config.crop or scaled
    size = min(wanted[0], scaled[0]), min(wanted[1], scaled[1])
    rows, columns = height / scaled[0], width / scaled[1]
    for _ in range(config.crop_tries):
        top, left = (int(rng.integers(whole - part + 1)) for whole, part in zip(scaled, size, strict=True))
        # the far edge is clipped: rounding may carry it past the image by a hair
        right, bottom = min((left + size[1]) * columns, width), min((top + size[0]) * rows, height)
        window = _Crop((left * columns, top * rows, right, bottom), size)
        if config.max_class_share is None or _top_share(labels_HW, window, ignore) <= config.max_class_share:
            break
    return window


def _top_share(labels_HW: NDArray[np.uint8], window: _Crop, ignore: int) -> float:
    """The largest class's share of the labelled pixels in a window; 1 where none is labelled.

    A crop of one class teaches little; ignored pixels teach nothing, so they are not among those it is a share of.
    """
    left, top, right, bottom = window.box
    inside_HW = labels_HW[int(top) : math.ceil(bottom), int(left) : math.ceil(right)]
    counts = np.bincount(inside_HW.ravel(), minlength=256)
    counts[ignore] = 0
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


def _cut(array: NDArray[np.uint8], window: _Crop, resample: Image.Resampling) -> NDArray[np.uint8]:
    # only the window is resampled, not the whole scaled image: the same pixels for a fraction of the time
    image = Image.fromarray(np.ascontiguousarray(array))
    return np.array(image.resize((window.size[1], window.size[0]), resample, box=window.box))


def _padded(array: NDArray[np.uint8], size: tuple[int, int], level: int) -> NDArray[np.uint8]:
    if array.shape[:2] == size:
        return np.ascontiguousarray(array)
    padded = np.full((*size, *array.shape[2:]), level, np.uint8)
    padded[: array.shape[0], : array.shape[1]] = array
    return padded


def _levels(factor: float, shift: float = 0.0) -> list[int]:
    """What each level of 0..255 becomes, rounded and clipped."""
    levels: list[int] = np.clip(np.rint(np.arange(256) * factor + shift), 0, 255).astype(int).tolist()
    return levels


def _recolored(image: Image.Image, saturation: float, hue: float) -> Image.Image:
    """Saturation times a factor, hue shifted by steps of 2 degrees; by Pillow's 8-bit HSV, whose hue is 0..255."""
    turn = round(hue * 256 / 180)
    hues = [(level + turn) % 256 for level in range(256)]
    return image.convert("HSV").point([*hues, *_levels(saturation), *range(256)]).convert("RGB")
