"""The scores of several runs, such as of several seeds, as one: mean and spread. It reads no file."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clouds.errors import UsageError
from clouds.report.differing import Differing, differing_line
from clouds.report.left_out import LeftOut
from clouds.report.printed import JSON, MARKDOWN, folded
from clouds.report.protocols import from_files
from clouds.report.tables import ModelScores, markdown, mean

_COMMON = ("images", "compared_at", "classes")


@dataclass(frozen=True)
class Spread:
    """What one model scored on one data set, or on average over them, in several runs: shares in [0, 1] by run."""

    values: Mapping[str, float]

    @property
    def mean(self) -> float | None:
        """None where no run scored it."""
        return mean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """The standard deviation of a sample; None of fewer than two values."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def text(self, runs: int) -> str:
        """Percentages such as `43.1 ± 0.8`; fewer runs than there are, in brackets."""
        if self.mean is None:
            return "-"
        spread = "" if self.deviation is None else f" ± {100 * self.deviation:.1f}"
        count = "" if len(self.values) == runs else f" ({len(self.values)})"
        return f"{100 * self.mean:.1f}{spread}{count}"


def runs_text(
    scores: Mapping[str, Sequence[ModelScores]],
    form: str,
    width: int | None,
    stale: Mapping[str, Sequence[LeftOut]] | None = None,
    differing: Differing | None = None,
) -> str:
    """The scores of runs, by run, in a format; the means over data sets are each run's own, and spread over runs.

    `stale` says which scores of each run were left out, `differing` in what their configs differ, for the table's foot.

    Raises `UsageError` where runs were scored on other classes or by another protocol, so that a mean means nothing.
    """
    _check_alike(scores)
    models = list(dict.fromkeys(model.model for found in scores.values() for model in found))
    datasets = list(dict.fromkeys(name for found in scores.values() for model in found for name in model.results))
    spreads = {model: _spreads(scores, model, datasets) for model in models}
    if form == JSON:
        told = {run: [asdict(one) for one in found] for run, found in (stale or {}).items() if found}
        beside = {"left_out": told, "differing": dict(differing or {})}
        return json.dumps({**_json(scores, spreads), **beside}, indent=1, ensure_ascii=False) + "\n"
    # with one data set its column is the mean
    shown = [*datasets, "mean"] if len(datasets) > 1 else datasets
    rows = [[model, *(spreads[model][name].text(len(scores)) for name in shown)] for model in models]
    several = len(scores) > 1
    title = f"mIoU in percent, {f'mean ± standard deviation over {len(scores)} runs' if several else '1 run'}"
    table = markdown(["model", *shown], rows) if form == MARKDOWN else folded(["model", *shown], rows, width)
    lines = [f"{run}: {one.line}" for run, found in (stale or {}).items() for one in found]
    lines += [differing_line(differing)] if differing else []
    foot = "".join(f"- {line}\n" if form == MARKDOWN else f"{line}\n" for line in lines)
    return f"{title}\n\n{table}" + ("\n" if foot and form == MARKDOWN else "") + foot


def _spreads(scores: Mapping[str, Sequence[ModelScores]], name: str, datasets: Sequence[str]) -> dict[str, Spread]:
    by_run = {run: model for run, found in scores.items() for model in found if model.model == name}
    spreads = {dataset: _known({run: model.mean_iou(dataset) for run, model in by_run.items()}) for dataset in datasets}
    # the mean over other data sets than those of the rest is another number
    whole = {run: model for run, model in by_run.items() if all(model.mean_iou(one) is not None for one in datasets)}
    overall = {run: mean(model.mean_iou(dataset) for dataset in datasets) for run, model in whole.items()}
    return {**spreads, "mean": _known(overall)}


def _known(values: Mapping[str, float | None]) -> Spread:
    return Spread({run: value for run, value in values.items() if value is not None})


def _json(scores: Mapping[str, Sequence[ModelScores]], spreads: Mapping[str, Mapping[str, Spread]]) -> dict[str, Any]:
    results = [pair for found in scores.values() for model in found for pair in model.results.items()]
    protocols = [(name, result["protocol"]) for name, result in results]
    return {
        "runs": list(scores),
        "models": {
            model: {
                name: {"mean": one.mean, "deviation": one.deviation, "values": dict(one.values)}
                for name, one in found.items()
            }
            for model, found in spreads.items()
        },
        # of a data set that files were scored on, too, how the models were
        "protocols": dict(sorted(protocols, key=lambda pair: not from_files(pair[1]))),
    }


@dataclass(frozen=True)
class _Told:
    """How a model of a run was scored on a data set, as far as it has to be how others were."""

    run: str
    model: str
    values: Mapping[str, Any]


def _check_alike(scores: Mapping[str, Sequence[ModelScores]]) -> None:
    """The images, how they were shown and the classes must agree: they are what a data set's score is of."""
    first: dict[tuple[str, str], _Told] = {}
    for run, found in scores.items():
        for model in found:
            for name, result in model.results.items():
                for group, values in _to_agree(model.model, result):
                    told = _Told(run, model.model, values)
                    _check_equal(name, first.setdefault((name, group), told), told)


def _to_agree(model: str, result: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What has to be the same in every group of scores that a score belongs to, by the group.

    How predictions in files came about is not known: of them only the images and the classes. An image on which one
    model failed leaves the scores of others what they are, but is one less in the mean over this model's runs.
    """
    told = {key: value for key, value in result["protocol"].items() if key != "failed"}
    scored, told["classes"] = told["images"], list(result["iou"])
    told["images"] = scored + result["protocol"].get("failed", 0)
    yield "all", {key: told.get(key) for key in _COMMON}
    if not from_files(result["protocol"]):
        yield "shown", told
    yield f"model {model}", {"images": scored}


def _check_equal(name: str, before: _Told, told: _Told) -> None:
    keys = told.values.keys() | before.values.keys()
    differing = ", ".join(sorted(key for key in keys if told.values.get(key) != before.values.get(key)))
    if differing:
        failed = "; `clouds retry` takes up images that failed" if differing == "images" else ""
        raise UsageError(
            f"data set {name!r} was scored differently in {before.run} ({before.model}) and {told.run} "
            f"({told.model}): {differing}",
            f"compare runs whose `data` and `evaluate` are the same{failed}",
        )
