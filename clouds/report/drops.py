"""What a run left out: items that failed, pixels without a label, masks that were refused. It drops nothing itself.

What filters dropped on purpose is added by `clouds.report.filtered`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clouds.engine.status import StageStatus
from clouds.report.browser import Totals


@dataclass(frozen=True)
class Drop:
    """So many of so many `unit`s, at which stage, and why."""

    stage: str
    why: str
    count: int
    of: int
    unit: str

    @property
    def share(self) -> float:
        """Of all, in [0, 1]."""
        return self.count / self.of if self.of else 0.0


def drops(statuses: Sequence[StageStatus], totals: Totals) -> list[Drop]:
    """Failures of every stage that has any, then what labels and masks lost in the last round."""
    found = [
        Drop(one.name, "failed", one.failed, one.size or one.failed, f"{one.unit}s") for one in statuses if one.failed
    ]
    if totals.labelled:
        pixels = int(totals.before_K1.sum())
        found.append(Drop("label", "confidence below the threshold", int(totals.before_K1[-1]), pixels, "pixels"))
    if totals.refined:
        masks, pixels = totals.masks, int(totals.after_K1.sum())
        unasked = masks["components"] - masks["prompted"]
        found += [
            Drop("refine", "component too small to ask for", unasked, masks["components"], "components"),
            Drop("refine", "mask refused, the label kept as it was", masks["rejected"], masks["prompted"], "masks"),
            Drop("refine", "without a label after refinement", int(totals.after_K1[-1]), pixels, "pixels"),
        ]
    if totals.unreadable:
        found.append(Drop("report", "picture that cannot be read", totals.unreadable, totals.images, "images"))
    return found
