"""The report of a run: a page that opens without a network, and its numbers beside it. It loads no model.

    report/index.html       everything but the pictures of later generated images
    report/gallery/         those, in files that the page loads when they are seen
    report/report.json      the numbers, for programs; report.md for readers

Assembled from what the run's folder holds, finished or not.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jinja2 import Environment, FunctionLoader, StrictUndefined

from clouds.config import dump_yaml
from clouds.data.labels import LabelMap
from clouds.engine.atomic import write_atomic, write_pieces
from clouds.engine.settings import RunConfig
from clouds.engine.stage import Stage
from clouds.engine.status import Failure, StageStatus, failures, format_duration, stage_status
from clouds.report import curves, pictures, provenance, summary
from clouds.report.browser import Browser, bring_up_to_date, in_script
from clouds.report.comparison import compare_predictions
from clouds.report.drops import drops
from clouds.report.extremes import ends
from clouds.report.filtered import filter_drops, filter_facts, filter_summaries
from clouds.report.gallery import exhibits
from clouds.report.left_out import LeftOut
from clouds.report.machines import machines
from clouds.report.numbers import Numbers, as_json, as_markdown
from clouds.report.palette import safe_map
from clouds.report.protocols import protocol_lines
from clouds.report.repainted import repainted_images
from clouds.report.results import css_color, dataset_bars, dataset_scores, model_rows
from clouds.report.rounds import round_changes
from clouds.report.samples import trace_items
from clouds.report.scored_images import image_scores, rows_of
from clouds.report.shares import bar_groups, class_shares
from clouds.report.tables import percent, scores_of, signed
from clouds.report.thumbnails import CHANGES
from clouds.scoring.shares import GENERATED, Share

SHOWN_ITEMS = 6
"""Generated images that are shown where the page may run no script."""

SHOWN_FAILURES = 10
SHOWN_REPAINTED = 6

_ASSETS = "assets"
_GALLERY = "<!-- the gallery's data -->"


class _Classes(Protocol):
    def label_map(self) -> LabelMap: ...


@runtime_checkable
class HasClasses(Protocol):
    """A config with a data set table; `RunConfig` leaves it to the assemblies to have one."""

    @property
    def data(self) -> _Classes: ...


def write_html(
    config: RunConfig, stages: Sequence[Stage], current: Collection[str], stale: Sequence[LeftOut] = ()
) -> Path:
    """Write RUN/report/index.html and what lies beside it from what the run's folder holds, finished or not; its path.

    `current` names the stages whose output is what the config asks for: no score of another is shown, and `stale` says
    which lie there. Memory does not depend on the number of images.
    """
    folder = config.folder / "report"
    own_map = config.data.label_map() if isinstance(config, HasClasses) else None
    label_map = None if own_map is None else safe_map(own_map)
    # what was made for other values of the config is told of, and counted with nothing
    statuses = [stage_status(stage.artifact, stage.name, current=stage.name in current) for stage in stages]
    fresh = [stage for stage, status in zip(stages, statuses, strict=True) if not status.stale]
    browser = bring_up_to_date(folder / "gallery", fresh, label_map)
    numbers = _numbers(config, stages, statuses, current, browser, label_map, stale)
    write_atomic(folder / "report.json", as_json(numbers))
    write_atomic(folder / "report.md", as_markdown(numbers))
    path = folder / "index.html"
    write_pieces(path, _pieces(render(_content(config, stages, current, numbers, own_map)), browser))
    return path


def render(content: Mapping[str, Any]) -> str:
    """The page with this content: every value is escaped, and one that the page needs and lacks is an error."""
    environment = Environment(
        loader=FunctionLoader(_packaged),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = format_duration
    environment.filters["css_color"] = css_color
    environment.filters["percent"] = percent
    environment.filters["signed"] = signed
    code = _packaged("page.js") + _packaged("gallery.js")
    return environment.get_template("report.html.j2").render(
        **content, css=_packaged("report.css"), code=code, gallery_data=_GALLERY
    )


def _pieces(page: str, browser: Browser) -> Iterator[str]:
    """The page with the gallery's data in its place, a shard at a time."""
    head, _, tail = page.partition(_GALLERY)
    yield head
    for items in browser.lists():
        yield f'<script type="application/json" class="items">{items}</script>\n'
    for name, content in browser.embedded():
        yield f'<script type="application/json" class="pictures" data-name="{name}">{content}</script>\n'
    yield tail


