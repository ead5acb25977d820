"""Curves of a training's log, loss and validation, as coordinates of an inline drawing. It knows no other numbers."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clouds.engine.stage import Stage

MAX_POINTS = 300
"""A curve has no more points; each is the mean of as many steps as that takes."""

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 26, 12, 36

_SHARD = "model"
_LOG = "log.jsonl"

Point = tuple[float, float]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, in the drawing's units, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Curve:
    """One value of one training: from which step to which, its first and last values, and its drawing.

    `points` are what is drawn; `smooth` goes through their moving mean, and is "" where there are too few for one.
    """

    stage: str
    what: str
    begun: int
    steps: int
    first: float
    last: float
    per_point: int
    points: tuple[Point, ...]
    path: str
    smooth: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def read_curves(stages: Sequence[Stage]) -> list[Curve]:
    """The curves of every stage that logs a loss, finished or not; of a validation, from the second one on."""
    found = []
    for stage in stages:
        for folder in (stage.artifact.scratch_folder(_SHARD), stage.artifact.shard_folder(_SHARD)):
            losses, validated = (list(_points(folder / _LOG, key)) for key in ("loss", "miou"))
            if losses:
                found.append(draw(stage.name, losses))
                if len(validated) > 1:
                    found.append(draw(stage.name, validated, "validation mIoU"))
                break
    return found


def draw(stage: str, points: Sequence[Point], what: str = "loss") -> Curve:
    """The curve through (step, value) points, of which there must be one."""
    thin, per_point = downsample(points, MAX_POINTS)
    values = [value for _, value in thin]
    x_marks = ticks(points[0][0], points[-1][0], whole=True)
    y_marks = ticks(min(values), max(values))
    x_range = (points[0][0], points[-1][0])
    y_range = (min(y_marks[0], *values), max(y_marks[-1], *values))

    def x(step: float) -> float:
        return _scale(step, x_range, (LEFT, WIDTH - RIGHT))

    def y(value: float) -> float:
        return _scale(value, y_range, (HEIGHT - BOTTOM, TOP))

    return Curve(
        stage=stage,
        what=what,
        begun=int(points[0][0]),
        steps=int(points[-1][0]),
        first=points[0][1],
        last=points[-1][1],
        per_point=per_point,
        points=tuple(thin),
        path=" ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in thin),
        smooth=" ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in smoothed(thin)),
        x_ticks=tuple(Tick(x(mark), f"{mark:,.0f}") for mark in x_marks if x_range[0] <= mark <= x_range[1]),
        y_ticks=tuple(Tick(y(mark), f"{mark:g}") for mark in y_marks),
    )


def downsample(points: Sequence[Point], most: int) -> tuple[list[Point], int]:
    """At most `most` points, each the mean of the same number of neighbours; and that number."""
    size = max(1, math.ceil(len(points) / most))
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    means = [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
    return means, size


def smoothed(points: Sequence[Point]) -> list[Point]:
    """The mean of each point and its neighbours, a twentieth of all; none where they are too few to need it."""
    reach = len(points) // 40
    if not reach:
        return []
    return [
        (points[at][0], sum(value for _, value in near) / len(near))
        for at in range(len(points))
        if (near := points[max(0, at - reach) : at + reach + 1])
    ]


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Three to eight round marks that enclose a range of values; of whole numbers on request."""
    # values that differ by rounding alone are drawn as one flat line
    size = max(abs(low), abs(high), 1e-6)
    span = high - low if high - low > 1e-6 * size else size
    power = 10 ** math.floor(math.log10(span / 4))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= span / 4), 10 * power)
    if whole:
        step = max(1, step)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _scale(value: float, source: tuple[float, float], target: tuple[float, float]) -> float:
    span = source[1] - source[0]
    share = (value - source[0]) / span if span else 0.5
    return target[0] + share * (target[1] - target[0])


def _points(log: Path, key: str) -> Iterator[Point]:
    """(step, value) of each whole line; a line that a crash tore, or without a finite value, is left out."""
    try:
        with log.open(encoding="utf-8") as file:
            for line in file:
                point = _point(line, key)
                if point is not None:
                    yield point
    except FileNotFoundError:
        return


def _point(line: str, key: str) -> Point | None:
    try:
        values = json.loads(line)
        point = float(values["step"]), float(values[key])
    except (ValueError, KeyError, TypeError):
        return None
    return point if math.isfinite(point[1]) else None
