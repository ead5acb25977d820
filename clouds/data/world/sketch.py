"""Painting by numbers: polygons in the world become paint numbers on a fine grid. It does not know what they depict.

Every polygon is drawn once, as the number of its paint; colour, class, instance, surface and glow of a paint stand in
tables. So picture and labels come from one raster and cannot disagree. The grid has an odd number of samples a
pixel each way, so that the middle sample lies on the pixel's centre and its paint is the label.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clouds.data.world.classes import RGB

SAMPLES = 3
"""Samples a pixel, each way; odd."""

Floats = NDArray[np.float32]
Point2 = tuple[float, float]
Point3 = tuple[float, float, float]

_CIRCLE = [(math.cos(k * math.pi / 6), math.sin(k * math.pi / 6)) for k in range(12)]


class Surface(IntEnum):
    """How a paint lies in the world, and what its `plane` value means."""

    FACING = 0  # faces the camera at depth `plane`
    SIDE = 1  # runs along the street at lateral position `plane`
    GROUND = 2  # lies on the ground
    SKY = 3  # lies at depth `plane`, which stands for infinity


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above the ground, looking along the street; lengths in metres, image lengths in samples."""

    focal: float
    center_x: float
    horizon_y: float
    height: float
    roll: float

    def project(self, x: float, y: float, z: float) -> Point2:
        """The sample position of a world point: x to the right, y up from the ground, z ahead (positive)."""
        scale = self.focal / z
        right, down = x * scale, (self.height - y) * scale
        # roll is a few degrees at most: the small-angle form keeps lines straight and costs no trigonometry
        return self.center_x + right - self.roll * down, self.horizon_y + down + self.roll * right

    def offsets(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Sample positions as offsets (right, down) from the vanishing point, the roll undone."""
        right, down = x - np.float32(self.center_x), y - np.float32(self.horizon_y)
        roll, norm = np.float32(self.roll), np.float32(1 + self.roll**2)
        return (right + roll * down) / norm, (down - roll * right) / norm


@dataclass(frozen=True)
class Facade:
    """A grid of windows on a wall: spacings in metres, window sizes as shares of the spacing.

    The paints that follow the wall's own are its dark window, lit window and ground-floor front.
    """

    pitch: float
    storey: float
    window_width: float
    window_height: float
    top: float
    lit: float
    shop: bool


class Sketch:
    """One scene's canvas and paint tables."""

    def __init__(self, camera: Camera, height: int, width: int) -> None:
        self.camera = camera
        self.shape = (height * SAMPLES, width * SAMPLES)
        self._image = Image.new("I", self.shape[::-1], 0)
        self._polygon = ImageDraw.Draw(self._image).polygon
        self.colors: list[RGB] = []
        self.glows: list[int] = []
        self.instances: list[int] = []
        self.surfaces: list[int] = []
        self.planes: list[float] = []
        self.roughness: list[float] = []
        self.facades: dict[int, Facade] = {}
        self.kinds: list[int] = [0]

    def add_instance(self, kind: int) -> int:
        """The id of a new object of a class; ids start at 1."""
        self.kinds.append(int(kind))
        return len(self.kinds) - 1

    def add_paint(
        self, color: RGB, instance: int, surface: Surface, plane: float = 0.0, rough: float = 0.0, glow: float = 0.0
    ) -> int:
        """The number of a new paint. `rough` scales the texture, `glow` in [0, 1] is light of its own."""
        self.colors.append(color)
        self.instances.append(instance)
        self.surfaces.append(surface)
        self.planes.append(plane)
        self.roughness.append(rough)
        self.glows.append(int(255 * glow))
        return len(self.colors) - 1

    def fill(self, paint: int, points: Sequence[Point3]) -> None:
        """Paints the polygon through world points, all ahead of the camera."""
        camera = self.camera
        focal, height, roll = camera.focal, camera.height, camera.roll
        left, top = camera.center_x, camera.horizon_y
        outline = []
        # `Camera.project` written out: a scene has a thousand points, and calls cost more than sums
        for x, y, z in points:
            scale = focal / z
            right, down = x * scale, (height - y) * scale
            outline.append((left + right - roll * down, top + down + roll * right))
        self._polygon(outline, fill=paint)

    def fill_flat(self, paint: int, points: Sequence[Point2]) -> None:
        """Paints the polygon through sample positions."""
        self._polygon(points, fill=paint)

    def ground(self, paint: int, x: tuple[float, float], z: tuple[float, float]) -> None:
        """Paints a rectangle of the ground."""
        (left, right), (near, far) = x, z
        self.fill(paint, ((left, 0, near), (right, 0, near), (right, 0, far), (left, 0, far)))

    def cutout(self, kind: int, x: float, z: float, scale: float = 1.0, flip: int = 1) -> "Cutout":
        """A new object that faces the camera, standing at (x, 0, z)."""
        return Cutout(self, self.add_instance(kind), (x, z), scale, flip)

    def numbers(self) -> NDArray[np.int32]:
        """The canvas: the paint number of every sample."""
        return np.array(self._image, dtype=np.int32)


class Cutout:
    """An object drawn on one upright plane, in units of `scale` metres from its foot; `flip` -1 mirrors it."""

    def __init__(self, sketch: Sketch, instance: int, foot: tuple[float, float], scale: float, flip: int) -> None:
        self._sketch = sketch
        self.instance = instance
        self.z = foot[1]
        camera = sketch.camera
        ratio = camera.focal / self.z
        self._foot = camera.project(foot[0], 0.0, self.z)
        self._size = ratio * scale
        self._flip, self._roll = flip, camera.roll
        self.pixel = SAMPLES / self._size
        """The size of one image pixel in the object's units: thinner parts would fall between the pixels."""

    def fill(self, color: RGB, outline: Sequence[Point2], rough: float = 0.0, glow: float = 0.0) -> None:
        """Paints a polygon of the object."""
        paint = self._sketch.add_paint(color, self.instance, Surface.FACING, self.z, rough, glow)
        (left, foot), size, roll = self._foot, self._size, self._roll
        across = size * self._flip
        turned, lean = roll * across, roll * size
        points = [(left + x * across + y * lean, foot - y * size + x * turned) for x, y in outline]
        self._sketch.fill_flat(paint, points)

    def box(self, color: RGB, x: tuple[float, float], y: tuple[float, float], glow: float = 0.0) -> None:
        """Paints an upright rectangle."""
        self.fill(color, ((x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])), glow=glow)

    def disc(
        self, color: RGB, center: Point2, radius: float, *, tall: float = 1.0, rough: float = 0.0, glow: float = 0.0
    ) -> None:
        """Paints a disc, `tall` times as high as wide."""
        x, y = center
        high = radius * tall
        self.fill(color, [(x + radius * a, y + high * b) for a, b in _CIRCLE], rough, glow)

    def stroke(self, color: RGB, start: Point2, end: Point2, width: float) -> None:
        """Paints a straight bar, at least a pixel wide."""
        (x0, y0), (x1, y1) = start, end
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        half = max(width, self.pixel) / 2 / length
        a, b = -(y1 - y0) * half, (x1 - x0) * half
        self.fill(color, ((x0 + a, y0 + b), (x1 + a, y1 + b), (x1 - a, y1 - b), (x0 - a, y0 - b)))
