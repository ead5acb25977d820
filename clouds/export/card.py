"""The data set card of an export: what it holds, where it comes from, what is lost. It computes nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from clouds.export.format import Format, Job, Tally

CARD = "README.md"

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SOURCES = (
    ("model", "made the images"),
    ("revision", "its revision"),
    ("pipeline", "its pipeline"),
    ("labelled_by", "labelled them"),
    ("refined_by", "refined the labels"),
)
_LICENCE = """\
The images were made by the generator named above and the labels by models trained on labelled data. The licences of
those weights and of that data say what may be done with them; this tool adds no terms of its own. Set `license` in the
header once you know yours.
"""


def card(format_: Format, job: Job, tally: Tally, first: Mapping[str, Any], failed: int) -> str:
    """The card's text; `first` are the facts of the first image, `failed` counts the images that have no labels."""
    total = sum(tally.items.values())
    splits = ", ".join(f"{count} {split}" for split, count in tally.items.items())
    without = f"; {failed} more failed in the run" if failed else ""
    parts = [
        f"{_header(format_, job, total)}# {job.name}\n\n{total} labelled images in the format `{format_.name}` "
        f"({splits}){without}. Synthetic: no camera took them,\nand no person checked the labels.\n",
        f"## What lies where\n\n{format_.about(job)}\n```python\n{format_.read_back(job)}\n```\n",
        f"## What is lost\n\n{_list(format_.lost(job)) or 'Nothing: every pixel of image and label is as in the run.'}"
        "\nConfidence maps stay in the run.\n",
        f"## Classes\n\n{_classes(job, tally)}",
        f"## Sources\n\n{_sources(first)}",
        f"## Licence\n\n{_LICENCE}",
    ]
    return "\n".join(parts)


def _header(format_: Format, job: Job, total: int) -> str:
    content = {
        "license": "other",
        "task_categories": ["image-segmentation"],
        "tags": ["synthetic"],
        "size_categories": [next((name for limit, name in _SIZES if total < limit), "n>1M")],
        **format_.front_matter(job),
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False)}---\n"


def _classes(job: Job, tally: Tally) -> str:
    rows = "".join(
        f"| {one.id} | {one.name} | {tally.pixels.get(one.id, 0)} | {tally.share(one.id):.2%} "
        f"| {sum(tally.images_of(split, one.id) for split in job.splits)} |\n"
        for one in job.label_map.classes
    )
    total = max(1, tally.ignored + sum(tally.pixels.values()))
    return (
        "Ids as in the run.\n\n| id | class | pixels | of the labelled | images that show it |\n"
        f"|---:|---|---:|---:|---:|\n{rows}\n{tally.ignored} pixels ({tally.ignored / total:.2%}) are ignored.\n"
    )


def _sources(first: Mapping[str, Any]) -> str:
    rows = [f"{what}: {first[key]}" for key, what in _SOURCES if key in first]
    return _list(rows) + ("\n" if rows else "") + "Each image's own prompt, seed and models are in its metadata.\n"


def _list(rows: Sequence[str]) -> str:
    return "".join(f"- {row}\n" for row in rows)
