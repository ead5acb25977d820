"""The card of a segmenter that is given away: what it is, what it was made of, how well it does. It measures nothing.

Its header is what the Hugging Face Hub reads, made by the hub's own classes.
"""

from collections.abc import Sequence
from typing import Any

from clouds import __version__
from clouds.export.models.lineage import Lineage, Part
from clouds.report.protocols import protocol_note

CARD = "README.md"
_METRICS = {
    "mean_iou": "mean IoU in percent",
    "mean_accuracy": "mean class accuracy in percent",
    "pixel_accuracy": "pixel accuracy in percent",
    "frequency_weighted_iou": "frequency-weighted IoU in percent",
}
_TASK = "image-segmentation"


def card(name: str, lineage: Lineage, class_names: Sequence[str], use: str, fixed: str) -> str:
    """The card's text; `use` is how the files are used, `fixed` what the format fixes, both Markdown."""
    parts = [
        f"---\n{header(name, lineage)}\n---\n\n# {name}\n",
        f"A semantic segmenter: a class for every pixel, {len(class_names)} classes. Made with clouds {__version__}.\n",
        f"## Use\n\n{use}",
        *([f"{fixed}\n"] if fixed else []),
        f"## Classes\n\n{_classes(class_names)}",
        f"## Scores\n\n{_scores(lineage)}",
        f"## Made of\n\n{_made_of(lineage)}",
        f"## Licences of the parts\n\n{_licences([*lineage.parts, *lineage.data])}",
    ]
    return "\n".join(parts)


def header(name: str, lineage: Lineage) -> str:
    """The card's metadata as YAML, as the Hugging Face Hub reads it."""
    from huggingface_hub import ModelCardData

    # the backbone is what was trained on; the other models made what it was trained with
    bases = [part.hub_id for part in lineage.parts if part.role == "backbone" and part.hub_id]
    results = _results(lineage)
    data = ModelCardData(
        # without a name the hub's class refuses results
        model_name=name if results else None,
        license="other",
        license_name="licences-of-the-parts",
        base_model=bases or None,
        datasets=[part.name.partition(" ")[0] for part in lineage.data] or None,
        pipeline_tag=_TASK,
        library_name="clouds",
        tags=["semantic-segmentation", "mask2former", "domain-adaptation"],
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _results(lineage: Lineage) -> list[Any]:
    from huggingface_hub import EvalResult

    measured = lineage.scores.results if lineage.scores is not None else {}
    return [
        EvalResult(
            task_type=_TASK,
            task_name="semantic segmentation",
            dataset_type=str((lineage.sets.get(dataset) or {}).get("type", dataset)),
            dataset_name=dataset,
            # results of one type of data set are told apart by it
            dataset_config=dataset,
            dataset_split=(lineage.sets.get(dataset) or {}).get("split"),
            # the hub takes no null
            dataset_args={key: value for key, value in result["protocol"].items() if value is not None},
            metric_type=metric,
            metric_name=title,
            metric_value=round(100 * result[metric], 4),
        )
        for dataset, result in measured.items()
        for metric, title in _METRICS.items()
        if result.get(metric) is not None
    ]


def _classes(names: Sequence[str]) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(names)) + ".\n"


def _scores(lineage: Lineage) -> str:
    if lineage.scores is None:
        return "Not measured: no evaluation of this model was found beside it.\n"
    rows = [
        f"- {dataset}: mean IoU {100 * result['mean_iou']:.2f} %{_interval(result)}; "
        f"{protocol_note(result['protocol'])}\n"
        for dataset, result in lineage.scores.results.items()
        if result.get("mean_iou") is not None
    ]
    return "".join(rows) or "Not measured: its data sets have no labels.\n"


def _interval(result: dict[str, Any] | Any) -> str:
    low, high = (result.get("interval") or {}).get("mean_iou", (None, None))
    return "" if low is None or high is None else f" (95% of resamples: {100 * low:.2f} to {100 * high:.2f})"


def _made_of(lineage: Lineage) -> str:
    if not lineage.stage:
        return "Not known: the segmenter lay in no run.\n"
    rows = [f"- {part.role}: {part.name}\n" for part in [*lineage.parts, *lineage.data]]
    return f"Stage `{lineage.stage}` of the run `{lineage.run}`.\n\n{''.join(rows)}"


def _licences(parts: Sequence[Part]) -> str:
    known = [
        f"| {part.role} | {part.name} | {part.licence.name} | {part.licence.source} |\n"
        if part.licence is not None
        else f"| {part.role} | {part.name} | unknown | read it where you got it |\n"
        for part in parts
    ]
    table = f"| part | name | licence | said at |\n|---|---|---|---|\n{''.join(known)}\n" if known else ""
    unknown = "" if parts else "The parts are not known here.\n\n"
    return (
        f"{table}{unknown}What they ask of a model that was trained with them is for who publishes it to judge; set "
        "`license` in the header\nonce you know. The tool itself is Apache-2.0 and adds no terms.\n"
    )
