"""Chooses what stands where on a street and draws it from far to near. It does not know how a thing looks."""

from collections.abc import Callable
from functools import partial

from clouds.data.world import furniture, people, vehicles
from clouds.data.world.dice import Range
from clouds.data.world.ground import draw_ground, draw_sky
from clouds.data.world.houses import House, draw_distance, draw_house
from clouds.data.world.site import FAR, Site

_SIDES = (-1, 1)
_LANE_AHEAD = (8.5, 15.5, 24.0, 36.0)
_LANE_ONCOMING = (7.0, 13.0, 20.0, 29.0, 42.0)
_KERB_CAR = (6.0, 12.0, 18.0, 25.0, 33.0)


class _Parts:
    """Things to draw, each with the depth that decides its turn."""

    def __init__(self) -> None:
        self._parts: list[tuple[float, int, Callable[[], None]]] = []

    def add(self, depth: float, draw: Callable[[], None]) -> None:
        """Adds a thing; of two at one depth the later one is in front."""
        self._parts.append((-depth, len(self._parts), draw))

    def draw(self) -> None:
        """Draws everything from far to near."""
        for _, _, draw in sorted(self._parts, key=lambda part: part[:2]):
            draw()


def draw_scene(site: Site) -> None:
    """Draws one whole street."""
    draw_sky(site)
    draw_distance(site)
    draw_ground(site)
    parts = _Parts()
    for side in _SIDES:
        _add_plots(site, parts, side)
        _add_kerb(site, parts, side)
    _add_cars(site, parts)
    _add_people(site, parts)
    parts.draw()


def _add_plots(site: Site, parts: _Parts, side: int) -> None:
    """Houses and gardens along one side; a side street leaves a hole."""
    dice, place, street = site.dice, site.setting.place, site.street
    z = dice.within((1.5, 6.0))
    while z < FAR:
        width = dice.within(place.building_width)
        if street.is_crossing(z, z + width):
            assert street.crossing is not None
            if street.crossing[0] - z < 3.5:
                z = street.crossing[1]
                continue
            width = street.crossing[0] - z
        if dice.chance(place.gap):
            _add_garden(site, parts, side, (z, z + width))
        else:
            x = street.front(side) + side * dice.within(place.setback)
            gabled = dice.chance(place.gabled)
            house = House(x, (z, z + width), dice.within(place.building_height), gabled)
            # beside the street nothing can hide a wall from the camera but what is nearer than its far end
            parts.add(z + width, partial(draw_house, site, house))
        z += width + (dice.within((0.5, 2.5)) if place.setback[1] > 1.5 else 0.0)


def _add_garden(site: Site, parts: _Parts, side: int, z: Range) -> None:
    dice, front = site.dice, site.street.front(side)
    near, far = z
    for _ in range(dice.count((1, 2))):
        depth = dice.within((near + 1.0, far))
        parts.add(depth, partial(furniture.draw_tree, site, front + side * dice.within((2.0, 5.0)), depth))
    if dice.chance(0.6):
        x, depth = front + side * (0.8 if side > 0 else 5.0), dice.within((near + 0.5, far - 0.5))
        parts.add(depth, partial(furniture.draw_hedge, site, x, depth, 4.0))
    if dice.chance(site.setting.place.fence_share):
        _add_fence(site, parts, front + 0.1 * side, z)
        if near > 5.0:
            across = (front, front + 8.0 * side)
            # it closes the garden behind the house before it, whose far end has the same depth
            parts.add(near + 0.01, partial(furniture.draw_fence_across, site, across, near))


def _add_fence(site: Site, parts: _Parts, x: float, z: Range, *, low: bool = False) -> None:
    """A fence in pieces: short enough that each is wholly before or behind whatever stands beside it."""
    fence = furniture.plan_fence(site, x, low=low)
    near, end = z
    while near < end:
        far = min(end, near + 2.0)
        parts.add(far, partial(furniture.draw_fence, site, fence, (near, far)))
        near = far


def _add_kerb(site: Site, parts: _Parts, side: int) -> None:
    """Trees, poles, signs, traffic lights and railings along one side."""
    dice, place, street = site.dice, site.setting.place, site.street
    kerb, inner = street.kerb(side), street.kerb(side) + 0.45 * side
    z = dice.within((5.0, 8.0))
    while z < 45.0:
        if not street.is_crossing(z, z):
            choice = _choose_kerb(site, z)
            if choice is not None:
                parts.add(z, partial(choice, site, inner, z))
        z += dice.within((2.5, 5.5))
    if street.crossing is not None and dice.chance(place.signal_share * 4):
        at = street.crossing[0] - 1.0
        parts.add(at, partial(furniture.draw_signal, site, inner, at))
    if dice.chance(place.fence_share * 0.6):
        start = dice.within((6.0, 14.0))
        end = start + dice.within((5.0, 12.0))
        if not street.is_crossing(start - 4.0, end):
            _add_fence(site, parts, kerb + 0.25 * side, (start, end), low=True)


