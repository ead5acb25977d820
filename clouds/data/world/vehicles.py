"""Cars, seen from behind, from ahead or from the side. It does not choose their places."""

from dataclasses import dataclass

from clouds.data.world.classes import RGB, Kind
from clouds.data.world.dice import Range, shade
from clouds.data.world.site import Site
from clouds.data.world.sketch import Point3, Surface

_GLASS: RGB = (44, 54, 68)
_TYRE: RGB = (24, 24, 26)
_HUB: RGB = (136, 138, 142)
_RED: RGB = (214, 30, 30)
_WHITE: RGB = (250, 244, 220)
_PLATE: RGB = (232, 232, 222)

_SILL = 0.22
_TUMBLE = 0.1
"""How far the cabin's sides lean in at the roof, as a share of the width."""
_WHEEL = ((1, 0), (0.71, 0.71), (0, 1), (-0.71, 0.71), (-1, 0), (-0.71, -0.71), (0, -1), (0.71, -0.71))


@dataclass(frozen=True)
class Body:
    """Sizes in metres; the cabin's ends as shares of the length from the back, at its foot and its top."""

    length: float
    width: float
    height: float
    belt: float
    foot: Range
    top: Range


BODIES: tuple[Body, ...] = (
    Body(4.4, 1.8, 1.45, 0.88, (0.1, 0.76), (0.22, 0.58)),  # saloon
    Body(3.8, 1.75, 1.5, 0.9, (0.02, 0.78), (0.1, 0.6)),  # hatchback
    Body(3.2, 1.55, 1.5, 0.86, (0.04, 0.82), (0.16, 0.62)),  # small car
    Body(4.9, 1.95, 2.05, 1.05, (0.0, 0.88), (0.02, 0.76)),  # van
)


@dataclass(frozen=True)
class Pose:
    """Where a car is: `x` and `z` of its nearest left corner, and what it shows."""

    x: float
    z: float
    body: Body
    along: bool
    """Whether it stands along the street, else across."""
    ahead: bool
    """Whether its front is turned away from the camera, or to the right if it stands across."""

    def at(self, along: float, across: float, up: float) -> Point3:
        """The world point at a share of the length from the back, of the width from the left, and a height."""
        share = along if self.ahead else 1 - along
        if self.along:
            return self.x + across * self.body.width, up, self.z + share * self.body.length
        return self.x + share * self.body.length, up, self.z + across * self.body.width

    @property
    def flank(self) -> float | None:
        """The visible long side as a share of the width, if one is seen."""
        if not self.along or self.x > 0:
            return 0.0
        return 1.0 if self.x + self.body.width < 0 else None

    @property
    def end(self) -> float | None:
        """The visible end as a share of the length: 0 the back, 1 the front."""
        near, far = (0.0, 1.0) if self.ahead else (1.0, 0.0)
        if self.along or self.x > 0:
            return near
        return far if self.x + self.body.length < 0 else None


class _Car:
    """One car in the making: parts are given in its own coordinates, those of `Pose.at`."""

    def __init__(self, site: Site, pose: Pose, color: RGB) -> None:
        self.pose, self.body, self.color = pose, pose.body, color
        self.lights_on = site.glow > 0 or site.setting.weather.dim < 0.9
        self._sketch = site.sketch
        self._instance = site.sketch.add_instance(Kind.CAR)
        site.car_colors[self._instance] = color

    def part(self, color: RGB, points: list[Point3], glow: float = 0.0) -> None:
        """Paints a polygon."""
        paint = self._sketch.add_paint(color, self._instance, Surface.FACING, self.pose.z, glow=glow)
        self._sketch.fill(paint, [self.pose.at(*point) for point in points])

    def level(self, color: RGB, along: Range, across: Range, up: float) -> None:
        """Paints a level rectangle."""
        (back, front), (left, right) = along, across
        self.part(color, [(back, left, up), (front, left, up), (front, right, up), (back, right, up)])

    def plate(self, color: RGB, end: float, across: Range, up: Range, glow: float = 0.0) -> None:
        """Paints an upright rectangle on the back (0) or the front (1)."""
        (left, right), (low, high) = across, up
        self.part(color, [(end, left, low), (end, right, low), (end, right, high), (end, left, high)], glow)


def draw_car(site: Site, pose: Pose, color: RGB) -> None:
    """A car with windows, wheels and lights; of its faces those that the camera can see, far to near."""
    car, body = _Car(site, pose, color), pose.body
    top = site.snowed(shade(color, 1.1))
    car.level(_TYRE, (0.02, 0.98), (0, 1), 0.0)
    car.level(top, (0, 1), (0, 1), body.belt)
    if pose.flank is not None:
        _draw_flank(car, pose.flank)
    if pose.end is not None:
        _draw_end(car, pose.end)
    if body.height < site.sketch.camera.height:
        car.level(top, body.top, (_TUMBLE, 1 - _TUMBLE), body.height)


def _draw_flank(car: _Car, side: float) -> None:
    """The long side: sill to belt, cabin, two windows, wheels."""
    body = car.body
    back, front, pillar = *body.foot, sum(body.foot) / 2
    lean = _TUMBLE if side == 0 else 1 - _TUMBLE
    lower = shade(car.color, 0.85)
    car.part(lower, [(0, side, _SILL), (1, side, _SILL), (1, side, body.belt), (0, side, body.belt)])
    for color, margin in ((shade(car.color, 0.9), 0.0), (_GLASS, 0.14)):
        pad, rise = margin * (front - back) * 0.5, margin * (body.height - body.belt)
        low, high = body.belt + 0.4 * rise, body.height - rise
        foot = [(back + pad, side, low), (front - pad, side, low)]
        car.part(color, [*foot, (body.top[1] - 0.6 * pad, lean, high), (body.top[0] + 0.6 * pad, lean, high)])
    foot = [(pillar - 0.015, side, body.belt), (pillar + 0.015, side, body.belt)]
    car.part(shade(car.color, 0.9), [*foot, (pillar + 0.015, lean, body.height), (pillar - 0.015, lean, body.height)])
    for center in (0.18, 0.8):
        for color, radius in ((_TYRE, 0.33), (_HUB, 0.17)):
            car.part(color, [(center + a * radius / body.length, side, 0.33 + b * radius) for a, b in _WHEEL])


def _draw_end(car: _Car, end: float) -> None:
    """The back (0) or the front (1): window, wheels, bumper, plate, lights."""
    body, front = car.body, end == 1.0
    foot, top = body.foot[front], body.top[front]
    for color, gap, rise in ((car.color, 0.0, 0.0), (shade(_GLASS, 1.25), 0.07, 0.05)):
        low, high, inset = body.belt + rise, body.height - 2 * rise, gap + _TUMBLE
        car.part(color, [(foot, gap, low), (foot, 1 - gap, low), (top, 1 - inset, high), (top, inset, high)])
    for left in (0.06, 0.76):
        car.plate(_TYRE, end, (left, left + 0.18), (0, 0.4))
    car.plate(car.color, end, (0, 1), (_SILL, body.belt))
    car.plate(shade(car.color, 0.6), end, (0, 1), (_SILL, 0.42))
    car.plate(_PLATE, end, (0.36, 0.64), (0.44, 0.56))
    lamp, glow = (_WHITE, 1.0) if front else (_RED, 0.7)
    for left in (0.04, 0.74):
        car.plate(lamp, end, (left, left + 0.22), (0.62, 0.8), glow * car.lights_on)
