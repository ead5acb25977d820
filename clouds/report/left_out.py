"""Scores that lie in a run and are not shown, since they are not what the config asks for: whose, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clouds.engine.artifact import Artifact
from clouds.engine.atomic import subfolders
from clouds.engine.stage import Stage
from clouds.report.tables import scores_of

_EVALUATE = "evaluate"

Reasons = Mapping[str, Sequence[str]]
"""Why the output of each stage, by its name, is not what the config asks for; nothing where it is."""


@dataclass(frozen=True)
class LeftOut:
    """One model's scores on disk, and why no table has them."""

    model: str
    stage: str
    reasons: tuple[str, ...]

    @property
    def line(self) -> str:
        """For the foot of a table."""
        return f"left out: {self.model}, whose scores in {self.stage} are not current ({'; '.join(self.reasons)})"


def left_out(run_folder: Path, stages: Sequence[Stage], reasons: Reasons) -> list[LeftOut]:
    """The scores of stages that are not current, in their order, then of those that the config has no more."""
    known = {stage.name for stage in stages}
    found = [(stage.artifact, _why(stage, reasons)) for stage in stages if reasons[stage.name]]
    others = (Artifact(run_folder / name) for name in subfolders(run_folder) if name not in known)
    scored = [one for one in others if (one.description() or {}).get("kind") == _EVALUATE]
    found += [(artifact, ("the config has no such stage",)) for artifact in scored]
    return [LeftOut(scores.model, artifact.name, why) for artifact, why in found for scores in scores_of([artifact])]


def _why(stage: Stage, reasons: Reasons) -> tuple[str, ...]:
    """The stage's own reasons and, where it waits for others, those of the first of them."""
    first = (f"{needed.name}: {'; '.join(reasons[needed.name])}" for needed in _origins(stage, reasons))
    return *reasons[stage.name], *dict.fromkeys(first)


def _origins(stage: Stage, reasons: Reasons) -> list[Stage]:
    """The stages before it that are not current, though all that they need is."""
    outdated = [needed for needed in stage.needs if reasons.get(needed.name)]
    return [origin for needed in outdated for origin in (_origins(needed, reasons) or [needed])]
