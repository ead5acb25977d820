"""Notices that a teacher's labels have counted for nothing for long. It labels nothing and knows no model."""

import logging

from clouds.training.online_settings import OnlineConfig

PATIENCE = 100
"""Steps in a row in which a teacher was asked, and no pixel of what it said counted."""

_log = logging.getLogger(__name__)


class Distrust:
    """Counts steps in which nothing was trusted, and says so once."""

    def __init__(self, config: OnlineConfig) -> None:
        self._config = config
        self._steps = 0
        self._said = False

    def note(self, asked: int, trusted: int, step: int, *, speaks: bool) -> None:
        """Take in one step: of how many pixels the teacher was asked, and how much of that counted, over all processes.

        A step in which it was not asked tells nothing. `speaks` is true on the process that says it.
        """
        if not asked:
            return
        self._steps = 0 if trusted else self._steps + 1
        if self._steps < PATIENCE or self._said:
            return
        self._said = True
        if speaks:
            _log.warning("%s", self._told(step))

    def _told(self, step: int) -> str:
        config = self._config
        told = f"up to step {step} no pixel of what the teacher said has counted for {PATIENCE} steps: "
        if config.threshold == 0:
            return told + "refinement left none of its labels"
        return told + (
            f"none reached `selftrain.online.threshold` = {config.threshold:g} (`weighting: {config.weighting}`); "
            "the student learns from labelled images alone until the teacher is surer, or the threshold lower"
        )
