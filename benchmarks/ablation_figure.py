"""The curves of the ablation: mean mIoU of the unseen domains by rounds and by generated images, as an SVG.

It measures nothing: a curve goes through those of its rows that are finished.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from clouds.replacing import replacing

matplotlib.use("svg")
from matplotlib import pyplot

COLORS = ("#0072b2", "#d55e00")
"""Blue and vermilion of Okabe and Ito's palette, which all readers can tell apart."""
MARKERS = ("o", "s")

Means = Callable[[str], Sequence[float]]
"""The mean mIoU of a row in each seed that has one, in [0, 1]."""


@dataclass(frozen=True)
class Panel:
    """A plot: what its x axis counts, and for each curve the rows with their places on it."""

    title: str
    curves: Mapping[str, Mapping[int, str]]
    logarithmic: bool = False


def panels(counts: Mapping[int, str]) -> list[Panel]:
    """All there are; `counts` has the rows by their number of generated images."""
    rounds = {
        "as published": {0: "repainted", 1: "refined", 2: "round-2", 3: "round-3"},
        "with a mix": {0: "repainted", 1: "mix", 2: "mix-round-2", 3: "mix-round-3"},
    }
    return [Panel("rounds", rounds), Panel("generated images", {"one round as published": counts}, logarithmic=True)]


def draw(chosen: Sequence[Panel], means: Means, path: Path) -> bool:
    """Write the panels that have a curve of two points or more; whether there was any."""
    drawn = [(panel, curves) for panel in chosen if (curves := _curves(panel, means))]
    if not drawn:
        return False
    # the same numbers give the same bytes
    with matplotlib.rc_context({"svg.hashsalt": "clouds", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = pyplot.subplots(1, len(drawn), figsize=(4.2 * len(drawn), 3.0), squeeze=False)
        for axis, (panel, curves) in zip(axes[0], drawn, strict=True):
            for (name, points), color, marker in zip(curves.items(), COLORS, MARKERS, strict=False):
                places = sorted(points)
                percents = [[100 * value for value in points[place]] for place in places]
                spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in percents]
                middle = [statistics.mean(values) for values in percents]
                axis.errorbar(places, middle, spread, label=name, color=color, marker=marker, capsize=3)
            if panel.logarithmic:
                axis.set_xscale("log")
            places = sorted({place for points in curves.values() for place in points})
            axis.set_xticks(places, [f"{place:,}" for place in places])
            axis.minorticks_off()
            axis.set_xlabel(panel.title)
            axis.set_ylabel("mIoU of the unseen, percent")
            axis.grid(alpha=0.3)
            axis.legend(frameon=False)
        figure.tight_layout()
        with replacing(path) as scratch:
            figure.savefig(scratch, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    return True


def _curves(panel: Panel, means: Means) -> dict[str, dict[int, Sequence[float]]]:
    curves = {}
    for name, rows in panel.curves.items():
        points = {place: values for place, row in rows.items() if (values := means(row))}
        if len(points) > 1:
            curves[name] = points
    return curves
