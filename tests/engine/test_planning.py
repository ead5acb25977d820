import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from toy_stages import Double, Make, ToyConfig

from clouds.config import ConfigModel
from clouds.engine.fingerprint import differences, fingerprint
from clouds.engine.planning import StagePlan, outdated_reasons, plan_stages
from clouds.engine.runner import Orders, run_stages
from clouds.engine.runtime import Runtime
from clouds.engine.stage import Stage
from clouds.errors import CloudsError


class MakeOf(Make):
    """`Make` with an identity, as a stage with weights has."""

    weights: Mapping[str, Any] = {"weights": {"path": "a", "sizes": (1, 2)}}

    def identity(self) -> Mapping[str, Any]:
        return self.weights


def stages(folder: Path, first: dict[str, Any] | None = None, second: dict[str, Any] | None = None) -> list[Stage]:
    """make -> double -> redouble, and other, which needs none of them."""
    make = MakeOf(folder, ToyConfig(**(first or {})))
    double = Double(folder, make, ToyConfig(**(second or {})))
    redouble = Double(folder, double, ToyConfig(), name="redouble")
    return [make, double, redouble, MakeOf(folder, ToyConfig(count=2), name="other")]


def would_run(plans: list[StagePlan]) -> dict[str, tuple[str, ...]]:
    return {plan.name: plan.reasons for plan in plans if not plan.up_to_date}


@pytest.fixture
def done(tmp_path: Path, runtime: Runtime) -> Path:
    run_stages(stages(tmp_path), tmp_path, runtime, Orders())
    return tmp_path


def test_before_the_first_run_all_is_missing_and_later_stages_wait(tmp_path: Path) -> None:
    plans = plan_stages(stages(tmp_path))
    assert would_run(plans) == {
        "make": ("missing",),
        "double": ("missing", "waits for make"),
        "redouble": ("missing", "waits for double"),
        "other": ("missing",),
    }
    assert [plan.shards is None for plan in plans] == [False, True, True, False]
    assert [shard.size for shard in plans[0].pending] == [5, 5]
    assert list(tmp_path.iterdir()) == [], "planning changes nothing"


def test_after_a_run_there_is_nothing_to_do(done: Path) -> None:
    assert would_run(plan_stages(stages(done))) == {}


def test_a_changed_value_concerns_its_stage_and_those_after_it(done: Path) -> None:
    assert would_run(plan_stages(stages(done, {"text": "b"}))) == {
        "make": ('config text: "a" -> "b"',),
        "double": ("upstream make changed", "waits for make"),
        "redouble": ("upstream double changed", "waits for double"),
    }
    assert list(would_run(plan_stages(stages(done, second={"shard_items": 7})))) == ["double", "redouble"]


@pytest.mark.parametrize("field", ["count", "text", "shard_items"])
def test_every_value_counts(done: Path, field: str) -> None:
    changed = {"count": 11, "text": "z", "shard_items": 3}[field]
    reasons = would_run(plan_stages(stages(done, {field: changed})))["make"]
    assert reasons[0].startswith(f"config {field}: ")


def test_a_neutral_value_concerns_none(done: Path) -> None:
    assert would_run(plan_stages(stages(done, {"batch_size": 1, "seconds": 0.1}))) == {}


class Rule(ConfigModel):
    least: float = 0.5
    names: tuple[str, ...] = ("a", "b")


class NewerConfig(ToyConfig):
    """As a later version of the tool has it."""

    rule: Rule | None = None
    shown: Rule = Rule()
    words: tuple[str, ...] = ("a", "b")


def test_what_a_newer_version_adds_to_a_config_concerns_none_who_do_not_ask_for_it(
    done: Path, runtime: Runtime
) -> None:
    def newer(**values: Any) -> list[Stage]:
        changed = stages(done)
        changed[0].config = NewerConfig(**values)  # type: ignore[misc]
        return changed

    assert would_run(plan_stages(newer())) == {}
    assert would_run(plan_stages(newer(rule={})))["make"] == (
        "config rule.least: (none) -> 0.5",
        'config rule.names.0: (none) -> "a"',
        'config rule.names.1: (none) -> "b"',
    )
    assert "config shown.least: (none) -> 0.1" in would_run(plan_stages(newer(shown={"least": 0.1})))["make"]
    assert would_run(plan_stages(newer(text="b")))["make"] == ('config text: "a" -> "b"',)
    run_stages(newer(text="c"), done, runtime, Orders())
    assert would_run(plan_stages(newer(text="c", rule={})))["make"] == (
        "config rule: null -> (none)",
        "config rule.least: (none) -> 0.5",
        'config rule.names.0: (none) -> "a"',
        'config rule.names.1: (none) -> "b"',
    )
    # once it is on record, leaving it out is a change like any other
    run_stages(newer(words=(), rule={"names": ["a"]}), done, runtime, Orders())
    assert would_run(plan_stages(newer(words=(), rule={"names": ["a"]}))) == {}
    for values in ({"rule": {"names": ["a"]}}, {"words": ()}, {"words": (), "rule": {}}):
        assert "make" in would_run(plan_stages(newer(**values)))


