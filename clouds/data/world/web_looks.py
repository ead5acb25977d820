"""What `web` looks like: lights, weathers, films, cameras and crowds, and the domain itself. It draws nothing."""

from clouds.data.world.looks import Crowd, Domain, Film, Light, View, Weather
from clouds.data.world.web_towns import WEB_PLACES

NOON = Light(
    "at noon",
    sky_top=((70, 120, 190), (96, 146, 206), (60, 104, 170)),
    sky_low=((176, 202, 226), (200, 214, 226)),
    sun=0.3,
    clouds=(0, 5),
    sky="under a blue sky",
)
HARD_SUN = Light(
    "at noon",
    sky_top=((44, 96, 176), (84, 130, 196)),
    sky_low=((150, 188, 222), (186, 204, 216)),
    ambient=(1.04, 1.0, 0.94),
    sun=0.42,
    clouds=(0, 1),
    sky="under a blue sky",
)
GREY_DAY = Light(
    "at noon",
    sky_top=((150, 156, 164), (168, 172, 178), (128, 136, 148)),
    sky_low=((196, 200, 204), (210, 210, 210)),
    ambient=(0.86, 0.88, 0.92),
    sun=0.06,
    clouds=(1, 4),
    cloud_color=(188, 192, 198),
    sky="under a grey sky",
)
MORNING = Light(
    "in the morning",
    sky_top=((120, 150, 190), (140, 160, 196)),
    sky_low=((236, 214, 186), (230, 222, 210)),
    ambient=(0.98, 0.92, 0.82),
    sun=0.4,
)
GREY_MORNING = Light(
    "in the morning",
    sky_top=((140, 150, 168), (160, 166, 176)),
    sky_low=((206, 204, 202), (216, 214, 206)),
    ambient=(0.8, 0.82, 0.86),
    sun=0.1,
    cloud_color=(200, 200, 204),
    sky="under a grey sky",
)
EVENING = Light(
    "in the evening",
    sky_top=((84, 92, 140), (110, 100, 140)),
    sky_low=((244, 170, 104), (236, 190, 140)),
    ambient=(0.84, 0.68, 0.54),
    sun=0.45,
    cloud_color=(236, 170, 140),
    lamps=0.25,
)
LATE_SUN = Light(
    "in the evening",
    sky_top=((116, 160, 196), (150, 176, 190)),
    sky_low=((248, 224, 176), (244, 210, 160)),
    ambient=(1.02, 0.9, 0.72),
    sun=0.45,
    clouds=(0, 3),
    cloud_color=(252, 230, 200),
)
DUSK = Light(
    "at dusk",
    sky_top=((44, 54, 92), (58, 60, 100)),
    sky_low=((132, 104, 124), (150, 120, 110)),
    ambient=(0.4, 0.4, 0.5),
    sun=0.08,
    clouds=(0, 3),
    cloud_color=(96, 84, 110),
    lamps=0.7,
)
NIGHT = Light(
    "at night",
    sky_top=((10, 14, 30), (16, 18, 34), (24, 22, 34)),
    sky_low=((34, 36, 58), (54, 46, 54), (30, 34, 50)),
    ambient=(0.15, 0.17, 0.24),
    sun=0.0,
    clouds=(0, 2),
    cloud_color=(40, 42, 58),
    lamps=1.0,
)
WHITE_NIGHT = Light(
    "at night",
    sky_top=((8, 10, 20), (20, 24, 40)),
    sky_low=((26, 30, 46), (44, 50, 70)),
    ambient=(0.18, 0.19, 0.24),
    sun=0.0,
    clouds=(0, 2),
    cloud_color=(36, 40, 52),
    lamps=0.9,
    lamp_color=(0.96, 0.94, 0.92),
)

CLEAR = Weather()
HAZE = Weather("", fog=(0.004, 0.012), fog_color=(206, 212, 220), overcast=0.2)
LIGHT_FOG = Weather("in fog", fog=(0.022, 0.04), fog_color=(196, 204, 214), overcast=0.9, dim=0.95)
FOG = Weather("in fog", fog=(0.035, 0.062), overcast=1.0, wet=0.1, dim=0.92)
RAIN = Weather("in rain", fog=(0.008, 0.018), fog_color=(134, 142, 152), overcast=0.9, wet=0.9, rain=1.0, dim=0.82)
DRIZZLE = Weather("in rain", fog=(0.006, 0.016), fog_color=(160, 166, 172), overcast=0.8, wet=0.6, rain=0.6, dim=0.9)
SNOW = Weather("in snow", fog=(0.01, 0.022), fog_color=(214, 218, 226), overcast=0.9, flakes=1.0, cover=(0.5, 0.85))
LIGHT_SNOW = Weather(
    "in snow", fog=(0.004, 0.014), fog_color=(200, 206, 216), overcast=0.8, flakes=0.6, cover=(0.25, 0.6)
)

PHOTO = Film(
    variety=(0.08, 0.18),
    texture=(0.5, 1.0),
    contrast=(0.88, 1.12),
    saturation=(0.65, 1.1),
    tint=((0.96, 1.04), (0.98, 1.02), (0.95, 1.05)),
    grain=(0.008, 0.025),
    blur=(0.0, 0.005),
)
ANY_FILM = Film(
    variety=(0.05, 0.25),
    texture=(0.25, 1.05),
    contrast=(0.8, 1.18),
    saturation=(0.5, 1.15),
    tint=((0.93, 1.07), (0.97, 1.03), (0.92, 1.08)),
    grain=(0.0, 0.03),
    blur=(0.0, 0.006),
)
SHARP_FILM = Film(variety=(0.05, 0.15), texture=(0.6, 1.05), contrast=(1.0, 1.15), grain=(0.0, 0.012))

DASHBOARD = View(focal=(0.5, 0.7), height=(1.3, 1.8), horizon=(0.43, 0.53), aim=(-0.08, 0.08), roll=(-0.03, 0.03))
WIDE_VIEW = View(focal=(0.46, 0.55), height=(1.25, 1.7), horizon=(0.44, 0.52), aim=(-0.05, 0.05), roll=(-0.02, 0.02))
NARROW_VIEW = View(focal=(0.64, 0.72), height=(1.3, 1.8), horizon=(0.43, 0.52), aim=(-0.1, 0.1), roll=(-0.02, 0.02))

CROWDS = (
    Crowd(),
    Crowd(),
    Crowd(),
    Crowd(),
    Crowd(people=(0, 0), bicycles=(0, 0), moving=(0, 1), parked=(0, 1)),
    Crowd(people=(6, 12)),
    Crowd(bicycles=(3, 6)),
    Crowd(people=(0, 1), moving=(4, 7), parked=(4, 8)),
)

WEB = Domain(
    WEB_PLACES,
    (NOON, HARD_SUN, GREY_DAY, MORNING, GREY_MORNING, EVENING, LATE_SUN, DUSK, NIGHT, WHITE_NIGHT),
    (CLEAR, CLEAR, CLEAR, HAZE, LIGHT_FOG, FOG, DRIZZLE, RAIN, LIGHT_SNOW, SNOW),
    (PHOTO, ANY_FILM, ANY_FILM, SHARP_FILM),
    (DASHBOARD, DASHBOARD, WIDE_VIEW, NARROW_VIEW),
    CROWDS,
)
"""Many towns, all times of day, most weathers, several films and cameras, empty streets and full ones."""
