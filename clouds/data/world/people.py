"""People on foot and bicycles, ridden or parked. It does not choose their places."""

from clouds.data.world.classes import RGB, Kind
from clouds.data.world.dice import shade
from clouds.data.world.site import Site
from clouds.data.world.sketch import Cutout

_SKINS: tuple[RGB, ...] = ((236, 196, 164), (206, 156, 118), (140, 94, 66), (96, 64, 46))
_HAIRS: tuple[RGB, ...] = ((40, 30, 26), (96, 66, 40), (170, 136, 84), (120, 120, 120))
_TROUSERS: tuple[RGB, ...] = ((46, 54, 84), (40, 40, 44), (120, 106, 84), (84, 84, 92))
_TYRE: RGB = (28, 28, 30)
_SPOKES: RGB = (112, 114, 116)
_HUBS, _PEDALS, _SEAT, _BARS = ((-0.52, 0.35), (0.52, 0.35)), (0.02, 0.34), (-0.18, 0.9), (0.42, 0.84)
_FRAME = (
    (_HUBS[0], _SEAT),
    (_HUBS[0], _PEDALS),
    (_PEDALS, _SEAT),
    (_PEDALS, _BARS),
    (_SEAT, _BARS),
    (_HUBS[1], (0.4, 1.02)),
)


def draw_person(site: Site, x: float, z: float) -> None:
    """A person on foot, under an umbrella when it rains."""
    dice = site.dice
    person = site.sketch.cutout(Kind.PERSON, x, z, dice.within((1.55, 1.9)), 1 if dice.chance(0.5) else -1)
    shirt, trousers = site.color(site.setting.place.clothes), site.color(_TROUSERS)
    skin, hair = dice.pick(_SKINS), dice.pick(_HAIRS)
    stride = dice.within((0.0, 0.13))
    if dice.chance(0.2):
        person.fill(trousers, ((-0.11, 0.55), (0.11, 0.55), (0.17, 0.28), (-0.17, 0.28)))
        trousers = skin
    for step, gain in ((-stride, 0.8), (stride, 1.0)):
        person.fill(shade(trousers, gain), ((-0.09, 0.5), (0.09, 0.5), (step + 0.05, 0.03), (step - 0.05, 0.03)))
        person.box(_TYRE, (step - 0.05, step + 0.09), (0.0, 0.04))
    swing = dice.within((-0.05, 0.08))
    person.fill(shade(shirt, 0.8), ((-0.12, 0.82), (-0.18, 0.78), (-0.18 - swing, 0.5), (-0.12 - swing, 0.5)))
    person.fill(shirt, ((-0.14, 0.82), (0.14, 0.82), (0.12, 0.47), (-0.12, 0.47)))
    person.fill(shade(shirt, 0.88), ((0.11, 0.82), (0.18, 0.79), (0.18 + swing, 0.5), (0.12 + swing, 0.5)))
    _draw_head(person, (0.0, 0.905), 0.085, skin, hair)
    if site.setting.weather.rain and dice.chance(0.6):
        _draw_umbrella(person, site.color(site.setting.place.clothes))


def draw_rider(site: Site, x: float, z: float, *, sideways: bool) -> None:
    """A bicycle with its rider: one object."""
    dice = site.dice
    bicycle = site.sketch.cutout(Kind.BICYCLE, x, z, 1.0, 1 if dice.chance(0.5) else -1)
    shirt, trousers = site.color(site.setting.place.clothes), site.color(_TROUSERS)
    skin, frame = dice.pick(_SKINS), site.color(site.setting.place.cars)
    if sideways:
        _draw_bicycle(bicycle, frame)
        bicycle.fill(trousers, ((-0.22, 0.98), (-0.02, 1.0), (0.28, 0.72), (0.14, 0.3), (0.02, 0.32), (0.12, 0.68)))
        bicycle.fill(shirt, ((-0.26, 0.95), (0.02, 0.95), (0.32, 1.42), (0.1, 1.54)))
        bicycle.stroke(shade(shirt, 0.85), (0.22, 1.4), (0.5, 1.08), 0.1)
        _draw_head(bicycle, (0.3, 1.62), 0.14, skin, dice.pick(_HAIRS))
        return
    bicycle.box(_TYRE, (-0.07, 0.07), (0.0, 0.66))
    bicycle.fill(frame, ((-0.05, 0.5), (0.05, 0.5), (0.04, 1.0), (-0.04, 1.0)))
    for side in (-1, 1):
        bicycle.fill(shade(trousers, 0.9 + 0.1 * side), ((side * 0.04, 1.0), (side * 0.2, 1.0), (side * 0.19, 0.35),
                                                         (side * 0.08, 0.3)))  # fmt: skip
        bicycle.fill(shade(shirt, 0.85), ((side * 0.16, 1.5), (side * 0.26, 1.46), (side * 0.32, 1.08),
                                          (side * 0.24, 1.05)))  # fmt: skip
    bicycle.fill(shirt, ((-0.22, 1.52), (0.22, 1.52), (0.18, 0.92), (-0.18, 0.92)))
    bicycle.stroke(_TYRE, (-0.34, 1.05), (0.34, 1.05), 0.06)
    _draw_head(bicycle, (0.0, 1.66), 0.14, skin, dice.pick(_HAIRS))


def draw_parked_bicycle(site: Site, x: float, z: float) -> None:
    """A bicycle without a rider."""
    flip = 1 if site.dice.chance(0.5) else -1
    _draw_bicycle(site.sketch.cutout(Kind.BICYCLE, x, z, 1.0, flip), site.color(site.setting.place.cars))


def _draw_bicycle(bicycle: Cutout, frame: RGB) -> None:
    """A bicycle from the side; its wheels are full discs, as annotators draw them."""
    for x in (-0.52, 0.52):
        bicycle.disc(_TYRE, (x, 0.35), 0.36)
        bicycle.disc(_SPOKES, (x, 0.35), 0.26)
    for start, end in _FRAME:
        bicycle.stroke(frame, start, end, 0.07)
    bicycle.box(_TYRE, (-0.3, -0.06), (0.9, 0.98))
    bicycle.stroke(_TYRE, (0.34, 1.04), (0.52, 1.06), 0.06)


def _draw_head(figure: Cutout, center: tuple[float, float], radius: float, skin: RGB, hair: RGB) -> None:
    x, y = center
    figure.disc(hair, (x, y + 0.15 * radius), radius, tall=1.1)
    figure.disc(skin, (x, y - 0.2 * radius), 0.8 * radius)


def _draw_umbrella(person: Cutout, color: RGB) -> None:
    person.stroke(_TYRE, (0.16, 0.6), (0.16, 1.1), 0.015)
    person.fill(color, ((-0.22, 1.02), (-0.14, 1.12), (0.04, 1.19), (0.28, 1.19), (0.46, 1.12), (0.54, 1.02)))
