"""The ways of self-training within a training that the ablation measures. It runs none."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from clouds.training.online_settings import OnlineConfig
from clouds.training.settings import MixConfig


@dataclass(frozen=True)
class Way:
    """One way, and in words what it does."""

    what: str
    config: OnlineConfig
    mix: MixConfig | None = None


def _way(what: str, mix: MixConfig | None = None, **values: Any) -> Way:
    return Way(what, OnlineConfig.model_validate(values), mix)


WAYS = {
    "online": _way("a teacher labels in every step"),
    "online-mix": _way("classes of the source pasted onto its images", mix=MixConfig()),
    "online-refined": _way("SAM refines its labels in every tenth step", refine_every=10),
    "cluda": _way(
        "CLUDA: trust by image, pasted classes, contrast",
        threshold=0.968,
        weighting="image",
        mix=MixConfig(),
        # a map of the miniature's images, at a quarter of their size; published: 65 x 65
        contrast={"size": (16, 32)},
    ),
}
"""By row; each takes the place of a round."""

PHOTOGRAPHED = {"online-photos": "online", "mix-photos": "online-mix", "cluda-photos": "cluda"}
"""By row: the way that learns from photographs without labels in the place of generated images."""


def photographed(unlabelled: Mapping[str, float]) -> dict[str, Way]:
    """These ways by row; `unlabelled` has the photographs' data sets by name, each with its weight."""
    return {
        row: replace(
            WAYS[way],
            what=f"`{way}` with photographs in the place of generated images",
            config=WAYS[way].config.model_copy(update={"unlabelled": dict(unlabelled)}),
        )
        for row, way in PHOTOGRAPHED.items()
    }
