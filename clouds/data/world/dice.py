"""Random choices of one scene, drawn from one seeded stream. It does not know what is chosen."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from clouds.data.world.classes import RGB

T = TypeVar("T")
Range = tuple[float, float]

_POOL = 1024


def stable_hash(text: str) -> int:
    """A 64-bit number for a text, the same in every process (`hash` is salted per process)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class Dice:
    """Scalars from a stream that depends on `entropy` alone.

    Uniform numbers are drawn a thousand at a time: one by one they would cost more than the drawing.
    """

    def __init__(self, entropy: Sequence[int]) -> None:
        self.rng = np.random.default_rng(np.random.SeedSequence(list(entropy)))
        self._pool: list[float] = []

    def random(self) -> float:
        """A number in [0, 1)."""
        if not self._pool:
            self._pool = self.rng.random(_POOL).tolist()
        return self._pool.pop()

    def within(self, bounds: Range) -> float:
        """A number between the bounds."""
        low, high = bounds
        return low + (high - low) * self.random()

    def count(self, bounds: tuple[int, int]) -> int:
        """A whole number between the bounds, both possible."""
        low, high = bounds
        return low + int(self.random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self.random() * len(options))]

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.random() < probability

    def vary(self, color: RGB, amount: float) -> RGB:
        """The colour with brightness and each channel moved by up to `amount` (0 leaves it as it is)."""
        if not amount:
            return color
        gain = 1 + amount * (2 * self.random() - 1)
        red, green, blue = (channel * gain + 120 * amount * (self.random() - 0.5) for channel in color)
        return clip_color(red, green, blue)


def clip_color(red: float, green: float, blue: float) -> RGB:
    """The nearest colour that exists."""
    return (min(255, max(0, int(red))), min(255, max(0, int(green))), min(255, max(0, int(blue))))


def shade(color: RGB, gain: float) -> RGB:
    """The colour made darker (gain below 1) or brighter."""
    return clip_color(color[0] * gain, color[1] * gain, color[2] * gain)


def blend(color: RGB, other: RGB, share: float) -> RGB:
    """The colour with the given share of another mixed in."""
    red, green, blue = (a + (b - a) * share for a, b in zip(color, other, strict=True))
    return clip_color(red, green, blue)
