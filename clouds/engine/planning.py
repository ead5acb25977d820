"""Which shards of a stage are to be made, and why, from what lies on disk. It loads no model and changes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clouds.config import ConfigModel, absent_defaults, flatten, renamed
from clouds.engine.fingerprint import Document, differences, fingerprint
from clouds.engine.shard import Shard
from clouds.engine.stage import Stage
from clouds.errors import CloudsError

FORCING = ".forcing.json"
"""The file in a run's folder that says which editions of forced stages are being made."""


@dataclass(frozen=True)
class StagePlan:
    """What one stage would do.

    `shards` are all its shards, None while it waits for a stage it needs; `pending` those to be made; `reasons` say
    why, none when there is nothing to do. `changed` tells that what lies on disk was made from something else.
    `problem` is why all this cannot be told: weights, data or files have gone from this machine.
    """

    name: str
    document: Document
    fingerprint: str
    shards: tuple[Shard, ...] | None
    pending: tuple[Shard, ...]
    reasons: tuple[str, ...]
    changed: bool = False
    failed: int = 0
    problem: CloudsError | None = None

    @property
    def up_to_date(self) -> bool:
        return not self.reasons

    def say_up_to_date(self) -> str:
        """A line for the terminal: that there is nothing to do, and how many items failed when it was done."""
        size = sum(shard.size for shard in self.shards or ())
        failed = f", {self.failed} failed (`clouds retry` takes them up)" if self.failed else ""
        return f"{self.name}: up to date, {size - self.failed} of {size}{failed}"


@dataclass
class _Findings:
    missing: int = 0
    unfinished: int = 0
    inputs_changed: int = 0
    unlisted: int = 0
    failed_items: int = 0
    pending: list[Shard] = field(default_factory=list)


def document(stage: Stage, upstream: Mapping[str, str]) -> Document:
    """Everything that can change a stage's output: its version, its config less the neutral values, what its inputs
    are (weights, data), and the fingerprints of the stages it needs."""
    return {
        "stage": stage.name,
        "version": stage.version,
        "config": dict(flatten(stage.config)),
        "inputs": dict(_flat(stage.identity())),
        "upstream": {needed.name: upstream[needed.name] for needed in stage.needs},
    }


def plan_stages(stages: Sequence[Stage], *, retry: bool = False, looking: bool = False) -> list[StagePlan]:
    """The plan of every stage in order; a stage whose needs are not up to date waits for them.

    Raises `CloudsError` where weights, data or files have gone from this machine. Who is only `looking` gets it as the
    `problem` of the stage: what is complete counts as up to date, then, unless its config is another one.
    """
    plans: dict[str, StagePlan] = {}
    for stage in stages:
        waits = [needed.name for needed in stage.needs if not plans[needed.name].up_to_date]
        prints = {name: plan.fingerprint for name, plan in plans.items()}
        try:
            plans[stage.name] = plan_stage(stage, prints, waits=waits, retry=retry)
        except CloudsError as error:
            if not looking:
                raise
            plans[stage.name] = _as_it_lies(stage, prints, waits, error)
    return list(plans.values())


def plan_stage(
    stage: Stage, upstream: Mapping[str, str], *, waits: Sequence[str] = (), retry: bool = False
) -> StagePlan:
    """What one stage would do, given the fingerprints of the stages it needs and which of them are not complete."""
    content = document(stage, upstream)
    print_ = fingerprint(content)
    before = stage.artifact.description() or {}
    former = before.get("document")
    # what a newer version of this tool adds to the config changes nothing where nobody asks for it
    older = _as_it_was(content, former, stage.config)
    if before.get("fingerprint") == fingerprint(older):
        content, print_ = older, fingerprint(older)
    unlike = before.get("fingerprint") != print_
    changed = unlike and (bool(before) or stage.artifact.begun())
    reasons = _changes(former, older, stage.config) if changed else ["missing"] if unlike else []
    kept = _set_aside(stage, content) if unlike else None
    if kept is not None:
        content, print_ = kept, fingerprint(kept)
        reasons.append("made before with these values: it is brought back from .replaced")
    reasons += [f"waits for {name}" for name in waits]
    if waits:
        return StagePlan(stage.name, content, print_, None, (), tuple(reasons), changed)
    shards = tuple(stage.shards())
    if unlike:
        return StagePlan(stage.name, content, print_, shards, shards, tuple(reasons), changed)
    findings = _inspect(stage, shards, retry)
    reasons += _explain(findings, len(shards), retry)
    if not reasons and not before.get("complete"):
        reasons.append("its summary is not written")
    return StagePlan(
        stage.name, content, print_, shards, tuple(findings.pending), tuple(reasons), False, findings.failed_items
    )


