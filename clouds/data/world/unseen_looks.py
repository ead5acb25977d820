"""The test domains: lights, weathers, films and cameras just outside those of `web`. It draws nothing."""

from collections.abc import Mapping
from types import MappingProxyType

from clouds.data.world import unseen_towns as towns
from clouds.data.world.looks import Domain, Film, Light, View, Weather

FOG_LIGHTS = (
    Light("at noon", ((172, 164, 148),), ((218, 208, 186),), (0.94, 0.91, 0.84), 0.03, (0, 1), (206, 198, 180)),
    Light("in the morning", ((170, 150, 140),), ((222, 196, 170),), (0.92, 0.85, 0.78), 0.05, (0, 1), (210, 190, 170)),
)
FOGS = (Weather("in fog", fog=(0.055, 0.082), fog_color=(212, 205, 186), overcast=0.8, wet=0.2, dim=0.94),)
FOG_FILM = Film(
    variety=(0.08, 0.18),
    texture=(1.05, 1.35),
    contrast=(0.9, 1.05),
    saturation=(0.34, 0.52),
    tint=((0.98, 1.04), (0.98, 1.02), (0.92, 0.97)),
    grain=(0.005, 0.02),
)
FOG_VIEW = View(focal=(0.55, 0.7), height=(1.85, 2.2), horizon=(0.37, 0.43), aim=(-0.06, 0.06), roll=(-0.03, 0.03))

NIGHT_LIGHTS = (
    Light(
        "at night",
        sky_top=((40, 28, 20), (48, 38, 24)),
        sky_low=((92, 60, 36), (80, 64, 40)),
        ambient=(0.36, 0.28, 0.21),
        sun=0.0,
        clouds=(1, 3),
        cloud_color=(100, 70, 46),
        lamps=1.1,
        lamp_color=(1.0, 0.64, 0.3),
    ),
    Light(
        "at night",
        sky_top=((36, 14, 40), (40, 20, 52)),
        sky_low=((76, 40, 72), (86, 44, 62)),
        ambient=(0.32, 0.24, 0.31),
        sun=0.0,
        clouds=(0, 2),
        cloud_color=(70, 40, 66),
        lamps=1.15,
        lamp_color=(1.0, 0.76, 0.78),
    ),
)
NIGHT_AIRS = (Weather(), Weather("", fog=(0.012, 0.02), fog_color=(220, 190, 150), overcast=0.1))
NIGHT_FILM = Film(
    variety=(0.08, 0.18),
    texture=(0.7, 1.1),
    contrast=(1.0, 1.12),
    saturation=(0.6, 0.9),
    grain=(0.024, 0.036),
    blur=(0.0055, 0.0085),
)
NIGHT_VIEW = View(focal=(0.52, 0.66), height=(1.0, 1.22), horizon=(0.52, 0.57), aim=(-0.07, 0.07), roll=(-0.03, 0.03))

RAIN_LIGHTS = (
    Light("at noon", ((112, 132, 140),), ((166, 186, 192),), (0.82, 0.9, 0.94), 0.02, (1, 4), (120, 136, 142)),
    Light(
        "in the evening", ((98, 86, 118),), ((190, 146, 146),), (0.86, 0.74, 0.78), 0.1, (1, 3), (150, 110, 116), 0.45
    ),
)
RAINS = (
    Weather("in rain", fog=(0.018, 0.028), fog_color=(140, 160, 166), overcast=0.5, wet=1.0, rain=1.3, dim=0.95),
    Weather("in rain", fog=(0.016, 0.026), fog_color=(148, 146, 168), overcast=0.5, wet=1.0, rain=1.2, dim=0.96),
)
RAIN_FILM = Film(
    variety=(0.08, 0.18),
    texture=(0.6, 1.0),
    saturation=(0.5, 0.8),
    tint=((0.86, 0.93), (0.97, 1.03), (1.02, 1.08)),
    grain=(0.01, 0.03),
    blur=(0.005, 0.01),
)
RAIN_VIEW = View(focal=(0.72, 0.84), height=(1.35, 1.75), horizon=(0.44, 0.52), aim=(-0.07, 0.07), roll=(-0.04, 0.04))

SNOW_LIGHTS = (
    Light("at noon", ((150, 170, 204),), ((196, 212, 236),), (0.9, 0.97, 1.1), 0.03, (1, 3), (200, 212, 232)),
    Light("in the morning", ((164, 150, 190),), ((236, 204, 214),), (1.02, 0.94, 1.0), 0.12, (0, 3), (230, 210, 224)),
)
SNOWS = (
    Weather("in snow", fog=(0.02, 0.034), fog_color=(200, 214, 238), overcast=0.4, flakes=1.3, cover=(0.8, 1.0)),
    Weather("in snow", fog=(0.022, 0.034), fog_color=(228, 210, 222), overcast=0.4, flakes=1.2, cover=(0.8, 1.0)),
)
SNOW_FILM = Film(
    variety=(0.08, 0.2),
    texture=(1.0, 1.3),
    contrast=(0.74, 0.84),
    saturation=(0.8, 1.1),
    tint=((0.94, 1.0), (0.97, 1.03), (1.05, 1.12)),
    grain=(0.01, 0.025),
)
SNOW_VIEW = View(focal=(0.5, 0.68), height=(2.05, 2.45), horizon=(0.36, 0.42), aim=(-0.07, 0.07), roll=(-0.03, 0.03))

ABROAD_LIGHTS = (
    Light("at noon", ((30, 130, 160), (50, 150, 180)), ((170, 220, 200),), (1.06, 1.02, 0.9), 0.55, (0, 2)),
    Light("in the evening", ((120, 124, 160),), ((250, 196, 150),), (1.06, 0.94, 0.78), 0.55, (0, 3), (254, 210, 170)),
)
ABROAD_AIRS = (Weather(), Weather("", fog=(0.012, 0.018), fog_color=(236, 214, 176), overcast=0.1))
ABROAD_FILM = Film(
    variety=(0.1, 0.2),
    texture=(1.0, 1.25),
    contrast=(0.95, 1.12),
    saturation=(0.75, 1.0),
    tint=((1.02, 1.08), (0.97, 1.01), (0.88, 0.94)),
    grain=(0.01, 0.03),
)
ABROAD_VIEW = View(focal=(0.39, 0.47), height=(1.4, 1.75), horizon=(0.42, 0.48), aim=(-0.08, 0.08), roll=(-0.03, 0.03))

UNSEEN: Mapping[str, Domain] = MappingProxyType(
    {
        "fog": Domain((towns.HARBOUR, towns.TERRACE), FOG_LIGHTS, FOGS, (FOG_FILM,), (FOG_VIEW,)),
        "night": Domain((towns.GLASS_QUARTER, towns.TERRACE), NIGHT_LIGHTS, NIGHT_AIRS, (NIGHT_FILM,), (NIGHT_VIEW,)),
        "rain": Domain((towns.HARBOUR, towns.GLASS_QUARTER), RAIN_LIGHTS, RAINS, (RAIN_FILM,), (RAIN_VIEW,)),
        "snow": Domain((towns.LOG_TOWN, towns.TERRACE), SNOW_LIGHTS, SNOWS, (SNOW_FILM,), (SNOW_VIEW,)),
        "abroad": Domain((towns.OLD_TOWN, towns.PAINTED_TOWN), ABROAD_LIGHTS, ABROAD_AIRS, (ABROAD_FILM,),
                         (ABROAD_VIEW,)),
    }
)  # fmt: skip
"""The test domains by name."""
