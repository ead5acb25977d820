"""The report of a run: one page that needs nothing but itself. It reads the run's folder and loads no model."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jinja2 import Environment, FunctionLoader, StrictUndefined

from clouds.config import dump_yaml
from clouds.data.labels import LabelMap
from clouds.engine.atomic import write_atomic
from clouds.engine.settings import RunConfig
from clouds.engine.stage import Stage
from clouds.engine.status import Failure, StageStatus, failures, format_duration, stage_status
from clouds.report import curves, pictures, provenance, summary
from clouds.report.comparison import compare_predictions
from clouds.report.filtered import filter_facts
from clouds.report.gallery import exhibits
from clouds.report.protocols import protocol_lines
from clouds.report.repainted import repainted_images
from clouds.report.results import css_color, dataset_scores, model_rows
from clouds.report.rounds import round_changes
from clouds.report.samples import trace_items
from clouds.report.tables import scores_of

SHOWN_ITEMS = 12
SHOWN_FAILURES = 10


class _Classes(Protocol):
    def label_map(self) -> LabelMap: ...


@runtime_checkable
class HasClasses(Protocol):
    """A config with a data set table; `RunConfig` leaves it to the assemblies to have one."""

    @property
    def data(self) -> _Classes: ...


def write_html(config: RunConfig, stages: Sequence[Stage], current: Collection[str]) -> Path:
    """Write RUN/report/index.html from what the run's folder holds, finished or not; its path.

    `current` names the stages whose output is what the config asks for: no score of another is shown.
    """
    path = config.folder / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, render(_content(config, stages, current)))
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
    return environment.get_template("report.html.j2").render(**content, css=_packaged("report.css"))


def _content(config: RunConfig, stages: Sequence[Stage], current: Collection[str]) -> dict[str, Any]:
    label_map = config.data.label_map() if isinstance(config, HasClasses) else None
    statuses = [stage_status(stage.artifact, stage.name, current=stage.name in current) for stage in stages]
    return {
        "name": config.name,
        "written": datetime.now(timezone.utc),
        "done": summary.what_was_done([(stage.kind, status) for stage, status in zip(stages, statuses, strict=True)]),
        "missing": summary.what_is_missing(statuses),
        "statuses": statuses,
        "failures": _failures(stages, statuses),
        "label_map": label_map,
        **_scores([stage for stage in stages if stage.name in current], label_map),
        "comparisons": compare_predictions([stage for stage in stages if stage.name in current], label_map),
        **_pictures(config.folder, stages, label_map),
        "filtered": filter_facts([stage for stage in stages if stage.name in current]),
        "rounds": round_changes([stage for stage in stages if stage.name in current], label_map),
        "curves": curves.read_curves(stages),
        "drawing": curves,
        "provenance": _provenance(config, stages),
    }


def _scores(stages: Sequence[Stage], label_map: LabelMap | None) -> dict[str, Any]:
    models = scores_of([stage.artifact for stage in stages])
    header, rows = model_rows(models, summary.model_notes(stages))
    return {
        "outcome": summary.what_came_of_it(models),
        "models": [model.model for model in models],
        "header": header,
        "rows": rows,
        "protocols": protocol_lines(model.results for model in models),
        "datasets": dataset_scores(models, label_map),
    }


def _pictures(folder: Path, stages: Sequence[Stage], label_map: LabelMap | None) -> dict[str, Any]:
    return {
        "generates": any(stage.kind == "generate" for stage in stages),
        "repainted": repainted_images(stages, label_map, SHOWN_ITEMS // 2),
        "exhibits": exhibits(folder, trace_items(folder, stages, SHOWN_ITEMS), label_map),
        "confidence_colors": [css_color(color) for color in pictures.CONFIDENCE],
        "changed_color": css_color(pictures.CHANGED),
        "removed_color": css_color(pictures.REMOVED),
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
    """The text of a file that stands beside this module."""
    return files("clouds.report").joinpath(name).read_text(encoding="utf-8")
