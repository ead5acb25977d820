"""The building site of one scene: canvas, choices and street geometry at hand for whatever draws. It draws nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from clouds.data.world.classes import RGB
from clouds.data.world.dice import Dice, Range, blend, clip_color
from clouds.data.world.looks import Setting
from clouds.data.world.sketch import Sketch

SNOW_WHITE: RGB = (236, 239, 245)

NEAR = 1.0
"""Metres ahead of the camera where drawing starts."""
FAR = 90.0
"""Metres ahead where the street is closed by distant things."""
SKY_DEPTH = 400.0
"""Metres of air that count before the sky."""


@dataclass(frozen=True)
class Street:
    """Lateral positions in metres, the camera at 0: kerbs and house fronts, left (negative) and right; side street."""

    kerbs: tuple[float, float]
    fronts: tuple[float, float]
    crossing: Range | None
    """Depths where a side street begins and ends."""

    def kerb(self, side: int) -> float:
        """The kerb of a side, -1 left or 1 right."""
        return self.kerbs[side > 0]

    def front(self, side: int) -> float:
        """The edge between sidewalk and plots of a side."""
        return self.fronts[side > 0]

    def is_crossing(self, near: float, far: float) -> bool:
        """Whether the stretch between two depths meets the side street."""
        return self.crossing is not None and near < self.crossing[1] and far > self.crossing[0]


@dataclass(frozen=True)
class Site:
    """What every drawing function is handed."""

    sketch: Sketch
    setting: Setting
    dice: Dice
    street: Street
    lamps: list[tuple[float, float, float]] = field(default_factory=list)
    """World positions of burning street lamps."""
    lamp_posts: set[int] = field(default_factory=set)
    """Which objects are street lamps."""
    car_colors: dict[int, RGB] = field(default_factory=dict)
    """The colour of each car, by the number of the object."""

    def color(self, palette: Sequence[RGB]) -> RGB:
        """One colour of a palette, strayed from as far as the setting allows."""
        return self.dice.vary(self.dice.pick(palette), self.setting.variety)

    def snowed(self, color: RGB, share: float = 1.0) -> RGB:
        """The colour of something flat under the setting's snow; `share` scales how much stays on it."""
        return blend(color, SNOW_WHITE, self.setting.cover * share) if self.setting.cover else color

    @property
    def glow(self) -> float:
        """How bright lamps, windows and headlights burn: 0 by day."""
        return self.setting.light.lamps

    @property
    def lamp_color(self) -> RGB:
        """The colour of burning street lamps."""
        red, green, blue = self.setting.light.lamp_color
        return clip_color(255 * red, 255 * green, 255 * blue)


def lay_out(setting: Setting, dice: Dice) -> Street:
    """A street for a setting: the camera drives in the middle of its lane."""
    place = setting.place
    road, sidewalk = dice.within(place.road_width), dice.within(place.sidewalk_width)
    lane = road * dice.within((0.27, 0.33))
    kerbs = (lane - road, lane) if place.drive_right else (-lane, road - lane)
    crossing = None
    if dice.chance(place.crossing):
        start = dice.within((13.0, 34.0))
        crossing = (start, start + dice.within((6.0, 9.0)))
    return Street(kerbs, (kerbs[0] - sidewalk, kerbs[1] + sidewalk), crossing)
