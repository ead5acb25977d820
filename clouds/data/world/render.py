"""One labelled street scene from a domain's name and an index. It is the package's only entry."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clouds.data.world.captions import Facts, describe
from clouds.data.world.develop import develop
from clouds.data.world.dice import Dice, stable_hash
from clouds.data.world.domains import DOMAINS, domain_choices
from clouds.data.world.looks import Domain, View, choose_setting
from clouds.data.world.populate import draw_scene
from clouds.data.world.site import Site, lay_out
from clouds.data.world.sketch import SAMPLES, Camera, Sketch
from clouds.data.world.weather import expose
from clouds.errors import CloudsError

_SCENE, _AIR = 0, 1
_PLAIN_ZEBRA = 24.0
"""Metres up to which the stripes before a side street are plain to see."""


@dataclass(frozen=True)
class Scene:
    """A rendered scene.

    `image_HWC` uint8 RGB; `labels_HW` uint8 class ids, indices into `CLASSES`; `instances_HW` int32, one number from
    1 for each object; both hold what covers the pixel's centre. `caption` names what is there.
    """

    image_HWC: NDArray[np.uint8]
    labels_HW: NDArray[np.uint8]
    instances_HW: NDArray[np.int32]
    caption: str


def render_scene(domain: str, index: int, *, seed: int = 0, height: int = 64, width: int = 128) -> Scene:
    """Renders scene `index` (from 0) of a domain; the same arguments give the same bytes.

    Raises `CloudsError` for a domain that `DOMAINS` does not hold, `ValueError` for a negative index or seed or an
    empty picture.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a scene of {height} x {width} pixels is empty")
    distribution = _find_domain(domain)
    entropy = (seed, stable_hash(domain), index)
    dice = Dice((*entropy, _SCENE))
    setting = choose_setting(distribution, dice)
    camera = _aim(setting.view, dice, height, width)
    site = Site(Sketch(camera, height, width), setting, dice, lay_out(setting, dice))
    draw_scene(site)
    negative = develop(site)
    # weather has dice of its own: how many it throws depends on the picture's size, and the scene must not
    image_HWC = expose(site, negative, Dice((*entropy, _AIR)))
    caption = describe(setting, negative.labels_HW, negative.instances_HW, _facts(site))
    return Scene(image_HWC, negative.labels_HW, negative.instances_HW, caption)


def _facts(site: Site) -> Facts:
    heights = [facade.top for facade in site.sketch.facades.values()]
    crossing, setting = site.street.crossing, site.setting
    return Facts(
        building_height=sum(heights) / max(1, len(heights)),
        car_colors=site.car_colors,
        lamp_posts=site.lamp_posts,
        zebra=crossing is not None and crossing[0] < _PLAIN_ZEBRA and setting.cover < 0.4 and setting.fog < 0.04,
    )


def _find_domain(name: str) -> Domain:
    if name in DOMAINS:
        return DOMAINS[name]
    raise CloudsError(f"the world has no domain {name!r}", domain_choices(name))


def _aim(view: View, dice: Dice, height: int, width: int) -> Camera:
    """The camera of a scene, in samples."""
    # upright pictures see no wider than their height allows, else the ground would end above the lower edge
    span = max(width, 1.2 * height)
    return Camera(
        focal=dice.within(view.focal) * span * SAMPLES,
        center_x=(0.5 + dice.within(view.aim)) * width * SAMPLES,
        horizon_y=dice.within(view.horizon) * height * SAMPLES,
        height=dice.within(view.height),
        roll=dice.within(view.roll),
    )
