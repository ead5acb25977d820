"""What a domain is made of: ranges for places, lights, weathers and cameras. It knows no values and draws nothing."""

from dataclasses import dataclass, replace

from clouds.data.world.classes import RGB
from clouds.data.world.dice import Dice, Range

Count = tuple[int, int]
Palette = tuple[RGB, ...]


@dataclass(frozen=True)
class Place:
    """A kind of town: its layout in metres, what stands in it, and its colours. `name` goes into captions."""

    name: str
    facades: Palette
    roofs: Palette
    roads: Palette
    sidewalks: Palette
    markings: Palette
    leaves: Palette
    fences: Palette
    cars: Palette
    lawns: Palette = ((104, 150, 72),)
    poles: Palette = ((96, 98, 104),)
    signs: Palette = ((196, 30, 36), (32, 84, 180), (240, 240, 240))
    clothes: Palette = ((176, 40, 44), (40, 70, 150), (230, 200, 70), (60, 60, 66), (235, 235, 235), (60, 120, 80))
    drive_right: bool = True
    road_width: Range = (8.0, 10.0)
    sidewalk_width: Range = (2.5, 4.0)
    setback: Range = (0.0, 1.0)
    building_height: Range = (8.0, 20.0)
    building_width: Range = (9.0, 16.0)
    storey: Range = (3.0, 3.4)
    window_pitch: Range = (2.2, 3.2)
    window_width: Range = (0.45, 0.6)
    window_height: Range = (0.5, 0.6)
    gabled: float = 0.1
    """Share of buildings with a pitched roof."""
    gap: float = 0.15
    """Share of building plots that are gardens."""
    shops: float = 0.5
    """Share of buildings with a shop on the ground floor."""
    trees: tuple[str, ...] = ("round",)
    tree_share: float = 0.35
    """Share of kerb positions with a tree."""
    lamp_share: float = 0.3
    sign_share: float = 0.3
    signal_share: float = 0.12
    fence_kinds: tuple[str, ...] = ("bars", "boards")
    fence_share: float = 0.5
    """Chance of a fence along each side, and at each garden."""
    crossing: float = 0.6
    """Chance of a side street."""
    moving: Count = (1, 3)
    parked: Count = (0, 3)
    people: Count = (1, 4)
    bicycles: Count = (0, 2)


@dataclass(frozen=True)
class Light:
    """A time of day. `ambient` multiplies colours; `sun` is the contrast between lit and shaded walls."""

    name: str
    sky_top: Palette
    sky_low: Palette
    ambient: tuple[float, float, float] = (1.0, 1.0, 1.0)
    sun: float = 0.15
    clouds: Count = (2, 5)
    cloud_color: RGB = (245, 247, 250)
    lamps: float = 0.0
    """Strength of street lamps, headlights and lit windows; 0 by day."""
    lamp_color: tuple[float, float, float] = (1.0, 0.84, 0.6)
    """Colour of street lamps and headlights, in [0, 1]."""
    sky: str = ""
    """What captions say of the sky when the weather has no name."""


@dataclass(frozen=True)
class Weather:
    """What is in the air and on the ground."""

    name: str = ""
    fog: Range = (0.0, 0.0)
    """Extinction per metre."""
    fog_color: RGB = (205, 208, 212)
    overcast: float = 0.0
    """Share of grey in the sky."""
    wet: float = 0.0
    """Strength of reflections on the road."""
    rain: float = 0.0
    """Density of streaks, and of drops on the lens."""
    flakes: float = 0.0
    """Density of falling snow."""
    cover: Range = (0.0, 0.0)
    """Share of snow on everything that lies flat."""
    dim: float = 1.0
    """Factor on the light."""


@dataclass(frozen=True)
class Film:
    """Texture of things, and what the camera does to the picture."""

    variety: Range = (0.0, 0.0)
    """How far the colour of each thing strays from its palette, in [0, 1]."""
    texture: Range = (0.0, 0.0)
    contrast: Range = (1.0, 1.0)
    saturation: Range = (1.0, 1.0)
    tint: tuple[Range, Range, Range] = ((1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    grain: Range = (0.0, 0.0)
    blur: Range = (0.0, 0.0)
    """Radius as a share of the picture's height."""


@dataclass(frozen=True)
class View:
    """Where the camera is: horizon as a share of the height from the top, focal length of the width, roll in rad."""

    focal: Range = (0.55, 0.65)
    height: Range = (1.4, 1.6)
    horizon: Range = (0.44, 0.5)
    aim: Range = (-0.03, 0.03)
    """Sideways shift of the vanishing point, as a share of the width."""
    roll: Range = (0.0, 0.0)


@dataclass(frozen=True)
class Crowd:
    """How much goes on in a scene; None leaves it to the place."""

    people: Count | None = None
    bicycles: Count | None = None
    moving: Count | None = None
    parked: Count | None = None


@dataclass(frozen=True)
class Domain:
    """A distribution over scenes: each scene takes one of each tuple and one value of each range."""

    places: tuple[Place, ...]
    lights: tuple[Light, ...]
    weathers: tuple[Weather, ...] = (Weather(),)
    films: tuple[Film, ...] = (Film(),)
    views: tuple[View, ...] = (View(),)
    crowds: tuple[Crowd, ...] = (Crowd(),)


@dataclass(frozen=True)
class Grade:
    """What the camera does to one picture: one value of each of a `Film`'s ranges."""

    contrast: float = 1.0
    saturation: float = 1.0
    tint: tuple[float, ...] = (1.0, 1.0, 1.0)
    grain: float = 0.0
    blur: float = 0.0


@dataclass(frozen=True)
class Setting:
    """The choices that hold for one whole scene."""

    place: Place
    light: Light
    weather: Weather
    view: View
    grade: Grade
    variety: float
    texture: float
    fog: float
    cover: float


def choose_setting(domain: Domain, dice: Dice) -> Setting:
    """One setting of a domain."""
    weather, film = dice.pick(domain.weathers), dice.pick(domain.films)
    return Setting(
        place=_fill(dice.pick(domain.places), domain.crowds, dice),
        light=dice.pick(domain.lights),
        weather=weather,
        view=dice.pick(domain.views),
        grade=_choose_grade(film, dice),
        variety=dice.within(film.variety),
        texture=dice.within(film.texture),
        fog=dice.within(weather.fog),
        cover=dice.within(weather.cover),
    )


def _fill(place: Place, crowds: tuple[Crowd, ...], dice: Dice) -> Place:
    """The place with the counts of one of the crowds."""
    # where there is no choice no dice are thrown
    crowd = dice.pick(crowds) if len(crowds) > 1 else crowds[0]
    counts = {name: count for name, count in vars(crowd).items() if count is not None}
    return replace(place, **counts) if counts else place


def _choose_grade(film: Film, dice: Dice) -> Grade:
    return Grade(
        contrast=dice.within(film.contrast),
        saturation=dice.within(film.saturation),
        tint=tuple(dice.within(bounds) for bounds in film.tint),
        grain=dice.within(film.grain),
        blur=dice.within(film.blur),
    )