class Mixing(ConfigModel):
    share: float = 0.5


class Online(ConfigModel):
    mix: Mixing | None = None
    least: float = 0.0


class OlderConfig(ToyConfig):
    online: Online | None = Online()


class Bare(ConfigModel):
    least: float = 0.0


class MovedConfig(ToyConfig):
    """As a later version has it, whose `mix` stands beside `online`."""

    mix: Mixing | None = None
    online: Bare | None = Bare()

    moved: ClassVar[Mapping[str, str]] = {"online.mix": "mix"}


@pytest.mark.parametrize("mix", [None, Mixing(), Mixing(share=0.25)])
def test_a_key_that_moved_is_the_key_it_was(done: Path, runtime: Runtime, mix: Mixing | None) -> None:
    def make(config: ToyConfig) -> Stage:
        stage = stages(done)[0]
        stage.config = config  # type: ignore[misc]
        return stage

    def reasons(config: ToyConfig) -> tuple[str, ...]:
        return plan_stages([make(config)])[0].reasons

    run_stages([make(OlderConfig(online=Online(mix=mix)))], done, runtime, Orders())
    as_before = MovedConfig(mix=mix)
    assert reasons(as_before) == ()
    other = reasons(MovedConfig(mix=Mixing(share=0.75)))
    assert other[-1].startswith("config mix.share: ") and not any("online" in line for line in other)
    # what it had made is found again behind what was made since
    run_stages([make(MovedConfig(text="b"))], done, runtime, Orders())
    assert reasons(as_before)[-1] == "made before with these values: it is brought back from .replaced"
    # nothing was there to move where the former version had no such group
    run_stages([make(OlderConfig(online=None))], done, runtime, Orders())
    assert reasons(MovedConfig(online=None)) == ()
    assert reasons(MovedConfig(online=None, mix=Mixing())) == ("config mix.share: (none) -> 0.5",)


def test_what_an_older_version_set_aside_comes_back_when_its_values_are_asked_for_again(
    done: Path, runtime: Runtime
) -> None:
    """The older version made `a`, then `b`; the newer one has more fields, and asks for `a` again."""

    def newer(**values: Any) -> list[Stage]:
        changed = stages(done)
        changed[0].config = NewerConfig(**values)  # type: ignore[misc]
        return changed

    made = (done / "make/00000/0000.txt").read_bytes(), (done / "redouble/00000/0000.txt").read_bytes()
    run_stages(stages(done, {"text": "b"}), done, runtime, Orders())
    back = "made before with these values: it is brought back from .replaced"
    assert would_run(plan_stages(newer())) == {
        "make": ('config text: "b" -> "a"', back),
        "double": ("upstream make changed", back, "waits for make"),
        "redouble": ("upstream double changed", back, "waits for double"),
    }
    assert back not in would_run(plan_stages(newer(rule={})))["make"], "that is something new"
    again = newer()
    run_stages(again, done, runtime, Orders())
    assert [stage.prepared for stage in again] == [0, 0, 0, 0]  # type: ignore[attr-defined]
    assert ((done / "make/00000/0000.txt").read_bytes(), (done / "redouble/00000/0000.txt").read_bytes()) == made
    assert would_run(plan_stages(newer())) == {}


def test_other_weights_and_another_version_of_a_stage_are_named(done: Path) -> None:
    changed = stages(done)
    changed[0].weights = {"weights": {"path": "b", "sizes": (1, 2)}}  # type: ignore[attr-defined]
    changed[3].version = 2  # type: ignore[misc]
    reasons = would_run(plan_stages(changed))
    assert reasons["make"] == ('input weights.path: "a" -> "b"',)
    assert reasons["other"] == ("stage version: 1 -> 2",)


