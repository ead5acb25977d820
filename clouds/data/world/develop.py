"""From paint numbers to colours, labels and instances; windows, texture, lamp light. It knows no object by name."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clouds.data.world.site import SKY_DEPTH, Site
from clouds.data.world.sketch import SAMPLES, Camera, Facade, Floats, Sketch, Surface

_TILE = 256
_SHOP_HALF = (0.43, 0.36)
_LIT = 5


@dataclass(frozen=True)
class Negative:
    """A scene before light and weather; everything at one value a pixel.

    `color_HWC` in [0, 1]; `glow_HW` the share of own light; `x_HW`, `y_HW`, `z_HW` world positions in metres.
    """

    color_HWC: Floats
    glow_HW: Floats
    labels_HW: NDArray[np.uint8]
    instances_HW: NDArray[np.int32]
    surface_HW: NDArray[np.uint8]
    rough_HW: Floats
    x_HW: Floats
    y_HW: Floats
    z_HW: Floats


def develop(site: Site) -> Negative:
    """Resolves a finished sketch."""
    sketch = site.sketch
    numbers = sketch.numbers()
    surfaces = np.array(sketch.surfaces, np.uint8)
    planes = np.array(sketch.planes, np.float32)
    if sketch.facades:
        _cut_windows(sketch, numbers, surfaces, planes)
    color_HWC, glow_HW = _average_colors(sketch, numbers)
    # the middle sample of each pixel lies on its centre
    center = numbers[SAMPLES // 2 :: SAMPLES, SAMPLES // 2 :: SAMPLES]
    instances_HW = np.array(sketch.instances, np.int32)[center]
    surface_HW, plane_HW = surfaces[center], planes[center]
    rows, columns = (np.arange(n, dtype=np.float32) * SAMPLES + SAMPLES / 2 for n in center.shape)
    right, down = sketch.camera.offsets(columns[None, :], rows[:, None])
    x_HW, y_HW, z_HW = _locate(sketch.camera, right, down, surface_HW, plane_HW)
    return Negative(
        color_HWC=color_HWC,
        glow_HW=glow_HW,
        labels_HW=np.array(sketch.kinds, np.uint8)[instances_HW],
        instances_HW=instances_HW,
        surface_HW=surface_HW,
        rough_HW=np.array(sketch.roughness, np.float32)[center],
        x_HW=x_HW,
        y_HW=y_HW,
        z_HW=z_HW,
    )


def add_texture(negative: Negative, strength: float, offset: tuple[int, int]) -> None:
    """Roughens the colours in place with a pattern that is fixed to the world, coarse and fine."""
    along, up = negative.x_HW, negative.y_HW
    along = np.where(negative.surface_HW == Surface.SIDE, negative.z_HW, along)
    up = np.where(negative.surface_HW == Surface.GROUND, negative.z_HW, up)
    tile = _noise_tile()
    pattern = np.zeros_like(along)
    for samples_per_meter, share in ((6.0, 0.6), (34.0, 0.55)):
        rows = (up * samples_per_meter).astype(np.int32) + offset[0]
        columns = (along * samples_per_meter).astype(np.int32) + offset[1]
        pattern += share * tile[rows % _TILE, columns % _TILE]
    # far away many grains share a pixel and even out
    fading = 1.0 / (1.0 + negative.z_HW / 25.0)
    gain = 1.0 + 0.22 * strength * negative.rough_HW * fading * pattern
    negative.color_HWC[...] *= np.clip(gain, 0.3, 1.8)[..., None]


def lamp_light(negative: Negative, lamps: list[tuple[float, float, float]], reach: float = 4.5) -> Floats:
    """Light of street lamps and of the camera's own headlights on each pixel, (H, W), about [0, 1.5]."""
    light = np.zeros_like(negative.z_HW)
    for x, y, z in sorted(lamps, key=lambda lamp: lamp[2])[:6]:
        distance = (negative.x_HW - x) ** 2 + 0.4 * (negative.y_HW - y + 3.0) ** 2 + (negative.z_HW - z) ** 2
        light += 0.75 / (1.0 + distance / reach**2)
    beam = np.clip(1.0 - np.abs(negative.x_HW) / (2.0 + 0.22 * negative.z_HW), 0.0, 1.0)
    beam *= np.clip(1.6 - negative.y_HW / 1.2, 0.0, 1.0) * np.exp(-negative.z_HW / 16.0)
    light += 0.9 * beam
    light[negative.surface_HW == Surface.SKY] = 0.0
    return light


