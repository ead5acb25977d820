"""The eleven classes of the procedural world, by id. It knows neither pictures nor label maps."""

from enum import IntEnum

RGB = tuple[int, int, int]


class Kind(IntEnum):
    """Class ids; a traffic light counts as traffic sign, any motor vehicle as car, a ridden bicycle as bicycle."""

    SKY = 0
    BUILDING = 1
    POLE = 2
    ROAD = 3
    SIDEWALK = 4
    VEGETATION = 5
    TRAFFIC_SIGN = 6
    FENCE = 7
    CAR = 8
    PERSON = 9
    BICYCLE = 10


CLASSES: tuple[str, ...] = tuple(kind.name.lower().replace("_", " ") for kind in Kind)

COLORS: tuple[RGB, ...] = (
    (70, 130, 180),
    (70, 70, 70),
    (153, 153, 153),
    (128, 64, 128),
    (244, 35, 232),
    (107, 142, 35),
    (220, 220, 0),
    (190, 153, 153),
    (0, 0, 142),
    (220, 20, 60),
    (119, 11, 32),
)
"""The colours Cityscapes draws these classes in, in the order of `CLASSES`."""
