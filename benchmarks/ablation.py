"""Measures what each part of the method contributes, with the engine's own stages, on the procedural streets.

Each row leaves out, adds or replaces one thing: the baselines, repainting, refinement, filters, a mix, rounds, prompts,
how many images are generated, and rendered scenes in their place as a bound. The filters are those of the config's
`filter`, each alone and all together, the mix is that of `selftrain`; no other row has any. Every seed has a run
folder, RUNS/seed-N, in which what rows share is made once; the same command goes on where it was stopped. It ends with
Markdown tables.

    python benchmarks/ablation.py runs/ablation --config demo --seeds 0 1 2
    python benchmarks/ablation.py runs/ablation --config demo --seeds 0 1 2 --table

The second prints what is finished so far. Settings are chosen on the validation domains; `--domains test` reports.
`--photographs` adds rows that learn from CamVid's photographs without their labels, and how good labels of these are;
`--domains photographs` then scores every row on CamVid.
"""

import argparse
import logging
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablation_online import PHOTOGRAPHED
from ablation_photographs import LABELS, PHOTOGRAPHS, described, photograph_sets
from ablation_rows import BASELINE, DOMAINS, QUALITY, Benchmark, Quality, source_set
from pydantic import PrivateAttr

from clouds.assembly import find_config
from clouds.config import apply_overrides, dump_yaml, load_tree, validate
from clouds.data.published.reading import PublishedConfig
from clouds.data.samples import Dataset
from clouds.data.table import DatasetConfig, DataTable
from clouds.engine.interrupt import Interrupted
from clouds.engine.planning import current_stages
from clouds.errors import CloudsError, UsageError, nearest
from clouds.report.tables import ModelScores, markdown, mean, percent, scores_of, signed
from pipelines import full

HELDOUT = "source_heldout"
FIRST_HELDOUT = 100_000
"""The number of the first source scene that is scored: far beyond those that are learned from."""
COUNTS = (50, 100, 500, 1000, 2000)


class SharedTable(DataTable):
    """A table that opens each data set once: rows share the scenes it drew."""

    _opened: dict[str, Dataset] = PrivateAttr(default_factory=dict)

    def open(self, name: str) -> Dataset:
        if name not in self._opened:
            self._opened[name] = super().open(name)
        return self._opened[name]


def read_config(options: argparse.Namespace, seed: int) -> full.Config:
    """The config of one seed's run: the one given, with the data sets that are scored here and a folder of its own."""
    path = find_config(options.config)
    config = validate(full.Config, apply_overrides(load_tree(path), options.set), str(path))
    if config.adapt is None:
        raise UsageError(f"{path}: `repaint` and `adapt` are not both there", "give a config of the whole method")
    like = source_set(config)
    photographs = read_photographs(options, config)
    scored: dict[str, DatasetConfig] = {
        name: photographs.get(name) or like.model_copy(update={"domain": name, "first": 0, "count": options.count})
        for name in DOMAINS[options.domains]
    }
    scored[HELDOUT] = like.model_copy(update={"first": FIRST_HELDOUT, "count": options.count})
    table = {**dict(config.data), "sets": {**config.data.sets, **photographs, **scored}}
    changes = {
        "seed": seed,
        "run_dir": (options.runs / f"seed-{seed}").resolve(),
        "data": SharedTable.model_construct(**table),
        "evaluate": config.evaluate.model_copy(update={"data": tuple(scored)}),
    }
    return config.model_copy(update=changes)


def read_photographs(options: argparse.Namespace, config: full.Config) -> Mapping[str, PublishedConfig]:
    """The data sets of photographs by name; none where no folder is given.

    Raises `UsageError` for a choice of domains or rows that asks for one.
    """
    if options.photographs is not None:
        height, width = options.photograph_size
        return photograph_sets(options.photographs.resolve(), (height, width), config.data.label_map())
    asking = {PHOTOGRAPHS, *PHOTOGRAPHED, LABELS}
    asked = [name for name in (options.domains, *options.rows) if name in asking]
    if asked:
        raise UsageError(f"{asked[0]!r} asks for photographs, and none are given", "say where: `--photographs ROOT`")
    return {}


