"""Sky and ground: clouds, lawns, sidewalks, road and its markings. It does not know what stands on them."""

import math

from clouds.data.world.classes import RGB, Kind
from clouds.data.world.dice import blend, shade
from clouds.data.world.site import FAR, NEAR, SKY_DEPTH, Site
from clouds.data.world.sketch import Surface

_BANDS = 20
_CLOUD_DEPTH = 1000.0
_WIDE = 150.0
_END = 2000.0


def draw_sky(site: Site) -> None:
    """Sky from the top of the picture to below the horizon, clouds, moon at night."""
    sketch, light = site.sketch, site.setting.light
    sky = sketch.add_instance(Kind.SKY)
    top, low = site.color(light.sky_top), site.color(light.sky_low)
    grey = site.setting.weather.overcast
    top, low = blend(top, _grey(top), grey), blend(low, _grey(low), grey)
    height, width = sketch.shape
    bands = _BANDS if top != low else 1
    rise, span = sketch.camera.horizon_y + 0.1 * height, 1.5 * width
    for band in range(bands):
        paint = sketch.add_paint(blend(top, low, (band / bands) ** 1.3), sky, Surface.SKY, SKY_DEPTH)
        y = rise * band / bands if band else -height
        sketch.fill_flat(paint, [(-span, y), (span, y), (span, 2 * height), (-span, 2 * height)])
    for _ in range(site.dice.count(light.clouds)):
        _draw_cloud(site, sky, blend(light.cloud_color, _grey(low), 0.7 * grey))


def draw_ground(site: Site) -> None:
    """Everything that lies on the ground, far to near does not matter: it is flat."""
    sketch, street, place = site.sketch, site.street, site.setting.place
    lawn = sketch.add_instance(Kind.VEGETATION)
    grass = sketch.add_paint(site.snowed(site.color(place.lawns)), lawn, Surface.GROUND, rough=1.0)
    sketch.ground(grass, (-_END, _END), (NEAR, _END))
    stone = site.color(place.sidewalks)
    for side in (-1, 1):
        _draw_sidewalk(site, side, stone)
    road = sketch.add_instance(Kind.ROAD)
    asphalt = site.color(place.roads)
    color = site.snowed(asphalt, 0.75)
    surface = sketch.add_paint(color, road, Surface.GROUND, rough=0.8)
    sketch.ground(surface, street.kerbs, (NEAR, _END))
    if street.crossing is not None:
        sketch.ground(surface, (-_WIDE, _WIDE), street.crossing)
    if site.setting.cover:
        _draw_tracks(site, road, blend(color, asphalt, 0.6))
    _draw_markings(site, road, blend(site.color(place.markings), color, min(0.9, 0.9 * site.setting.cover)))


def _grey(color: RGB) -> RGB:
    level = sum(color) / 3
    return int(level), int(level), int(min(255, level * 1.02))


def _draw_cloud(site: Site, sky: int, color: RGB) -> None:
    sketch, dice = site.sketch, site.dice
    paint = sketch.add_paint(site.dice.vary(color, site.setting.variety * 0.4), sky, Surface.SKY, SKY_DEPTH)
    x, y, size = dice.within((-800, 800)), dice.within((130, 480)), dice.within((35, 75))
    for _ in range(dice.count((3, 5))):
        wide, high = size * dice.within((0.8, 1.6)), size * dice.within((0.25, 0.5))
        turns = [k * math.pi / 5 for k in range(10)]
        sketch.fill(paint, [(x + wide * math.cos(t), y + high * math.sin(t), _CLOUD_DEPTH) for t in turns])
        x, y = x + size * dice.within((0.5, 1.1)), y + size * dice.within((-0.2, 0.2))


def _draw_sidewalk(site: Site, side: int, color: RGB) -> None:
    sketch, street = site.sketch, site.street
    walk = sketch.add_instance(Kind.SIDEWALK)
    kerb, front = street.kerb(side), street.front(side)
    paint = sketch.add_paint(site.snowed(color, 0.95), walk, Surface.GROUND, rough=0.7)
    sketch.ground(paint, (kerb, front), (NEAR, _END))
    edge = sketch.add_paint(site.snowed(shade(color, 1.12), 0.8), walk, Surface.GROUND)
    sketch.ground(edge, (kerb, kerb + 0.2 * side), (NEAR, _END))
    joint = sketch.add_paint(site.snowed(shade(color, 0.9), 0.95), walk, Surface.GROUND)
    for step in range(2, 14):
        z = step * 2.0
        sketch.ground(joint, (kerb + 0.2 * side, front), (z, z + 0.12))


def _draw_tracks(site: Site, road: int, color: RGB) -> None:
    sketch, (left, right) = site.sketch, site.street.kerbs
    paint = sketch.add_paint(color, road, Surface.GROUND, rough=1.2)
    for lane in (0.0, left + right):
        for wheel in (-0.75, 0.75):
            x = lane + wheel + site.dice.within((-0.15, 0.15))
            sketch.ground(paint, (x - 0.22, x + 0.22), (NEAR, FAR))


def _draw_markings(site: Site, road: int, color: RGB) -> None:
    sketch, street = site.sketch, site.street
    paint = sketch.add_paint(color, road, Surface.GROUND, rough=0.5)
    left, right = street.kerbs
    middle, z = (left + right) / 2, site.dice.within((1.0, 4.0))
    while z < FAR:
        if not street.is_crossing(z, z + 3.0):
            sketch.ground(paint, (middle - 0.08, middle + 0.08), (z, z + 3.0))
        z += 6.0
    for kerb, inward in ((left, 1), (right, -1)):
        line = kerb + 0.35 * inward
        near = NEAR
        if street.crossing is not None:
            sketch.ground(paint, (line, line + 0.12), (near, street.crossing[0]))
            near = street.crossing[1]
        sketch.ground(paint, (line, line + 0.12), (near, FAR))
    if street.crossing is not None:
        _draw_zebra(site, paint, street.crossing[0] - 4.0)


def _draw_zebra(site: Site, paint: int, z: float) -> None:
    left, right = site.street.kerbs
    x = left + 0.5
    while x + 0.5 < right:
        site.sketch.ground(paint, (x, x + 0.5), (z, z + 3.0))
        x += 1.0
