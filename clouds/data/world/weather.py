"""Light, air, rain, snow and lens: from a developed negative to the picture. It knows no object of the scene."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from clouds.data.world.classes import Kind
from clouds.data.world.develop import Negative, add_texture, lamp_light
from clouds.data.world.dice import Dice, Range
from clouds.data.world.looks import Grade
from clouds.data.world.site import Site
from clouds.data.world.sketch import Floats

_GREY = np.array((0.299, 0.587, 0.114), np.float32)


def expose(site: Site, negative: Negative, dice: Dice) -> NDArray[np.uint8]:
    """The picture as uint8 RGB (H, W, 3): surface, light, air, ground, what falls, lens, film, in this order."""
    setting = site.setting
    weather = setting.weather
    if setting.texture:
        add_texture(negative, setting.texture, (dice.count((0, 255)), dice.count((0, 255))))
    picture = _light(site, negative)
    if setting.fog:
        picture = _fog(picture, negative, setting.fog, _air_color(site))
    if weather.wet:
        picture = _reflect(picture, negative, site, weather.wet)
    if site.glow:
        picture = _bloom(picture, negative, site.glow)
    if weather.rain:
        picture = _rain(picture, dice, weather.rain)
    if weather.flakes:
        picture = _snow(picture, dice, weather.flakes)
    picture = _print(picture, setting.grade, dice)
    return (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _light(site: Site, negative: Negative) -> Floats:
    """Daylight on everything but what glows, lamp light added; the sky gives its own light."""
    light = site.setting.light
    ambient = np.array(light.ambient, np.float32) * np.float32(site.setting.weather.dim)
    if not site.glow and (ambient == 1.0).all():
        return negative.color_HWC
    level = np.broadcast_to(ambient, negative.color_HWC.shape)
    if site.glow:
        lamps = (lamp_light(negative, site.lamps) * site.glow)[..., None]
        level = level + lamps * np.array(light.lamp_color, np.float32)
    # the sky's colours are already those of the hour
    is_sky = negative.labels_HW == Kind.SKY
    own = np.where(is_sky, np.float32(site.setting.weather.dim**0.5), negative.glow_HW)[..., None]
    shone_on = np.where(is_sky, np.float32(0.0), 1.0 - negative.glow_HW)[..., None]
    return np.asarray(negative.color_HWC * (level * shone_on + own), np.float32)


def _air_color(site: Site) -> Floats:
    """The colour of the air: the weather's by day, dark by night."""
    light, weather = site.setting.light, site.setting.weather
    level = np.minimum(np.array(light.ambient, np.float32) * 1.1, 1.0) * np.float32(weather.dim)
    return np.asarray(np.array(weather.fog_color, np.float32) / 255.0 * level, np.float32)


def _fog(picture: Floats, negative: Negative, per_meter: float, air: Floats) -> Floats:
    """Koschmieder's law: what remains of a colour falls off exponentially with distance, the air takes its place."""
    remains = np.exp(-per_meter * negative.z_HW)
    # glowing things pierce the fog further
    remains = np.maximum(remains, 0.6 * negative.glow_HW * np.sqrt(remains))[..., None]
    return np.asarray(picture * remains + air * (1.0 - remains), np.float32)


def _reflect(picture: Floats, negative: Negative, site: Site, strength: float) -> Floats:
    """Wet ground: each road pixel shows some of what lies as far above the horizon as it lies below."""
    height = picture.shape[0]
    horizon = site.sketch.camera.horizon_y / site.sketch.shape[0] * height
    mirrored = np.clip((2 * horizon - np.arange(height)).astype(np.int32), 0, height - 1)
    image = picture[mirrored]
    down = max(1, height // 32)
    image = (image + np.roll(image, down, 0) + np.roll(image, -down, 0)) / 3.0
    wetness = np.zeros(len(Kind), np.float32)
    wetness[Kind.ROAD], wetness[Kind.SIDEWALK] = strength, 0.5 * strength
    wet = wetness[negative.labels_HW][..., None]
    share = 0.55 * wet
    return np.asarray(picture * (1.0 - 0.25 * wet) * (1.0 - share) + image * share, np.float32)


def _bloom(picture: Floats, negative: Negative, strength: float) -> Floats:
    """Halos around what glows."""
    source = picture * negative.glow_HW[..., None]
    radius = max(1.0, picture.shape[0] * 0.035)
    return picture + 0.9 * strength * _blur(source, radius)


def _rain(picture: Floats, dice: Dice, density: float) -> Floats:
    """Streaks, and drops on the lens that smear what lies behind them."""
    height, width = picture.shape[:2]
    unit = height / 64
    veil = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(veil)
    slant = dice.within((-0.35, 0.35))
    for _ in range(int(density * 45 * max(1.0, width / height / 2))):
        x, y, length = dice.within((0, width)), dice.within((-8 * unit, height)), dice.within((3, 9)) * unit
        level, thick = int(dice.within((40, 130))), max(1, round(0.35 * unit))
        draw.line([(x, y), (x + slant * length, y + length)], fill=level, width=thick)
    share = _mask(veil)
    picture = picture * (1.0 - share) + 0.82 * share
    drops = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(drops)
    for _ in range(dice.count((2, 7))):
        _dot(draw, (dice.within((0, width)), dice.within((0, height))), dice.within((1.5, 4.5)) * unit, 200)
    share = _mask(drops.filter(ImageFilter.GaussianBlur(0.5 * unit)))
    return np.asarray(picture * (1.0 - share) + _blur(picture, 3.0 * unit)[::-1] * share, np.float32)


def _snow(picture: Floats, dice: Dice, density: float) -> Floats:
    """Flakes: many small ones, some large ones near the lens."""
    height, width = picture.shape[:2]
    unit, scale = height / 64, 2
    veil = Image.new("L", (width * scale, height * scale), 0)
    draw = ImageDraw.Draw(veil)
    sizes: tuple[tuple[int, Range], ...] = ((110, (0.25, 0.6)), (18, (0.7, 1.4)))
    for number, radii in sizes:
        for _ in range(int(density * number * dice.within((0.6, 1.2)))):
            center = (dice.within((0, width)) * scale, dice.within((0, height)) * scale)
            _dot(draw, center, dice.within(radii) * unit * scale, int(dice.within((150, 250))))
    share = _mask(veil.reduce(scale))
    return np.asarray(picture * (1.0 - share) + 0.97 * share, np.float32)


def _print(picture: Floats, grade: Grade, dice: Dice) -> Floats:
    """Blur, saturation, tint, contrast and grain of the camera."""
    if grade == Grade():
        return picture
    height, width, _ = picture.shape
    if grade.blur * height > 0.15:
        picture = _blur(picture, grade.blur * height)
    grey = (picture @ _GREY)[..., None]
    picture = (grey + (picture - grey) * np.float32(grade.saturation)) * np.array(grade.tint, np.float32)
    mean = picture.mean()
    picture = mean + (picture - mean) * np.float32(grade.contrast)
    noise = dice.rng.standard_normal((height, width, 1), dtype=np.float32)
    return np.asarray(picture + np.float32(grade.grain) * noise, np.float32)


def _blur(picture: Floats, radius: float) -> Floats:
    image = Image.fromarray((np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255.0


def _mask(image: Image.Image) -> Floats:
    return np.asarray(image, np.float32)[..., None] / 255.0


def _dot(draw: ImageDraw.ImageDraw, center: tuple[float, float], radius: float, level: int) -> None:
    x, y = center
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=level)
