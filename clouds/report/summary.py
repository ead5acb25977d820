"""What a run did and what came of it, in sentences. It computes nothing but the means and gains it states."""

from collections.abc import Sequence

from clouds.engine.stage import Stage
from clouds.engine.status import StageStatus
from clouds.report.tables import ModelScores, mean, percent, signed

_ROUNDS = ("no round", "one round", "two rounds", "three rounds", "four rounds", "five rounds")


def model_notes(stages: Sequence[Stage]) -> dict[str, str]:
    """What the model that a stage makes is, by the stage's name."""
    rounds = [stage.name for stage in stages if stage.kind == "selftrain"]
    learned = {"train": "source only", "adapt": "source and repainted"}
    notes = {stage.name: learned[stage.kind] for stage in stages if stage.kind in learned}
    return notes | {name: f"after round {number}" for number, name in enumerate(rounds, 1)}


def what_was_done(statuses: Sequence[tuple[str, StageStatus]]) -> str:
    """What the stages that are complete did; `statuses` are stages' kinds and states."""
    complete = [(kind, status) for kind, status in statuses if status.complete]
    kinds = [kind for kind, _ in complete]
    images = sum(status.done for kind, status in complete if kind == "generate")
    rounds = kinds.count("selftrain")
    steps = []
    if "train" in kinds:
        steps.append("a segmenter learned from labelled images")
    repainted = sum(status.done for kind, status in complete if kind == "repaint")
    if repainted:
        steps.append(f"a text-to-image model painted {repainted:,} labelled images anew")
    if "adapt" in kinds:
        steps.append("the segmenter went on learning from them")
    if images:
        steps.append(f"a text-to-image model made {images:,} images from prompts")
    if rounds:
        number = _ROUNDS[rounds] if rounds < len(_ROUNDS) else f"{rounds} rounds"
        filtered = ", filters left out what was not to be trusted" if "filter" in kinds else ""
        steps.append(
            f"in {number} the segmenter labelled them, segment-anything refined the labels{filtered}, and the "
            "segmenter went on learning from the source and from them"
        )
    if not steps:
        return "No stage of this run is complete yet."
    sentence = "; ".join(steps)
    return f"{sentence[0].upper()}{sentence[1:]}."


def what_came_of_it(models: Sequence[ModelScores]) -> str:
    """Mean mIoU before and after over the data sets both models were scored on, gain or loss called by its name.

    Predictions in files are no work of the run, and passed over.
    """
    own = [model for model in models if model.own]
    if not own:
        return "Predictions in files were scored, and no model." if models else "No model has been scored yet."
    models = own
    first, last = models[0], models[-1]
    shared = [name for name in last.results if first.mean_iou(name) is not None and last.mean_iou(name) is not None]
    if not shared:
        return "No data set was scored by the first and by the last model, so they cannot be compared."
    where = f"the data set {shared[0]}" if len(shared) == 1 else f"{len(shared)} data sets ({', '.join(shared)})"
    before, after = (mean(model.mean_iou(name) for name in shared) or 0.0 for model in (first, last))
    if len(models) == 1:
        return (
            f"On {where}, {first.model} reaches a mean IoU of {percent(after)} %; there is no other model to compare."
        )
    said = (
        f"On {where}, the mean IoU went from {percent(before)} % ({first.model}) to {percent(after)} % ({last.model})"
    )
    return f"{said}: {_judgement(after - before)}.{_better_one(models, shared, after)}"


def what_is_missing(statuses: Sequence[StageStatus]) -> list[str]:
    """A phrase for each stage that is not complete."""
    missing = []
    for status in statuses:
        if status.complete:
            continue
        if status.stale:
            missing.append(f"{status.name}: made with other values, or from what has changed since")
            continue
        far = "not begun" if status.size is None else f"{status.done:,} of {status.size:,} {status.unit}s done"
        missing.append(f"{status.name}: {far}")
    return missing


def _judgement(gain: float) -> str:
    points = signed(gain)
    if points in ("+0.0", "-0.0"):
        return "no change"
    if gain > 0:
        return f"a gain of {points[1:]} points"
    return f"a loss of {points[1:]} points, so this run made the model worse"


def _better_one(models: Sequence[ModelScores], shared: Sequence[str], last: float) -> str:
    """Names the model of a round between that did better than the last one."""
    means = {model.model: mean(model.mean_iou(name) for name in shared) for model in models[1:-1]}
    known = {name: value for name, value in means.items() if value is not None}
    best = max(known, key=lambda name: known[name], default=None)
    if best is None or percent(known[best]) == percent(last) or known[best] < last:
        return ""
    return f" {best} did better than that: {percent(known[best])} %."