def _locate(
    camera: Camera, right: Floats, down: Floats, surface: NDArray[np.uint8], plane: Floats
) -> tuple[Floats, Floats, Floats]:
    """World positions of image offsets, given the surfaces they show."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        beside = np.float32(camera.focal) * plane / right
        below = np.float32(camera.focal * camera.height) / down
    z = np.where(surface == Surface.SIDE, beside, np.where(surface == Surface.GROUND, below, plane))
    # a sample at an edge may lie a hair outside its plane's view, where the division runs away
    z = np.clip(z, np.float32(0.5), np.float32(SKY_DEPTH))
    scale = z / np.float32(camera.focal)
    return right * scale, np.float32(camera.height) - down * scale, z


def _average_colors(sketch: Sketch, numbers: NDArray[np.int32]) -> tuple[Floats, Floats]:
    """Colour and glow of each pixel: the mean over its samples."""
    table = np.empty((len(sketch.colors), 4), np.uint8)
    table[:, :3] = sketch.colors
    table[:, 3] = sketch.glows
    packed = table.view(np.uint32)[:, 0].take(numbers)
    # one pass for four channels; a mode without alpha, which would be multiplied into the colours
    fine = Image.frombytes("CMYK", numbers.shape[::-1], packed.tobytes())
    mean = np.asarray(fine.reduce(SAMPLES), np.float32) / 255.0
    return np.ascontiguousarray(mean[..., :3]), mean[..., 3]


def _cut_windows(sketch: Sketch, numbers: NDArray[np.int32], surfaces: NDArray[np.uint8], planes: Floats) -> None:
    """Replaces the paint of walls by that of their windows, in place."""
    is_wall = np.zeros(len(sketch.colors), bool)
    is_wall[list(sketch.facades)] = True
    where = np.flatnonzero(is_wall.take(numbers)).astype(np.int32)
    walls = numbers.ravel().take(where)
    row = where // numbers.shape[1]
    column = where - row * numbers.shape[1]
    half = np.float32(0.5)
    right, down = sketch.camera.offsets(column.astype(np.float32) + half, row.astype(np.float32) + half)
    surface = surfaces.take(walls)
    x, y, z = _locate(sketch.camera, right, down, surface, planes.take(walls))
    along = np.where(surface == Surface.SIDE, z, x)
    numbers.ravel()[where] = walls + _window_paint(sketch.facades, walls, along, y, len(sketch.colors))


def _window_paint(
    facades: dict[int, Facade], walls: NDArray[np.int32], along: Floats, up: Floats, paints: int
) -> NDArray[np.int32]:
    """Which of a wall's paints shows at each sample: 0 wall, 1 window, 2 lit window, 3 ground-floor front."""
    table = np.zeros((7, paints), np.float32)
    for wall, facade in facades.items():
        half = (facade.window_width / 2, facade.window_height / 2)
        table[:, wall] = (1 / facade.pitch, 1 / facade.storey, *half, facade.top - 0.7, facade.lit, facade.shop)
    per_meter, per_storey, wide, high, top, lit, shop = (column.take(walls) for column in table)
    across, level = along * per_meter, up * per_storey
    column, floor = np.floor(across), np.floor(level)
    across -= column + np.float32(0.5)
    level -= floor + np.float32(0.52)
    front = (floor < 1) & (shop > 0)
    wide, high = (np.where(front, np.float32(a), b) for a, b in zip(_SHOP_HALF, (wide, high), strict=True))
    paint = np.where(front, np.int32(3), np.int32(1))
    if table[_LIT].any():
        rows, columns = (column * 7).astype(np.int32) + walls, (floor * 13).astype(np.int32) + walls
        luck = _noise_table()[rows % _TILE, columns % _TILE]
        paint = np.where((luck < lit) & ~front, np.int32(2), paint)
    inside = (np.abs(across) < wide) & (np.abs(level) < high) & (up < top)
    return np.asarray(np.where(inside, paint, 0), np.int32)


@lru_cache(maxsize=1)
def _noise_table() -> Floats:
    """Uniform numbers in [0, 1), (256, 256)."""
    return np.random.default_rng(5).random((_TILE, _TILE), dtype=np.float32)


@lru_cache(maxsize=1)
def _noise_tile() -> Floats:
    """Smooth noise that repeats without a seam, (256, 256), unit deviation."""
    spectrum = np.fft.rfft2(_noise_table())
    rows, columns = np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None, :]
    spectrum *= np.exp(-((rows**2 + columns**2) / (2 * 0.09**2)))
    spectrum[0, 0] = 0
    tile = np.fft.irfft2(spectrum, (_TILE, _TILE))
    return np.asarray(tile / tile.std(), np.float32)