def _numbers(
    config: RunConfig,
    stages: Sequence[Stage],
    statuses: Sequence[StageStatus],
    current: Collection[str],
    browser: Browser,
    label_map: LabelMap | None,
    stale: Sequence[LeftOut],
) -> Numbers:
    fresh = [stage for stage, status in zip(stages, statuses, strict=True) if not status.stale]
    made = [stage for stage in stages if stage.name in current]
    filters = filter_summaries(made)
    models = scores_of([stage.artifact for stage in made])
    done = summary.what_was_done([(stage.kind, status) for stage, status in zip(stages, statuses, strict=True)])
    totals = browser.totals()
    return Numbers(
        name=config.name,
        written=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        done=done,
        outcome=summary.what_came_of_it(models),
        missing=summary.what_is_missing(statuses),
        statuses=statuses,
        failures=_failures(stages, statuses),
        drops=[*drops(statuses, totals), *filter_drops(filters)],
        filters=filters,
        rounds=round_changes(made, label_map),
        models=models,
        left_out=stale,
        notes=summary.model_notes(stages),
        label_map=label_map,
        images=image_scores(made),
        shares=class_shares(config.folder / "report" / "shares.json", fresh, models, totals, label_map),
        totals=totals,
        ends=ends(browser.rows()),
        curves=curves.read_curves(fresh),
        provenance=_provenance(config, stages),
    )


def _content(
    config: RunConfig, stages: Sequence[Stage], current: Collection[str], numbers: Numbers, own_map: LabelMap | None
) -> dict[str, Any]:
    models, label_map = numbers.models, numbers.label_map
    header, rows = model_rows(models, numbers.notes)
    fresh = [stage for stage, status in zip(stages, numbers.statuses, strict=True) if not status.stale]
    return {
        "numbers": numbers,
        "written": datetime.fromisoformat(numbers.written),
        "label_map": label_map,
        "filtered": filter_facts(numbers.filters),
        "models": [model.model for model in models],
        "header": header,
        "rows": rows,
        "bars_of": dataset_bars(models, numbers.notes),
        "intervals": any(model.interval(name) for model in models for name in model.results),
        "protocols": protocol_lines(model.results for model in models),
        "datasets": dataset_scores(models, label_map),
        "scored_images": list(rows_of(numbers.images)),
        "comparisons": compare_predictions([stage for stage in stages if stage.name in current], label_map),
        **_pictures(config.folder, fresh, label_map),
        **_shares(numbers.shares, label_map),
        "drawing": curves,
        "machines": machines(numbers.statuses),
        "seconds": sum(one.seconds for one in numbers.statuses),
        "longest": max([one.seconds for one in numbers.statuses], default=0) or 1,
        "setup": in_script(_setup(own_map, label_map)),
    }


def _shares(shares: Sequence[Share], label_map: LabelMap | None) -> dict[str, Any]:
    """By class, a bar for source, generated and target; of the generated the refined labels, of targets their mean."""
    names = label_map.names if label_map is not None and shares else ()
    groups = {name: bar_groups(shares, name) for name in names}
    return {
        "share_groups": groups,
        "largest_share": max((share for found in groups.values() for _, share in found), default=0) or 1,
        "refined_share": sum(one.group == GENERATED for one in shares) > 1,
    }


def _setup(own_map: LabelMap | None, label_map: LabelMap | None) -> dict[str, Any]:
    """What the page's code needs to know of the run's classes: their names, and both sets of colours."""
    if own_map is None or label_map is None:
        return {"classes": [], "own": [], "safe": []}
    return {"classes": label_map.names, "own": own_map.colors, "safe": label_map.colors}


def _pictures(folder: Path, stages: Sequence[Stage], label_map: LabelMap | None) -> dict[str, Any]:
    return {
        "generates": any(stage.kind == "generate" for stage in stages),
        "repainted": repainted_images(stages, label_map, SHOWN_REPAINTED),
        "exhibits": exhibits(folder, trace_items(folder, stages, SHOWN_ITEMS), label_map),
        "confidence_colors": [css_color(color) for color in pictures.CONFIDENCE],
        "changes": [(what, css_color(color)) for what, color in CHANGES],
    }


def _provenance(config: RunConfig, stages: Sequence[Stage]) -> dict[str, Any]:
    return {
        "commands": provenance.commands(config),
        "config": dump_yaml(config),
        "weights": [asdict(one) for one in provenance.weights_of(stages)],
        "generator": provenance.generator_facts(stages),
        "versions": provenance.versions(),
        "machine": provenance.machine(config),
    }


def _failures(stages: Sequence[Stage], statuses: Sequence[StageStatus]) -> list[Failure]:
    """The first failures of the run; the records of a stage without any are not read."""
    found: list[Failure] = []
    for stage, status in zip(stages, statuses, strict=True):
        if status.failed and len(found) < SHOWN_FAILURES:
            found += failures(stage.artifact, stage.name, SHOWN_FAILURES - len(found))
    return found


def _packaged(name: str) -> str:
    """The text of a file of the page."""
    return (files("clouds.report") / _ASSETS / name).read_text(encoding="utf-8")
