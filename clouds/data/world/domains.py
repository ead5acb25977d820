"""The table of all domains and its parts: source, web, test, validation. It draws nothing and holds no values."""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from clouds.data.world.looks import Domain, Light
from clouds.data.world.source_town import GAME_TOWN
from clouds.data.world.unseen_looks import UNSEEN
from clouds.data.world.validation_looks import VALIDATION
from clouds.data.world.web_looks import WEB

NOON_GAME = Light("at noon", sky_top=((112, 176, 236),), sky_low=((112, 176, 236),), sun=0.16)

DOMAINS: Mapping[str, Domain] = MappingProxyType(
    {"source": Domain((GAME_TOWN,), (NOON_GAME,)), **UNSEEN, "web": WEB, **VALIDATION}
)
"""Every domain by name: `source` has labels for training; `web` is broad, and generators and encoders learn from it."""

TEST_DOMAINS: tuple[str, ...] = tuple(UNSEEN)
"""Domains that results are reported on. No model learns from them, and no setting is chosen on them."""

VALIDATION_DOMAINS: tuple[str, ...] = tuple(VALIDATION)
"""Domains that settings are chosen on. No model learns from them; they share no part with `web` or the test domains."""

WEB_DOMAINS: tuple[str, ...] = ("web",)
"""Domains that the foundation models learn from."""


def domain_choices(name: str) -> str:
    """A mend for a name that is no domain's: all domains, the nearest first."""
    near = difflib.get_close_matches(name, DOMAINS, n=len(DOMAINS), cutoff=0.0)
    return f"choose one of: {', '.join(near)}"