def test_changed_inputs_open_only_the_shards_they_concern(tmp_path: Path, runtime: Runtime) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOUDS_TEST_BAD", "0007")
        run_stages(stages(tmp_path), tmp_path, runtime, Orders())
    assert plan_stages(stages(tmp_path))[0].failed == 1
    plans = plan_stages(stages(tmp_path), retry=True)
    assert would_run(plans)["make"] == ("1 failed items to retry",)
    assert [shard.id for shard in plans[0].pending] == ["00001"]
    made = stages(tmp_path)
    run_stages(made[:1], tmp_path, runtime, Orders(retry=True))
    plans = plan_stages(made)
    assert would_run(plans)["double"] == ("inputs of 1 of 2 shards changed",)
    assert [shard.id for shard in plans[1].pending] == ["00001"]
    run_stages(made, tmp_path, runtime, Orders())
    double = made[1]
    assert isinstance(double, Double)
    assert [row["id"] for row in double.artifact.rows("00001")] == [f"{number:04d}" for number in range(5, 10)]
    assert would_run(plan_stages(made)) == {}


def test_missing_unfinished_and_unlisted_shards_are_told_apart(done: Path) -> None:
    make = stages(done)[0]
    make.artifact.shard_folder("00000").rename(make.artifact.shard_folder("00009"))
    make.artifact.scratch_folder("00001").mkdir(parents=True)
    (plan,) = plan_stages([make])
    assert plan.reasons == (
        "1 of 2 shards missing",
        "1 of 2 shards unfinished",
        "1 shards are no longer listed",
    )


def test_a_stage_whose_summary_was_not_written_is_not_up_to_date(done: Path) -> None:
    make = stages(done)[0]
    make.artifact.describe({**(make.artifact.description() or {}), "complete": False})
    plans = plan_stages(stages(done))
    assert would_run(plans)["make"] == ("its summary is not written",)
    assert plans[0].pending == ()
    assert would_run(plans)["double"] == ("waits for make",)


@pytest.mark.parametrize("damage", ["", "{", "[]", None])
def test_output_whose_origin_is_not_on_record_is_not_taken_for_this_configs(
    done: Path, runtime: Runtime, damage: str | None
) -> None:
    path = done / "make" / "stage.json"
    path.unlink()
    if damage is not None:
        path.write_text(damage, encoding="utf-8")
    changed = stages(done, {"text": "b"})
    assert would_run(plan_stages(changed))["make"] == ("what it was made from is not on record",)
    run_stages(changed, done, runtime, Orders())
    assert (done / "make/00000/0000.txt").read_text(encoding="utf-8").startswith("b ")
    assert (done / ".replaced/make-unknown/00000/0000.txt").read_text(encoding="utf-8").startswith("a ")


def test_the_fingerprint_is_of_the_content_not_of_its_order() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})
    assert len(fingerprint({})) == 32


def test_differences_name_each_cause_once() -> None:
    after = {
        "version": 1,
        "config": {"a": 1, "new": None, "text": "x" * 100},
        "inputs": {"sizes": (1, 2)},
        "upstream": {"make": "1", "other": "2"},
    }
    before = json.loads(json.dumps(after))
    assert differences(before, after) == []
    before["config"] = {"a": 2, "gone": True, "text": "x"}
    before["upstream"] = {"make": "1", "other": "1"}
    assert differences(before, after) == [
        "config a: 2 -> 1",
        "config gone: true -> (none)",
        "config new: (none) -> null",
        'config text: "x" -> "' + "x" * 56 + "...",
        "upstream other changed",
    ]


def test_what_has_gone_hides_nothing_but_itself(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of one stage, or all that it is told by; what is known of the others, and of its own config, counts."""

    def gone(self: Stage) -> Any:
        if self.name == "make":
            raise CloudsError("the files are gone")
        return Make.shards(self) if lost == "shards" else MakeOf.weights  # type: ignore[arg-type]

    for lost in ("shards", "identity"):
        with monkeypatch.context() as patch:
            patch.setattr(MakeOf, lost, gone)
            assert not any(outdated_reasons(stages(done)).values())
            with pytest.raises(CloudsError, match="the files are gone"):
                plan_stages(stages(done))
            changed = outdated_reasons(stages(done, second={"text": "b"}))
            assert changed == {
                "make": (),
                "double": ('config text: "a" -> "b"',),
                "redouble": ("upstream double changed", "waits for double"),
                "other": (),
            }
            assert outdated_reasons(stages(done, {"text": "b"}))["make"] == ('config text: "a" -> "b"',)
            assert outdated_reasons(stages(done / "fresh"))["make"] == ("not complete",)


def test_planning_imports_no_torch() -> None:
    code = "import sys, clouds.engine.planning, clouds.engine.status; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