def bring_up_to_date(benchmarks: Sequence[Benchmark], rows: Sequence[str]) -> bool:
    """Make all that the rows need, seed after seed; whether this process is the one that speaks."""
    from clouds.engine.interrupt import raise_on_signals
    from clouds.engine.runner import Orders, run_stages
    from clouds.engine.runtime import Runtime
    from clouds.models.quiet import silence_libraries

    silence_libraries()
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    runtime = Runtime(benchmarks[0].config.runtime)
    raise_on_signals()
    try:
        for benchmark in benchmarks:
            config = benchmark.config
            orders = Orders(max_failures=config.max_failures)
            run_stages(benchmark.stages(rows), config.folder, runtime, orders, dump_yaml(config))
        return runtime.is_main
    finally:
        runtime.close()


@dataclass(frozen=True)
class Findings:
    """What one seed's run has so far: the scores of rows, and how good the labels are that others measure."""

    benchmark: Benchmark
    scores: Mapping[str, ModelScores]
    labels: Mapping[str, Mapping[str, Quality]]

    @classmethod
    def of(cls, benchmark: Benchmark, rows: Sequence[str]) -> "Findings":
        current = current_stages(benchmark.stages(rows))
        scoring = {row: benchmark.scoring(row) for row in rows if row in benchmark.variants}
        found = {row: scores_of([stage.artifact]) for row, stage in scoring.items() if stage.name in current}
        measured = {row: one for row, one in benchmark.measured.items() if row in rows}
        labels = {row: benchmark.qualities(one, current) for row, one in measured.items()}
        return cls(benchmark, {row: one for row, [one] in found.items()}, labels)

    def mean(self, row: str) -> float | None:
        return self.benchmark.mean_unseen(self.scores[row]) if row in self.scores else None

    def gain(self, row: str) -> float | None:
        value, baseline = self.mean(row), self.mean(BASELINE)
        return None if value is None or baseline is None else value - baseline

    def on(self, row: str, dataset: str) -> float | None:
        return self.scores[row].mean_iou(dataset) if row in self.scores else None


def cell(values: Iterable[float | None], shown: Callable[[float | None], str] = percent) -> str:
    """Mean and standard deviation (of a sample) over those seeds that are finished; one seed has no deviation."""
    known = [value for value in values if value is not None]
    spread = f" ± {percent(statistics.stdev(known))}" if len(known) > 1 else ""
    return shown(mean(known)) + spread


def report(findings: Sequence[Findings], rows: Sequence[str]) -> str:
    """The tables of what is there, and what is not."""
    benchmark = findings[0].benchmark
    models = [row for row in rows if row in benchmark.variants]
    there = [row for row in models if any(row in found.scores for found in findings)]
    scored = f"{benchmark.domains} domains" if benchmark.domains != PHOTOGRAPHS else PHOTOGRAPHS
    parts = [f"mIoU in percent; mean ± standard deviation over seeds ({len(findings)}); {scored}\n"]
    if benchmark.photographs is not None:
        parts.append(described(benchmark.photographs.resize, benchmark.label_map))
    if there:
        parts.append(_rows_table(findings, there))
    made = [(count, row) for count, row in by_count(benchmark).items() if row in there]
    if len(made) > 1:
        cells = [[str(count), cell(found.mean(row) for found in findings)] for count, row in made]
        parts.append(markdown(["generated images", "mean of unseen domains"], cells))
    parts += [_quality_table(row, findings) for row in rows if any(found.labels.get(row) for found in findings)]
    missing = [text for row in rows if (text := _missing(row, findings))]
    if missing:
        parts.append(f"Not finished: {'; '.join(missing)}.\n")
    return "\n".join(parts)


def by_count(benchmark: Benchmark) -> dict[int, str]:
    """The rows that differ in the number of generated images, in its order."""
    rows = {count: f"images-{count}" for count in benchmark.counts} | {benchmark.config.generate.count: "refined"}
    return dict(sorted(rows.items()))


def draw_curves(findings: Sequence[Findings], path: Path) -> None:
    """Write the curves of what is there. Raises `UsageError` where it is too little, or matplotlib is missing."""
    try:
        from ablation_figure import draw, panels
    except ImportError as error:
        raise UsageError("--figure draws with matplotlib, which is not installed", "pip install matplotlib") from error

    def means(row: str) -> list[float]:
        return [value for found in findings if (value := found.mean(row)) is not None]

    if not draw(panels(by_count(findings[0].benchmark)), means, path):
        raise UsageError("--figure: no curve has two points yet", "finish more rows, or name more of them by --rows")


