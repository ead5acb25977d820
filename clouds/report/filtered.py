"""What filters dropped of generated labels, in tables and lines. It reads their summaries and counts nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clouds.engine.atomic import read_json
from clouds.engine.stage import Stage
from clouds.report.drops import Drop
from clouds.report.tables import markdown

SUMMARY = "filters.json"
"""The file of a filter's artifact that adds up its rows."""

Summary = Mapping[str, Any]


def filter_summaries(stages: Sequence[Stage]) -> dict[str, Summary]:
    """The counts of each stage that filters and is complete, by its name, as JSON holds them."""
    found = {stage.name: read_json(stage.artifact.folder / SUMMARY) for stage in stages if stage.kind == "filter"}
    return {name: content for name, content in found.items() if isinstance(content, dict)}


@dataclass(frozen=True)
class FilterFacts:
    """What one stage kept, for a page: a sentence, and tables by caption, each with its header and its rows."""

    name: str
    sentence: str
    tables: tuple[tuple[str, list[str], list[list[str]]], ...]


def filter_drops(summaries: Mapping[str, Summary]) -> list[Drop]:
    """The pixels and the whole images that the stages of these summaries dropped."""
    return [
        drop
        for name, one in summaries.items()
        for drop in (
            Drop(name, "not trusted", one["labelled_pixels"] - one["kept_pixels"], one["labelled_pixels"], "pixels"),
            Drop(name, "image not trusted", one["dropped_images"], one["images"], "images"),
        )
    ]


def filter_facts(summaries: Mapping[str, Summary]) -> list[FilterFacts]:
    """What the stages of these summaries kept."""
    return [FilterFacts(name, filter_sentence(summary), tuple(_tables(summary))) for name, summary in summaries.items()]


def _tables(summary: Summary) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    if summary["filters"]:
        yield "Shares of the labelled pixels", *filter_table(summary)
    yield "Classes", *class_shares(summary)


def filter_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and a row for each filter: the shares of the labelled pixels that it drops alone, and after the others."""
    total = summary["labelled_pixels"]
    header = ["filter", "setting", "dropped alone", "dropped after those above"]
    rows = [
        [one["type"], one["setting"], _share(one["alone_pixels"], total), _share(one["first_pixels"], total)]
        for one in summary["filters"]
    ]
    return header, rows


def class_shares(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and a row for each class: its share of the labelled pixels, and how much of it is kept."""
    total = summary["labelled_pixels"]
    header = ["class", "share of the labels", "kept"]
    rows = [
        [name, _share(one["labelled_pixels"], total), _share(one["kept_pixels"], one["labelled_pixels"])]
        for name, one in summary["classes"].items()
    ]
    return header, rows


def filter_sentence(summary: Summary) -> str:
    """In one sentence: how many pixels and images are left of how many."""
    images, dropped = summary["images"], summary["dropped_images"]
    kept = _share(summary["kept_pixels"], summary["labelled_pixels"])
    drawn = summary["drawn_in_a_round"]
    times = f"; in a round of draws they come {drawn:,} times" if drawn != images - dropped else ""
    return (
        f"Of the labelled pixels of {summary['labels']}, {kept} are kept; of {images:,} images {dropped:,} are "
        f"dropped whole{times}."
    )


def counts_text(summary: Summary, title: str = "What is kept") -> str:
    """All of it as Markdown, under a heading."""
    filters = f"{markdown(*filter_table(summary))}\n" if summary["filters"] else ""
    return f"## {title}\n\n{filter_sentence(summary)}\n\n{filters}{markdown(*class_shares(summary))}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
