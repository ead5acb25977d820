"""Data set cards: the README of an artifact, with where it came from. It reads the artifact and computes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import yaml

from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact

_SHOWN_PROMPTS = 5


def images_card(artifact: Artifact) -> str:
    """The card of generated images: model, revision, sampler, prompts and counts."""
    done, failed = _counts(artifact)
    first = next(_rows(artifact), None)
    head = _front_matter(["text-to-image"], done)
    if first is None:
        return f"{head}# {artifact.name}\n\nNo image could be made.\n"
    prompts = dict.fromkeys(row["prompt"] for row in islice(_rows(artifact), 200))
    keys = ("model", "revision", "pipeline", "scheduler", "steps", "guidance", "negative_prompt", "height", "width")
    facts = "".join(f"- {key}: {first[key]}\n" for key in keys if first.get(key) is not None)
    shown = "".join(f"- {prompt}\n" for prompt in islice(prompts, _SHOWN_PROMPTS))
    return (
        f"{head}# {artifact.name}\n\n{done} images made by a text-to-image model{_failed(failed)}.\n"
        "Each folder holds its images and their `metadata.jsonl` (prompt, seed, model), so it opens as a Hugging Face\n"
        f"`imagefolder`.\n\n## Model\n\n{facts}\n## Prompts, the first of them\n\n{shown}"
    )


def repainted_card(artifact: Artifact, label_map: LabelMap) -> str:
    """The card of labelled images that were painted anew: what they were, how freely they were painted, the classes."""
    done, failed = _counts(artifact)
    first = next(_rows(artifact), None)
    head = _front_matter(["image-segmentation", "image-to-image"], done)
    if first is None:
        return f"{head}# {artifact.name}\n\nNo image could be made.\n"
    keys = ("model", "revision", "pipeline", "strength", "scheduler", "steps", "guidance", "negative_prompt")
    facts = "".join(f"- {key}: {first[key]}\n" for key in keys if first.get(key) is not None)
    return (
        f"{head}# {artifact.name}\n\n{done} labelled images painted anew under prompts{_failed(failed)}.\n"
        "In `metadata.jsonl` each has its prompt and seed, `source`, the id of the image it was, and\n"
        "`labels_file_name`: that image's labels, a single-channel PNG of class ids. Layouts stay; small things\n"
        f"may be lost, and then their labels are wrong.\n\n## Model\n\n{facts}\n## Classes\n\n{_classes(label_map)}"
    )


def labels_card(artifact: Artifact, label_map: LabelMap, what: str) -> str:
    """The card of label maps: what they are, the classes and the counts."""
    done, failed = _counts(artifact)
    return (
        f"{_front_matter(['image-segmentation'], done)}# {artifact.name}\n\n"
        f"{done} label maps: {what}{_failed(failed)}.\n"
        "Single-channel PNG of class ids. In `metadata.jsonl`, `source_image` names the image of each, from the run's\n"
        "folder.\n\n"
        f"{_classes(label_map)}"
    )


def predictions_card(artifact: Artifact, label_map: LabelMap, what: str, model: Mapping[str, str]) -> str:
    """The card of predictions on images of any origin: the model with its files' SHA-256, the classes, the counts."""
    done, failed = _counts(artifact)
    files = "".join(f"- {file}: `{digest}`\n" for file, digest in model.items())
    return (
        f"{_front_matter(['image-segmentation'], done, tags=['predictions'])}# Predictions\n\n"
        f"{done} label maps, {what}{_failed(failed)}.\n"
        "Single-channel PNG of class ids, each of its image's size. In `metadata.jsonl`, `source_image` is the image,\n"
        "`overlay_file_name` the same with the colours of classes over it, `mean_confidence` of 1 at most.\n\n"
        f"## Model (SHA-256)\n\n{files}\n## Classes\n\n{_classes(label_map, ignored=False)}"
    )


def _classes(label_map: LabelMap, *, ignored: bool = True) -> str:
    rows = "".join(f"| {one.id} | {one.name} |\n" for one in label_map.classes)
    last = f"| {label_map.ignore} | ignore |\n" if ignored else ""
    return f"| id | class |\n|---:|---|\n{rows}{last}"


def _front_matter(tasks: list[str], count: int, tags: Sequence[str] = ("synthetic", "street-scenes")) -> str:
    sizes = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    size = next((name for limit, name in sizes if count < limit), "n>1M")
    content = {"task_categories": tasks, "tags": list(tags), "size_categories": [size]}
    return f"---\n{yaml.safe_dump(content, sort_keys=False)}---\n"


def _counts(artifact: Artifact) -> tuple[int, int]:
    summaries = [summary for shard in artifact.shard_ids() if (summary := artifact.summary(shard)) is not None]
    return sum(summary.done for summary in summaries), sum(summary.failed for summary in summaries)


def _rows(artifact: Artifact) -> Iterator[dict[str, Any]]:
    return (row for shard in artifact.shard_ids() for row in artifact.rows(shard))


def _failed(count: int) -> str:
    return f"; {count} more failed" if count else ""