def _quality_table(row: str, findings: Sequence[Findings]) -> str:
    measured = findings[0].benchmark.measured[row]
    found = {key: [one.labels[row][key] for one in findings if key in one.labels[row]] for key in measured.labels}
    header = [f"pseudo-labels of {measured.what}", "mIoU", "of the labelled pixels", "labelled"]
    return markdown(header, [_quality_line(key, there) for key, there in found.items() if there])


def _quality_line(key: str, there: Sequence[Quality]) -> list[str]:
    values = [[one.mean_iou, one.mean_iou_labelled, one.labelled] for one in there]
    return [key, *(cell(column) for column in zip(*values, strict=True))]


def _rows_table(findings: Sequence[Findings], rows: Sequence[str]) -> str:
    benchmark = findings[0].benchmark
    several = len(benchmark.unseen) > 1
    header = [
        "variant",
        "steps",
        "generated images drawn",
        *benchmark.unseen,
        *(["mean"] if several else []),
        "gain",
        HELDOUT.replace("_", " "),
    ]
    lines = []
    for row in rows:
        variant = benchmark.variants[row]
        line = [f"`{row}` {variant.what}", f"{variant.steps:,}", f"{variant.generated_draws:,}"]
        line += [cell(found.on(row, name) for found in findings) for name in benchmark.unseen]
        if several:
            line.append(cell(found.mean(row) for found in findings))
        line.append("-" if row == BASELINE else cell((found.gain(row) for found in findings), signed))
        lines.append([*line, cell(found.on(row, HELDOUT) for found in findings)])
    return markdown(header, lines)


def _missing(row: str, findings: Sequence[Findings]) -> str:
    """Which seeds a row has no numbers of; nothing where it has all."""
    measured = findings[0].benchmark.measured.get(row)
    seeds = [
        found.benchmark.config.seed
        for found in findings
        if (row not in found.scores if measured is None else len(found.labels[row]) < len(measured.labels))
    ]
    return f"`{row}` (seed {', '.join(map(str, seeds))})" if seeds else ""


def natural(text: str) -> int:
    """A whole number from 0 up; `ValueError` for any other text, which `argparse` reports."""
    return _at_least(0, int(text))


def positive(text: str) -> int:
    """A whole number from 1 up; as `natural`."""
    return _at_least(1, int(text))


def _at_least(least: int, number: int) -> int:
    if number < least:
        raise ValueError(number)
    return number


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="where the run folders go, one for each seed")
    parser.add_argument("--config", default="demo", help="a YAML file, a run's folder, or the name of one that ships")
    parser.add_argument("--seeds", type=natural, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="laid over the config"
    )
    parser.add_argument("--domains", choices=list(DOMAINS), default="validation", help="those that are scored")
    parser.add_argument(
        "--count", type=positive, default=100, metavar="N", help="scenes of each domain that are scored"
    )
    parser.add_argument(
        "--counts",
        type=positive,
        nargs="*",
        default=list(COUNTS),
        metavar="N",
        help="numbers of generated images; the same each time",
    )
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help=f"these only; {QUALITY}: the last table")
    parser.add_argument(
        "--photographs",
        type=Path,
        metavar="ROOT",
        help=f"CamVid, with train/images, train/labels, test/images and test/labels; gives the rows "
        f"{', '.join(PHOTOGRAPHED)} and {LABELS}, and `--domains {PHOTOGRAPHS}`",
    )
    parser.add_argument(
        "--photograph-size",
        type=positive,
        nargs=2,
        default=[96, 128],
        metavar=("HEIGHT", "WIDTH"),
        help="the pixels that each photograph is brought to",
    )
    parser.add_argument("--table", action="store_true", help="make nothing: print what is finished")
    parser.add_argument("--figure", type=Path, metavar="SVG", help="draw curves of the rows into this file as well")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Bring the rows up to date, and print their tables."""
    options = parse(arguments)
    benchmarks = [Benchmark(read_config(options, seed), options.domains, options.counts) for seed in options.seeds]
    known = benchmarks[0].rows
    for row in options.rows:
        if row not in known:
            raise UsageError(f"there is no row {row!r}", nearest(row, known, shown=len(known)))
    rows = [row for row in known if not options.rows or row in options.rows]
    if options.table or bring_up_to_date(benchmarks, rows):
        findings = [Findings.of(benchmark, rows) for benchmark in benchmarks]
        print(report(findings, rows))
        if options.figure is not None:
            draw_curves(findings, options.figure)


if __name__ == "__main__":
    try:
        main()
    except CloudsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except Interrupted as error:
        print(f"{error}; the same command goes on from here", file=sys.stderr)
        sys.exit(128 + error.signum)
