"""Buildings along the street and at its far end. It knows nothing of what stands before them."""

from dataclasses import dataclass

from clouds.data.world.classes import RGB, Kind
from clouds.data.world.dice import Range, blend, shade
from clouds.data.world.site import FAR, Site
from clouds.data.world.sketch import Facade, Surface

_GLASS: RGB = (58, 72, 92)
_LAMP_LIGHT: RGB = (255, 214, 140)
_DEPTH = 9.0
_EAVE = 0.6


@dataclass(frozen=True)
class House:
    """One building: `x` is its front on the street (negative left), `z` the stretch of street it takes."""

    x: float
    z: Range
    height: float
    gabled: bool

    @property
    def side(self) -> int:
        """-1 on the left of the street, 1 on the right."""
        return 1 if self.x > 0 else -1


def draw_house(site: Site, house: House) -> None:
    """A house seen from the street: the wall along it, the wall across, and the roof."""
    sketch, place, light = site.sketch, site.setting.place, site.setting.light
    building = sketch.add_instance(Kind.BUILDING)
    color, roof = site.color(place.facades), site.snowed(site.color(place.roofs))
    facade = _choose_facade(site, house.height)
    near, far = house.z
    x, back, top = house.x, house.x + house.side * _DEPTH, house.height
    # the sun stands on the left: walls that look left are bright, the others lie in shade
    gain = 1.0 + light.sun * (0.5 if house.side > 0 else -0.5)
    across = _wall(site, building, shade(color, 1.0 - 0.3 * light.sun), Surface.FACING, near, facade)
    sketch.fill(across, ((x, 0, near), (back, 0, near), (back, top, near), (x, top, near)))
    if house.gabled:
        _draw_gable(site, house, building, roof, shade(color, 1.0 - 0.3 * light.sun))
    along = _wall(site, building, shade(color, gain), Surface.SIDE, x, facade)
    sketch.fill(along, ((x, 0, near), (x, top, near), (x, top, far), (x, 0, far)))
    if house.gabled:
        _draw_eave(site, house, building, roof)
    else:
        trim = sketch.add_paint(roof, building, Surface.SIDE, x)
        sketch.fill(trim, ((x, top, near), (x, top + 0.5, near), (x, top + 0.5, far), (x, top, far)))
        cap = sketch.add_paint(shade(roof, 0.9), building, Surface.FACING, near)
        sketch.fill(cap, ((x, top, near), (x, top + 0.5, near), (back, top + 0.5, near), (back, top, near)))


def draw_distance(site: Site) -> None:
    """What closes the view: woods and far houses at the end of the street."""
    sketch, place, dice = site.sketch, site.setting.place, site.dice
    woods = sketch.add_instance(Kind.VEGETATION)
    leaf = sketch.add_paint(site.snowed(site.color(place.leaves), 0.4), woods, Surface.FACING, FAR + 20, rough=1.0)
    x = -200.0
    while x < 200.0:
        wide, high = dice.within((14, 34)), dice.within((3, 8))
        sketch.fill(leaf, ((x, -1, FAR + 20), (x + wide, -1, FAR + 20), (x + wide * 0.8, high, FAR + 20),
                           (x + wide * 0.3, high * 1.15, FAR + 20)))  # fmt: skip
        x += wide * 0.7
    x = -60.0
    while x < 60.0:
        wide = dice.within((10, 22))
        if dice.chance(0.6):
            _draw_far_house(site, (x, x + wide), 0.7 * dice.within(place.building_height))
        x += wide


def _draw_far_house(site: Site, x: Range, top: float) -> None:
    building = site.sketch.add_instance(Kind.BUILDING)
    color = shade(site.color(site.setting.place.facades), 0.95)
    wall = _wall(site, building, color, Surface.FACING, FAR, _choose_facade(site, top))
    site.sketch.fill(wall, ((x[0], 0, FAR), (x[1], 0, FAR), (x[1], top, FAR), (x[0], top, FAR)))
    if site.dice.chance(site.setting.place.gabled):
        color = site.snowed(site.color(site.setting.place.roofs))
        roof = site.sketch.add_paint(color, building, Surface.FACING, FAR, rough=0.9)
        (left, right), ridge = x, top + 4.0
        site.sketch.fill(roof, ((left - 1, top, FAR), (right + 1, top, FAR), (right - 2, ridge, FAR),
                                (left + 2, ridge, FAR)))  # fmt: skip


def _choose_facade(site: Site, top: float) -> Facade:
    place, dice = site.setting.place, site.dice
    return Facade(
        pitch=dice.within(place.window_pitch),
        storey=dice.within(place.storey),
        window_width=dice.within(place.window_width),
        window_height=dice.within(place.window_height),
        top=top,
        lit=dice.within((0.08, 0.35)) * site.glow,
        shop=dice.chance(place.shops),
    )


def _wall(site: Site, building: int, color: RGB, surface: Surface, plane: float, facade: Facade) -> int:
    """The paint of a wall; its window, lit window and shop front follow it."""
    sketch, dice = site.sketch, site.dice
    glow = site.glow
    wall = sketch.add_paint(color, building, surface, plane, rough=0.6)
    glass = blend(_GLASS, color, 0.15)
    sketch.add_paint(glass, building, surface, plane, rough=0.2)
    sketch.add_paint(dice.vary(_LAMP_LIGHT, site.setting.variety), building, surface, plane, glow=0.75 * glow)
    open_late = glow * dice.chance(0.4)
    sketch.add_paint(blend(glass, _LAMP_LIGHT, 0.7 * open_late), building, surface, plane, glow=0.6 * open_late)
    sketch.facades[wall] = facade
    return wall


def _draw_gable(site: Site, house: House, building: int, roof: RGB, wall: RGB) -> None:
    sketch, side, top = site.sketch, house.side, house.height
    (near, far), rise = house.z, min(4.0, 0.45 * house.height)
    eave, ridge, back = house.x - _EAVE * side, house.x + 0.5 * _DEPTH * side, house.x + _DEPTH * side
    gable = sketch.add_paint(wall, building, Surface.FACING, near, rough=0.6)
    sketch.fill(gable, ((house.x, top, near), (back, top, near), (ridge, top + rise, near)))
    tiles = sketch.add_paint(roof, building, Surface.FACING, near, rough=0.9)
    sketch.fill(tiles, ((eave, top - 0.2, near), (eave, top - 0.2, far), (ridge, top + rise, far),
                        (ridge, top + rise, near)))  # fmt: skip


def _draw_eave(site: Site, house: House, building: int, roof: RGB) -> None:
    """The roof's edge along the street, and its shaded underside: all a car sees of a near roof."""
    sketch, (near, far), top = site.sketch, house.z, house.height
    eave = house.x - _EAVE * house.side
    under = sketch.add_paint(shade(roof, 0.6), building, Surface.SIDE, eave)
    sketch.fill(under, ((eave, top - 0.2, near), (eave, top - 0.2, far), (house.x, top, far), (house.x, top, near)))
    edge = sketch.add_paint(roof, building, Surface.SIDE, eave, rough=0.9)
    sketch.fill(edge, ((eave, top - 0.2, near), (eave, top - 0.2, far), (eave, top + 0.25, far),
                       (eave, top + 0.25, near)))  # fmt: skip