def outdated_reasons(stages: Sequence[Stage]) -> dict[str, tuple[str, ...]]:
    """Of each stage, by its name, why its output is not what the config asks for; nothing where it is.

    Where that cannot be told, since weights, data or files have gone from this machine, what is complete counts as
    current, unless its config is another one.
    """
    return {plan.name: plan.reasons for plan in plan_stages(stages, looking=True)}


def current_stages(stages: Sequence[Stage]) -> frozenset[str]:
    """The names of the stages whose output is what the config asks for, as far as `outdated_reasons` can tell."""
    return frozenset(name for name, reasons in outdated_reasons(stages).items() if not reasons)


def _as_it_lies(stage: Stage, upstream: Mapping[str, str], waits: Sequence[str], problem: CloudsError) -> StagePlan:
    """The plan of a stage whose inputs cannot be looked at, from what is on record of it."""
    told = stage.artifact.description() or {}
    former, print_ = told.get("document"), str(told.get("fingerprint", ""))
    reasons = [] if told.get("complete") else ["not complete"]
    if isinstance(former, dict):
        # all but the inputs, which are taken to be what they were
        now = {"version": stage.version, "config": dict(flatten(stage.config))}
        now["upstream"] = {needed.name: upstream[needed.name] for needed in stage.needs}
        content = _as_it_was({**former, **now}, former, stage.config)
        reasons += _changes(former, content, stage.config) if fingerprint(content) != print_ else []
    reasons += [f"waits for {name}" for name in waits]
    return StagePlan(stage.name, former or {}, print_, None, (), tuple(reasons), problem=problem)


def _as_it_was(content: Document, former: object, config: ConfigModel) -> Document:
    """The document as the version that put the former one would put it.

    It has not the keys that the former one could not have, as long as they hold their defaults, and those that moved
    since are where they were.
    """
    if not isinstance(former, dict):
        return content
    before = former.get("config", {})
    added = set(absent_defaults(config, [renamed(key, config.moved) for key in before]))
    was = {new: old for old, new in config.moved.items() if any(renamed(key, {old: new}) != key for key in before)}
    kept = {renamed(key, was): value for key, value in content["config"].items() if key not in added}
    return {**content, "config": kept}


def _as_it_is(content: Document, config: ConfigModel) -> Document:
    """The document with keys that moved where they are now."""
    return {**content, "config": {renamed(key, config.moved): value for key, value in content["config"].items()}}


def _set_aside(stage: Stage, content: Document) -> Document | None:
    """The document of what `.replaced` holds that is asked for, to the letter or as an older version had put it."""
    kept = {told.get("fingerprint"): told.get("document") for _, told in stage.artifact.replaced()}
    ways = [content, *(_as_it_was(content, former, stage.config) for former in kept.values())]
    return next((way for way in ways if fingerprint(way) in kept), None)


def _changes(former: object, content: Document, config: ConfigModel) -> list[str]:
    """Why a document is not the former one, in the keys of today."""
    lines = []
    if isinstance(former, dict):
        lines = differences(_as_it_is({"config": {}, **former}, config), _as_it_is(content, config))
    return lines or ["what it was made from is not on record"]


def _inspect(stage: Stage, shards: Sequence[Shard], retry: bool) -> _Findings:
    findings = _Findings()
    on_disk = {*stage.artifact.shard_ids(), *stage.artifact.unfinished()}
    findings.unlisted = len(on_disk - {shard.id for shard in shards})
    for shard in shards:
        summary = stage.artifact.summary(shard.id)
        unfinished = stage.artifact.scratch_folder(shard.id).exists()
        stale = summary is not None and summary.inputs != shard.inputs
        failed = stage.artifact.scratch_failures(shard.id) if unfinished else summary.failed if summary else 0
        findings.failed_items += failed
        findings.missing += summary is None and not unfinished
        findings.unfinished += unfinished
        findings.inputs_changed += stale and not unfinished
        if summary is None or unfinished or stale or (retry and failed):
            findings.pending.append(shard)
    return findings


def _explain(findings: _Findings, total: int, retry: bool) -> list[str]:
    lines = []
    if findings.missing:
        lines.append(f"{findings.missing} of {total} shards missing")
    if findings.unfinished:
        lines.append(f"{findings.unfinished} of {total} shards unfinished")
    if findings.inputs_changed:
        lines.append(f"inputs of {findings.inputs_changed} of {total} shards changed")
    if findings.unlisted:
        lines.append(f"{findings.unlisted} shards are no longer listed")
    if retry and findings.failed_items:
        lines.append(f"{findings.failed_items} failed items to retry")
    return lines


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value
