"""The ways of self-training within a training that the ablation measures. It runs none."""

from dataclasses import dataclass
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
