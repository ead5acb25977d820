"""What stands along a street: trees, hedges, lamps, signs, traffic lights, fences. It does not choose their places."""

import math
from dataclasses import dataclass

from clouds.data.world.classes import RGB, Kind
from clouds.data.world.dice import Range, blend, shade
from clouds.data.world.site import Site
from clouds.data.world.sketch import Cutout, Surface

_BARK: RGB = (92, 70, 52)
_WHITE: RGB = (255, 255, 255)
_BACK: RGB = (30, 32, 34)
_FENCE_STEPS = {"wall": 0.0, "boards": 0.5, "bars": 0.25}
_SIGNAL_COLORS: tuple[RGB, ...] = ((230, 50, 40), (240, 190, 50), (60, 210, 110))


def draw_tree(site: Site, x: float, z: float) -> None:
    """A tree of one of the place's kinds, four to nine metres high."""
    kind = site.dice.pick(site.setting.place.trees)
    tree = site.sketch.cutout(Kind.VEGETATION, x, z, site.dice.within((4.5, 8.5)))
    _TREES[kind](site, tree, site.color(site.setting.place.leaves))


def draw_hedge(site: Site, x: float, z: float, width: float) -> None:
    """A row of bushes across, starting at x."""
    hedge = site.sketch.cutout(Kind.VEGETATION, x, z)
    color = site.snowed(site.color(site.setting.place.leaves), 0.5)
    for step in range(max(1, round(width / 0.8))):
        high = site.dice.within((0.5, 0.9))
        hedge.disc(shade(color, 0.85 + 0.15 * (step % 2)), (step * 0.8 + 0.4, 0.45), 0.65, tall=high, rough=1.2)


def draw_lamp(site: Site, x: float, z: float) -> None:
    """A street lamp whose arm reaches over the road."""
    pole = site.sketch.cutout(Kind.POLE, x, z, flip=-1 if x > 0 else 1)
    site.lamp_posts.add(pole.instance)
    color, height = site.color(site.setting.place.poles), site.dice.within((5.5, 7.5))
    pole.stroke(color, (0, 0), (0, height), 0.16)
    pole.stroke(shade(color, 0.9), (0, height), (1.4, height + 0.25), 0.12)
    pole.box(shade(color, 0.8), (-0.15, 0.15), (0, 0.7))
    glow = min(1.0, 1.2 * site.glow)
    lamp = blend(site.lamp_color, _WHITE, 0.3) if glow else shade(color, 1.3)
    pole.fill(lamp, ((1.1, height + 0.1), (1.9, height + 0.1), (1.7, height + 0.36),
                                                     (1.2, height + 0.36)), glow=glow)  # fmt: skip
    if glow:
        site.lamps.append((x + (-1.4 if x > 0 else 1.4), height, z))


def draw_post(site: Site, x: float, z: float) -> None:
    """A utility pole without a lamp."""
    pole = site.sketch.cutout(Kind.POLE, x, z)
    color, height = site.color(site.setting.place.poles), site.dice.within((4.0, 8.0))
    pole.stroke(color, (0, 0), (0, height), 0.2)
    if height > 5.5:
        pole.stroke(shade(color, 0.9), (-0.9, height - 0.6), (0.9, height - 0.6), 0.12)


def draw_sign(site: Site, x: float, z: float) -> None:
    """A traffic sign on its post: two objects."""
    dice, place = site.dice, site.setting.place
    post = site.sketch.cutout(Kind.POLE, x, z)
    height = dice.within((2.2, 2.8))
    post.stroke(site.color(place.poles), (0, 0), (0, height), 0.1)
    sign = site.sketch.cutout(Kind.TRAFFIC_SIGN, x, z)
    color, size = site.color(place.signs), dice.within((0.4, 0.52))
    white: RGB = (244, 244, 240)
    shape = dice.pick(("disc", "triangle", "diamond", "plate"))
    if shape == "disc":
        sign.disc(color, (0, height), size)
        sign.disc(white if dice.chance(0.5) else shade(color, 0.8), (0, height), size * 0.6)
    elif shape == "plate":
        sign.box(color, (-size * 1.3, size * 1.3), (height - size, height + size * 0.9))
        text = white if sum(color) < 550 else shade(place.signs[0], 0.6)
        sign.box(text, (-size * 0.9, size * 0.9), (height - size * 0.25, height + size * 0.15))
    else:
        sides = 3 if shape == "triangle" else 4
        color = place.signs[0] if sides == 3 else color
        for tint, radius in ((color, size * 1.2), (white if sides == 3 else shade(color, 1.15), size * 0.7)):
            sign.fill(tint, _polygon((0, height), radius, sides))


def draw_signal(site: Site, x: float, z: float) -> None:
    """A traffic light on its post: two objects."""
    post = site.sketch.cutout(Kind.POLE, x, z)
    color = site.color(site.setting.place.poles)
    post.stroke(color, (0, 0), (0, 3.0), 0.14)
    light = site.sketch.cutout(Kind.TRAFFIC_SIGN, x, z)
    light.box(_BACK, (-0.26, 0.26), (2.5, 3.7))
    burning = site.dice.count((0, 2))
    for row, bright in enumerate(_SIGNAL_COLORS):
        lit = row == burning
        light.disc(bright if lit else shade(bright, 0.3), (0, 3.42 - 0.33 * row), 0.15, glow=0.9 if lit else 0.0)


@dataclass(frozen=True)
class Fence:
    """A fence along the street at lateral position `x`: its height and its paints, chosen once for all its pieces."""

    x: float
    height: float
    step: float
    """Distance of its boards in metres, 0 for a wall."""
    panel: int
    dark: int
    cap: int | None


