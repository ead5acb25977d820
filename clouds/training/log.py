"""What a training logs: one JSON line a step, on the main process. It does not know what the numbers mean."""

import json
import os
from collections.abc import Mapping
from pathlib import Path


class StepLog:
    """A log that agrees with the checkpoint a training resumes from: later lines are cut off."""

    def __init__(self, path: Path, resumed_at: int) -> None:
        self._path = path
        self._cut(resumed_at)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add the line of a step (1-based); values are rounded to seven significant digits."""
        rounded = {name: float(f"{value:.7g}") for name, value in values.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **rounded}) + "\n")

    def _cut(self, last_step: int) -> None:
        if not self._path.exists():
            return
        kept = 0
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                step = json.loads(line)["step"]
            except (ValueError, KeyError):
                break
            if step > last_step or not line.endswith(b"\n"):
                break
            kept += len(line)
        os.truncate(self._path, kept)
