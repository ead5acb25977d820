"""Why scores are left out, where a run has many rounds: made-up stages, whose output nobody made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_json
from clouds.engine.stage import Stage
from clouds.report import left_out as module
from clouds.report.left_out import left_out


@dataclass
class Made:
    """A stage as far as it is looked at here, which counts how often it is."""

    artifact: Artifact
    before: tuple["Made", ...] = ()
    asked: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def needs(self) -> tuple["Made", ...]:
        self.asked += 1
        return self.before


def test_each_stage_is_looked_at_once_however_many_ways_lead_to_it(tmp_path: Path) -> None:
    """As in rounds with a filter: what a round makes is needed in several ways by the next."""
    stages = [Made(Artifact(tmp_path / "train"))]
    for number in range(12):
        label = Made(Artifact(tmp_path / f"label-{number}"), (stages[0], stages[-1]))
        judge = Made(Artifact(tmp_path / f"judge-{number}"), (label, stages[-1]))
        filtered = Made(Artifact(tmp_path / f"filter-{number}"), (label, judge, stages[-1]))
        stages += [label, judge, filtered, Made(Artifact(tmp_path / f"selftrain-{number}"), (filtered, label, judge))]
    last = Made(Artifact(tmp_path / "evaluate"), (stages[-1],))
    last.artifact.folder.mkdir()
    write_json(last.artifact.folder / "scores.json", {"model": "last", "results": {"fog": {"mean_iou": 0.5}}})
    stages.append(last)
    reasons: dict[str, tuple[str, ...]] = {one.name: ("waits",) for one in stages}
    reasons["train"] = ("config steps: 1 -> 2",)
    [found] = left_out(tmp_path, cast(list[Stage], stages), reasons)
    assert (found.model, found.stage) == ("last", "evaluate")
    assert found.reasons == ("waits", "train: config steps: 1 -> 2")
    assert {one.asked for one in stages} == {1}


def test_where_there_are_no_scores_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_why", lambda *given: pytest.fail("of a stage without scores"))
    train = Made(Artifact(tmp_path / "train"))
    stages = [train, Made(Artifact(tmp_path / "evaluate"), (train,))]
    assert left_out(tmp_path, cast(list[Stage], stages), {one.name: ("missing",) for one in stages}) == []
    assert [one.asked for one in stages] == [0, 0]
