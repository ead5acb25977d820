"""Scores that lie in a run and are not shown, since they are not what the config asks for: whose, and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clouds.engine.artifact import Artifact
from clouds.engine.atomic import subfolders
from clouds.engine.stage import Stage
from clouds.report.tables import scores_of

_EVALUATE = "evaluate"
_UNKNOWN = "the config has no such stage"

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
    scores = {stage.name: scores_of([stage.artifact]) for stage in stages if reasons[stage.name]}
    origins = _origins(stages, reasons) if any(scores.values()) else {}
    found = [
        LeftOut(model.model, stage.name, _why(stage, reasons, origins[stage.name]))
        for stage in stages
        for model in scores.get(stage.name, ())
    ]
    others = (Artifact(run_folder / name) for name in subfolders(run_folder) if name not in known)
    scored = [one for one in others if (one.description() or {}).get("kind") == _EVALUATE]
    found += [LeftOut(model.model, one.name, (_UNKNOWN,)) for one in scored for model in scores_of([one])]
    return found


def _why(stage: Stage, reasons: Reasons, origins: Iterable[str]) -> tuple[str, ...]:
    """The stage's own reasons and, where it waits for others, those of the first of them."""
    return *reasons[stage.name], *(f"{name}: {'; '.join(reasons[name])}" for name in origins)


def _origins(stages: Sequence[Stage], reasons: Reasons) -> dict[str, tuple[str, ...]]:
    """Of each stage, the names of the stages before it that are not current, though all that they need is.

    What a stage needs comes before it, so each is looked at once, however many ways lead to it.
    """
    found: dict[str, tuple[str, ...]] = {}
    for stage in stages:
        outdated = [needed.name for needed in stage.needs if reasons.get(needed.name)]
        found[stage.name] = tuple(dict.fromkeys(one for name in outdated for one in found.get(name) or (name,)))
    return found