def plan_fence(site: Site, x: float, *, low: bool) -> Fence:
    """A fence of one of the place's kinds; low ones stand between road and sidewalk."""
    sketch, dice, place = site.sketch, site.dice, site.setting.place
    fence = sketch.add_instance(Kind.FENCE)
    color = site.color(place.fences)
    snow = sketch.add_paint(site.snowed(color), fence, Surface.SIDE, x) if site.setting.cover else None
    return Fence(
        x=x,
        height=dice.within((0.75, 0.95) if low else (1.0, 1.5)),
        step=_FENCE_STEPS[dice.pick(place.fence_kinds)],
        panel=sketch.add_paint(color, fence, Surface.SIDE, x, rough=0.7),
        dark=sketch.add_paint(shade(color, 0.7), fence, Surface.SIDE, x),
        cap=snow,
    )


def draw_fence(site: Site, fence: Fence, z: Range) -> None:
    """One piece of a fence."""
    sketch, x, height, (near, far) = site.sketch, fence.x, fence.height, z
    sketch.fill(fence.panel, ((x, 0, near), (x, height, near), (x, height, far), (x, 0, far)))
    if fence.cap is not None:
        low = height - 0.12
        sketch.fill(fence.cap, ((x, low, near), (x, height, near), (x, height, far), (x, low, far)))
    # where two gaps would share a sample there is no use in drawing them
    if not fence.step or sketch.camera.focal * abs(x) * fence.step < 2 * far * far:
        return
    low, high = 0.08, height - 0.15
    for k in range(int((far - near) / fence.step)):
        a = near + k * fence.step
        b = a + 0.4 * fence.step
        sketch.fill(fence.dark, ((x, low, a), (x, high, a), (x, high, b), (x, low, b)))


def draw_fence_across(site: Site, x: Range, z: float) -> None:
    """A fence that faces the camera."""
    left, right = min(x), max(x)
    fence = site.sketch.cutout(Kind.FENCE, left, z)
    color, high, wide = site.color(site.setting.place.fences), site.dice.within((1.1, 1.6)), right - left
    fence.box(color, (0, wide), (0, high))
    for k in range(int(wide / 0.6)):
        fence.box(shade(color, 0.75), (0.6 * k, 0.6 * k + 0.15), (0.1, high - 0.15))


def _polygon(center: tuple[float, float], radius: float, sides: int) -> list[tuple[float, float]]:
    turns = [math.pi / 2 + 2 * math.pi * k / sides for k in range(sides)]
    return [(center[0] + radius * math.cos(turn), center[1] + radius * math.sin(turn)) for turn in turns]


def _round_tree(site: Site, tree: Cutout, color: RGB) -> None:
    tree.stroke(_BARK, (0, 0), (0, 0.5), 0.045)
    for k in range(7):
        x, y = site.dice.within((-0.17, 0.17)), site.dice.within((0.52, 0.82))
        lit = shade(color, 0.72 + 0.3 * y + 0.3 * x)
        lit = site.snowed(lit, 0.7) if y > 0.66 else lit
        tree.disc(lit, (x, y), 0.16 + 0.02 * (k % 3), rough=1.6)


def _conifer(site: Site, tree: Cutout, color: RGB) -> None:
    tree.stroke(_BARK, (0, 0), (0, 0.2), 0.05)
    for k, (base, wide) in enumerate(((0.12, 0.24), (0.36, 0.19), (0.6, 0.13))):
        tree.fill(shade(color, 0.85 + 0.12 * k), ((-wide, base), (wide, base), (0, base + 0.42)), rough=1.4)
        if site.setting.cover:
            high = base + 0.42
            tree.fill(site.snowed(color, 0.8), ((-wide * 0.5, base + 0.2), (wide * 0.3, base + 0.24), (0, high)))


def _cypress(site: Site, tree: Cutout, color: RGB) -> None:
    tree.stroke(_BARK, (0, 0), (0, 0.15), 0.04)
    tree.disc(shade(color, 0.8), (0, 0.55), 0.11, tall=4.2, rough=1.4)
    tree.disc(site.snowed(color, 0.4), (-0.03, 0.57), 0.06, tall=5.5, rough=1.4)


def _palm(site: Site, tree: Cutout, color: RGB) -> None:
    lean = site.dice.within((-0.08, 0.08))
    tree.stroke(shade(_BARK, 1.3), (0, 0), (lean, 0.8), 0.04)
    for k in range(9):
        turn = math.pi * (k / 8)
        a, b = math.cos(turn), math.sin(turn)
        bend, tip = (lean + 0.2 * a, 0.8 + 0.17 * b), (lean + 0.36 * a, 0.66 + 0.26 * b)
        inner = (lean + 0.18 * a, 0.74 + 0.15 * b)
        tree.fill(shade(color, 0.7 + 0.1 * (k % 4)), ((lean, 0.82), bend, tip, inner, (lean, 0.77)), rough=0.8)


def _bare_tree(site: Site, tree: Cutout, color: RGB) -> None:
    bark = site.snowed(shade(_BARK, 0.85), 0.4)
    tree.disc(shade(bark, 1.25), (0, 0.72), 0.12, tall=1.5, rough=2.0)
    tree.stroke(bark, (0, 0), (0, 0.8), 0.045)
    for k in range(8):
        y, turn = 0.36 + 0.05 * k, (1 if k % 2 else -1) * site.dice.within((0.35, 0.9))
        reach = 0.36 - 0.02 * k
        tree.stroke(bark, (0, y), (reach * math.sin(turn), y + reach * math.cos(turn)), 0.02)


_TREES = {"round": _round_tree, "conifer": _conifer, "cypress": _cypress, "palm": _palm, "bare": _bare_tree}
