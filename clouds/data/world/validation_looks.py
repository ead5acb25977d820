"""The validation domains: outside `web` as the test domains are, and other than they. It draws nothing."""

from collections.abc import Mapping
from types import MappingProxyType

from clouds.data.world import validation_towns as towns
from clouds.data.world.looks import Domain, Film, Light, View, Weather

FOG_LIGHTS = (
    Light("at noon", ((132, 154, 158),), ((176, 196, 196),), (0.76, 0.86, 0.84), 0.02, (0, 1), (170, 188, 190)),
    Light("in the evening", ((120, 126, 150),), ((180, 176, 196),), (0.7, 0.7, 0.8), 0.04, (0, 1), lamps=0.4),
)
FOGS = (Weather("in fog", fog=(0.056, 0.078), fog_color=(180, 200, 200), overcast=0.6, wet=0.3, dim=0.98),)
FOG_FILM = Film(
    variety=(0.08, 0.18),
    texture=(1.05, 1.3),
    contrast=(0.76, 0.85),
    saturation=(0.4, 0.6),
    tint=((0.9, 0.96), (0.98, 1.03), (0.98, 1.04)),
    grain=(0.01, 0.03),
)
FOG_VIEW = View(focal=(0.5, 0.6), height=(1.02, 1.22), horizon=(0.52, 0.57), aim=(-0.06, 0.06), roll=(-0.03, 0.03))

NIGHT_LIGHTS = (
    Light(
        "at night",
        sky_top=((6, 34, 40), (12, 44, 44)),
        sky_low=((30, 74, 76), (40, 80, 70)),
        ambient=(0.15, 0.24, 0.23),
        sun=0.0,
        clouds=(0, 2),
        cloud_color=(36, 70, 70),
        lamps=1.12,
        lamp_color=(0.76, 1.0, 0.84),
    ),
    Light(
        "at night",
        sky_top=((14, 26, 70), (22, 30, 80)),
        sky_low=((46, 58, 110), (60, 70, 112)),
        ambient=(0.17, 0.2, 0.33),
        sun=0.0,
        clouds=(0, 3),
        cloud_color=(56, 64, 104),
        lamps=1.08,
        lamp_color=(0.74, 0.84, 1.0),
    ),
)
NIGHT_AIRS = (Weather(), Weather("", fog=(0.013, 0.022), fog_color=(160, 206, 200), overcast=0.1))
NIGHT_FILM = Film(
    variety=(0.08, 0.18),
    texture=(0.7, 1.1),
    contrast=(1.0, 1.15),
    saturation=(0.55, 0.85),
    tint=((0.95, 1.03), (0.98, 1.03), (1.07, 1.14)),
    grain=(0.02, 0.034),
)
NIGHT_VIEW = View(focal=(0.71, 0.82), height=(1.4, 1.75), horizon=(0.45, 0.52), aim=(-0.07, 0.07), roll=(-0.03, 0.03))

RAIN_LIGHTS = (
    Light("at noon", ((128, 136, 112),), ((182, 188, 162),), (0.88, 0.92, 0.82), 0.02, (1, 4), (136, 140, 120)),
    Light("in the morning", ((110, 124, 156),), ((176, 182, 206),), (0.8, 0.85, 0.96), 0.04, (1, 3), (140, 146, 166)),
)
RAINS = (Weather("in rain", fog=(0.017, 0.027), fog_color=(158, 164, 140), overcast=0.4, wet=0.98, rain=1.2, dim=0.96),)
RAIN_FILM = Film(
    variety=(0.08, 0.18),
    texture=(0.7, 1.05),
    saturation=(0.5, 0.75),
    tint=((1.0, 1.06), (1.02, 1.06), (0.88, 0.93)),
    grain=(0.01, 0.03),
    blur=(0.005, 0.01),
)
RAIN_VIEW = View(focal=(0.56, 0.7), height=(1.82, 2.1), horizon=(0.38, 0.43), aim=(-0.07, 0.07), roll=(-0.04, 0.04))

SNOW_LIGHTS = (
    Light("at noon", ((186, 186, 170),), ((226, 224, 196),), (1.06, 1.03, 0.9), 0.03, (1, 3), (226, 222, 206)),
    Light("in the morning", ((120, 170, 180),), ((200, 226, 220),), (0.9, 1.02, 1.02), 0.05, (0, 3), (210, 226, 222)),
)
SNOWS = (Weather("in snow", fog=(0.021, 0.032), fog_color=(226, 222, 200), overcast=0.3, flakes=1.2, cover=(0.8, 1.0)),)
SNOW_FILM = Film(
    variety=(0.08, 0.2),
    texture=(1.0, 1.25),
    contrast=(0.85, 1.0),
    saturation=(0.6, 0.9),
    tint=((1.04, 1.1), (0.98, 1.03), (0.92, 0.98)),
    grain=(0.028, 0.04),
)
SNOW_VIEW = View(focal=(0.4, 0.47), height=(1.5, 1.8), horizon=(0.43, 0.5), aim=(-0.07, 0.07), roll=(-0.03, 0.03))

ABROAD_LIGHTS = (
    Light("at noon", ((90, 170, 230), (110, 150, 230)), ((220, 236, 244),), (1.06, 1.02, 0.98), 0.55, (0, 2)),
    Light("in the morning", ((150, 130, 170),), ((250, 190, 180),), (1.04, 0.94, 0.9), 0.5, (0, 3), (250, 214, 206)),
)
ABROAD_AIRS = (Weather(), Weather("", fog=(0.012, 0.018), fog_color=(240, 212, 206), overcast=0.1))
ABROAD_FILM = Film(
    variety=(0.1, 0.2),
    texture=(1.02, 1.25),
    contrast=(0.95, 1.12),
    saturation=(0.75, 1.0),
    tint=((0.98, 1.04), (0.97, 1.02), (1.0, 1.06)),
    grain=(0.01, 0.03),
)
ABROAD_VIEW = View(focal=(0.7, 0.8), height=(1.75, 2.0), horizon=(0.4, 0.46), aim=(-0.08, 0.08), roll=(-0.03, 0.03))

VALIDATION: Mapping[str, Domain] = MappingProxyType(
    {
        "val_fog": Domain((towns.MILL_TOWN, towns.ROW_STREET), FOG_LIGHTS, FOGS, (FOG_FILM,), (FOG_VIEW,)),
        "val_night": Domain((towns.TOWER_PARK, towns.ROW_STREET), NIGHT_LIGHTS, NIGHT_AIRS, (NIGHT_FILM,),
                            (NIGHT_VIEW,)),
        "val_rain": Domain((towns.MILL_TOWN, towns.TOWER_PARK), RAIN_LIGHTS, RAINS, (RAIN_FILM,), (RAIN_VIEW,)),
        "val_snow": Domain((towns.PINE_TOWN, towns.ROW_STREET), SNOW_LIGHTS, SNOWS, (SNOW_FILM,), (SNOW_VIEW,)),
        "val_abroad": Domain((towns.WHITE_TOWN, towns.TILE_TOWN), ABROAD_LIGHTS, ABROAD_AIRS, (ABROAD_FILM,),
                             (ABROAD_VIEW,)),
    }
)  # fmt: skip
"""The validation domains by name."""