def _choose_kerb(site: Site, z: float) -> Callable[[Site, float, float], None] | None:
    """One kind of kerb furniture, or nothing; signs far away would be smaller than a pixel."""
    place, roll = site.setting.place, site.dice.random()
    options = (
        (place.tree_share, furniture.draw_tree),
        (place.lamp_share * 0.7, furniture.draw_lamp),
        (place.lamp_share * 0.3, furniture.draw_post),
        (place.sign_share * 0.6, furniture.draw_sign if z < 24.0 else furniture.draw_post),
        (place.signal_share * 0.5, furniture.draw_signal if z < 24.0 else furniture.draw_post),
    )
    for share, draw in options:
        roll -= share
        if roll < 0:
            return draw
    return None


def _add_cars(site: Site, parts: _Parts) -> None:
    place, dice, street = site.setting.place, site.dice, site.street
    oncoming = street.kerbs[0] + street.kerbs[1]
    slots = [(0.0, z, True) for z in _LANE_AHEAD] + [(oncoming, z, False) for z in _LANE_ONCOMING]
    for x, z, ahead in _draw_lots(site, slots, dice.count(place.moving)):
        _add_car(site, parts, x + dice.within((-0.3, 0.3)), z + dice.within((-1.0, 1.0)), ahead)
    own = 1 if place.drive_right else -1
    slots = [(street.kerb(side), z, side == own) for side in _SIDES for z in _KERB_CAR]
    for kerb, z, ahead in _draw_lots(site, slots, dice.count(place.parked)):
        if not street.is_crossing(z - 2.0, z + 6.0):
            # on narrow streets people park half on the sidewalk
            inset = min(1.15, 0.1 * (street.kerbs[1] - street.kerbs[0]))
            _add_car(site, parts, kerb + (inset if kerb < 0 else -inset), z + dice.within((-0.6, 0.6)), ahead)
    if street.crossing is not None and dice.chance(0.3):
        body = dice.pick(vehicles.BODIES)
        near = sum(street.crossing) / 2 - body.width / 2
        pose = vehicles.Pose(dice.within((-6.0, 3.0)), near, body, False, dice.chance(0.5))
        parts.add(near, partial(vehicles.draw_car, site, pose, site.color(place.cars)))


def _add_car(site: Site, parts: _Parts, center: float, z: float, ahead: bool) -> None:
    body = site.dice.pick(vehicles.BODIES)
    pose = vehicles.Pose(center - body.width / 2, z, body, True, ahead)
    parts.add(z, partial(vehicles.draw_car, site, pose, site.color(site.setting.place.cars)))


def _draw_lots(site: Site, slots: list[tuple[float, float, bool]], count: int) -> list[tuple[float, float, bool]]:
    """That many of the slots, near ones more often."""
    dice = site.dice
    ranked = sorted(slots, key=lambda slot: dice.random() * (10.0 + slot[1]))
    return ranked[:count]


def _add_people(site: Site, parts: _Parts) -> None:
    place, dice, street = site.setting.place, site.dice, site.street
    for _ in range(dice.count(place.people)):
        z = dice.within((6.0, 14.0) if dice.chance(0.6) else (14.0, 26.0))
        parts.add(z, partial(people.draw_person, site, _walker_position(site), z))
    if street.crossing is not None and dice.chance(0.35):
        z = street.crossing[0] - dice.within((1.5, 3.5))
        parts.add(z, partial(people.draw_person, site, dice.within(street.kerbs), z))
    for _ in range(dice.count(place.bicycles)):
        z, side = dice.within((6.0, 17.0)), dice.pick(_SIDES)
        if dice.chance(0.3):
            x = street.kerb(side) + 0.9 * side
            parts.add(z, partial(people.draw_parked_bicycle, site, x, z))
        else:
            x = street.kerb(side) - side * dice.within((0.4, 1.4))
            parts.add(z, partial(people.draw_rider, site, x, z, sideways=dice.chance(0.5)))


def _walker_position(site: Site) -> float:
    """A lateral position on one of the sidewalks."""
    side = site.dice.pick(_SIDES)
    kerb, front = site.street.kerb(side), site.street.front(side)
    return kerb + (front - kerb) * site.dice.within((0.2, 0.85))
