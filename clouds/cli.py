"""The command line: parses, then hands over. Nothing heavy is imported before a command needs it."""

import sys
from enum import Enum
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clouds import __version__
from clouds.engine.interrupt import Interrupted
from clouds.errors import CloudsError, UsageError

if TYPE_CHECKING:
    from clouds.assembly import Assembly
    from clouds.engine.stage import Stage

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Labelled synthetic streets and a list of prompts in; a segmenter that works on streets never seen out.",
)


def _shipped(incomplete: str) -> list[str]:
    """What a shell proposes for a config besides files."""
    from clouds.config import shipped_configs

    return [name for name in shipped_configs() if name.startswith(incomplete)]


def _export_formats(incomplete: str) -> list[str]:
    from clouds.export.registry import KINDS

    return [name for kind in KINDS for name in kind.formats if name.startswith(incomplete)]


Config = Annotated[
    str,
    typer.Argument(help="A YAML file, a run's folder, or the name of a config that ships.", autocompletion=_shipped),
]
Overrides = Annotated[list[str], typer.Option("--set", help="Lay a value over the config: key.path=value.")]
Force = Annotated[list[str], typer.Option("--force", help="Discard what this stage made, and make it anew.")]


class DemoSize(str, Enum):
    """How much the demo does."""

    SMALL = "small"
    MEDIUM = "medium"


class TableFormat(str, Enum):
    """How a table is printed."""

    TERMINAL = "terminal"
    MARKDOWN = "md"
    JSON = "json"


class SavedAs(str, Enum):
    """In which form predictions are written."""

    LABELS = "labels"
    CITYSCAPES = "cityscapes"
    ACDC = "acdc"


Format = Annotated[TableFormat, typer.Option("--format", help="How the table is printed.")]
Json = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
SavePredictions = Annotated[
    SavedAs | None,
    typer.Option("--save-predictions", help="Write every prediction: the run's ids, or as a benchmark's server wants."),
]

_DEMOS = {DemoSize.SMALL: "demo", DemoSize.MEDIUM: "demo_medium"}


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options before any command; `main` takes `--debug` wherever it stands."""


@app.command()
def run(
    config: Config,
    set_: Overrides = [],  # noqa: B006
    until: Annotated[str, typer.Option("--until", help="Stop after this stage.")] = "",
    force: Force = [],  # noqa: B006
    save_predictions: SavePredictions = None,
    format_: Format = TableFormat.TERMINAL,
    json: Json = False,
) -> None:
    """Do everything a config describes; what is done already is not done again."""
    assembly = _assemble(config, _saving(set_, save_predictions))
    stages = assembly.until(until) if until else list(assembly.stages)
    _execute(assembly, stages, force, form=_form(format_, json))


@app.command()
def plan(
    config: Config,
    set_: Overrides = [],  # noqa: B006
    format_: Format = TableFormat.TERMINAL,
    json: Json = False,
) -> None:
    """Say what `run` would do, and why, without loading a model."""
    from clouds.commands.plan import print_plan

    print_plan(_assemble(config, set_), _form(format_, json))


@app.command()
def status(
    config: Config,
    set_: Overrides = [],  # noqa: B006
    format_: Format = TableFormat.TERMINAL,
    json: Json = False,
) -> None:
    """Say how far a run has come: done, failed, pace, time left."""
    from clouds.commands.status import print_status

    print_status(_assemble(config, set_), _form(format_, json))


@app.command()
def retry(
    config: Config,
    set_: Overrides = [],  # noqa: B006
    format_: Format = TableFormat.TERMINAL,
    json: Json = False,
) -> None:
    """Take up the items that failed, and what follows from them."""
    assembly = _assemble(config, set_)
    _execute(assembly, list(assembly.stages), [], retry=True, form=_form(format_, json))


@app.command()
def evaluate(
    config: Config,
    set_: Overrides = [],  # noqa: B006
    force: Force = [],  # noqa: B006
    save_predictions: SavePredictions = None,
    predictions: Annotated[
        list[str],
        typer.Option("--predictions", metavar="NAME=FOLDER", help="Score label files, too; no model is made for it."),
    ] = [],  # noqa: B006
    format_: Format = TableFormat.TERMINAL,
    json: Json = False,
) -> None:
    """Score the segmenters on labelled data sets. Brings the stage up to date, with what it needs."""
    assembly = _assemble(config, _reading(_saving(set_, save_predictions), predictions))
    stages = assembly.needed_for("evaluate")
    if predictions:
        # a segmenter that a run has still to train is not what was asked for
        stages = [stage for stage in assembly.find("evaluate") if not stage.needs]
    _execute(assembly, stages, force, form=_form(format_, json))


@app.command()
def report(
    config: Config,
    set_: Overrides = [],  # noqa: B006
    format_: Format = TableFormat.TERMINAL,
    json: Json = False,
) -> None:
    """Write the report of a run from what is there, and print its table."""
    from clouds.commands.report import write_report

    write_report(_assemble(config, set_), _form(format_, json))


@app.command()
def compare(
    configs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, such as of several seeds: as CONFIG.")],
    format_: Format = TableFormat.TERMINAL,
    json: Json = False,
) -> None:
    """Say what the models of several runs scored: mean and spread over the runs, for each model and data set."""
    from clouds.commands.compare import print_comparison

    print_comparison([_assemble(config, []) for config in configs], _form(format_, json))


@app.command()
def export(
    artifact: Annotated[
        Path, typer.Argument(help="A stage's folder in a run, a segmenter's, or a run's: what it made last.")
    ],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="imagefolder, parquet, ..., or hub, onnx, pt2: an unknown one lists all.",
            autocompletion=_export_formats,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where it goes: a folder of the export's own.")],
    split: Annotated[str, typer.Option("--split", help="Name of the split.")] = "train",
    val_share: Annotated[float, typer.Option("--val-share", help="Share of the images that becomes `val`.")] = 0.0,
    things: Annotated[
        list[str], typer.Option("--things", help="A class whose connected pieces are objects, for COCO.")
    ] = [],  # noqa: B006
    shard_mb: Annotated[int, typer.Option("--shard-mb", min=1, help="Size of a file that holds many images.")] = 256,
    link: Annotated[bool, typer.Option("--link", help="Hard-link files rather than copy them.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes; 0 is one per core.")] = 0,
    size: Annotated[
        tuple[int, int] | None, typer.Option("--size", metavar="H W", min=1, help="Of the images that onnx, pt2 take.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Discard an earlier export in the folder.")] = False,
) -> None:
    """Write labelled images of a run, or a segmenter, in a format others read; the same command goes on."""
    from clouds.commands.export import export_folder
    from clouds.export.parts import Splits
    from clouds.export.run import Options

    options = Options(
        splits=Splits(split, val_share),
        things=tuple(things),
        shard_mb=shard_mb,
        link=link,
        workers=workers,
        size=size,
        force=force,
    )
    export_folder(artifact, format_, out, options)


@app.command()
def tiny(
    folder: Annotated[Path, typer.Argument(help="Where to put them.")],
    seed: Annotated[int, typer.Option(help="Their weights are random from this seed.")] = 0,
) -> None:
    """Build tiny, untrained instances of the real models, in their official formats."""
    from clouds.commands.tiny import build_stand_ins

    build_stand_ins(folder, seed)


@app.command()
def doctor(
    config: Annotated[
        str, typer.Argument(help="Say, too, what this config needs; as for `run`.", autocompletion=_shipped)
    ] = "",
    data: Annotated[str, typer.Option("--data", metavar="CONFIG", help="Check the data sets of this config.")] = "",
    set_: Overrides = [],  # noqa: B006
    items: Annotated[
        int | None, typer.Option("--items", min=1, help="Look at so many items of each set, evenly spread, not all.")
    ] = None,
    format_: Format = TableFormat.TERMINAL,
    json: Json = False,
) -> None:
    """Say what is on this machine and what a config needs of it; with --data, look through its data sets."""
    from clouds.commands.doctor import print_findings
    from clouds.commands.doctor_data import check_data

    if config and data:
        raise UsageError(f"{config} and --data {data} ask for two things", "leave out one of them")
    if items is not None and not data:
        raise UsageError("--items goes with --data", "give --data CONFIG too, or leave it out")
    if set_ and not (config or data):
        raise UsageError("--set goes with a config", "give one, or leave --set out")
    form = _form(format_, json)
    if data:
        check_data(data, set_, items, form)
    else:
        print_findings(config, set_, form)


@app.command()
def demo(
    size: Annotated[DemoSize, typer.Option("--size", help="More of everything takes longer, for better numbers.")] = (
        DemoSize.SMALL
    ),
    folder: Annotated[Path | None, typer.Option("--run-dir", help="Where the run goes.")] = None,
    set_: Overrides = [],  # noqa: B006
    format_: Format = TableFormat.TERMINAL,
    json: Json = False,
) -> None:
    """Run the whole method on procedural streets, with the models that ship: by how much does it help?"""
    from clouds.assembly import run_dir_override
    from clouds.config import shipped_configs
    from clouds.models.miniature import check_miniature, miniature_folder

    check_miniature(miniature_folder())
    config = shipped_configs()[_DEMOS[size]]
    assembly = _assemble(str(config), [*run_dir_override(folder), *set_])
    _execute(assembly, list(assembly.stages), [], form=_form(format_, json))


@app.command()
def pretrain(
    config: Annotated[str, typer.Argument(help="As for `run`.")] = "miniature",
    folder: Annotated[Path | None, typer.Option("--run-dir", help="Where the run goes.")] = None,
    set_: Overrides = [],  # noqa: B006
    force: Force = [],  # noqa: B006
    only: Annotated[str, typer.Option("--only", help="Make this stage with what it needs, and no other.")] = "",
    install: Annotated[bool, typer.Option("--install", help="Put the result in place of the shipped weights.")] = False,
) -> None:
    """Train the miniature foundation models, appraise and pack them; what is done already is not done again."""
    from clouds.assembly import run_dir_override
    from clouds.commands.pretrain import hand_over

    if only and install:
        raise UsageError("--install: with --only nothing is packed", "leave out one of them")
    assembly = _assemble(config, [*run_dir_override(folder), *set_])
    [package] = assembly.find("package")
    _execute(assembly, assembly.needed_for(only or package.name), force)
    if not only:
        hand_over(assembly, package, install=install)


@app.command()
def convert(
    checkpoint: Annotated[
        Path, typer.Argument(help="A published .pth or .pkl, or a folder of transformers' Mask2Former.")
    ],
    out: Annotated[Path, typer.Argument(help="Where the segmenter goes: a folder.")],
    classes: Annotated[
        str, typer.Option("--classes", help="What it was trained for: a built-in list, or a file.")
    ] = "",
    backbone: Annotated[str, typer.Option("--backbone", help="Its CLIP: open_clip's name, or a JSON file.")] = "",
    ensemble: Annotated[bool, typer.Option("--ensemble", help="Let the frozen CLIP have its say, 0.4/0.8.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Discard what lies there.")] = False,
) -> None:
    """Turn a published checkpoint into a segmenter of this tool."""
    from clouds.commands.convert import convert as convert_checkpoint

    convert_checkpoint(checkpoint, out, classes or None, backbone or None, ensemble=ensemble, force=force)


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="A segmenter's `model` folder, or a run's: then its last one.")],
    images: Annotated[list[str], typer.Argument(help="Image files, folders of them, patterns in quotes.")],
    out: Annotated[Path, typer.Option("--out", help="Where labels, overlays and metadata go.")],
    classes: Annotated[
        str, typer.Option("--classes", help="Ask a text classifier about others: 'bus, tram', a built-in list, a file.")
    ] = "",
    short_edge: Annotated[int | None, typer.Option("--short-edge", help="Predict at this shorter edge.")] = None,
    size: Annotated[tuple[int, int] | None, typer.Option("--size", metavar="H W", help="Predict at this size.")] = None,
    window: Annotated[
        tuple[int, int] | None, typer.Option("--window", metavar="H W", help="Predict in windows.")
    ] = None,
    stride: Annotated[
        tuple[int, int] | None, typer.Option("--stride", metavar="DOWN RIGHT", help="From window to window.")
    ] = None,
    scales: Annotated[str, typer.Option("--scales", help="Average over multiples of the size, such as 0.75,1.")] = "1",
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored image.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images or windows per forward pass.")] = 4,
    overlays: Annotated[bool, typer.Option("--overlays/--no-overlays", help="Colours laid over the images.")] = True,
    confidence: Annotated[bool, typer.Option("--confidence", help="Write each pixel's highest score, too.")] = False,
    set_: Overrides = [],  # noqa: B006
    force: Annotated[bool, typer.Option("--force", help="Discard the predictions that lie there.")] = False,
) -> None:
    """Label images with a trained segmenter; what is done already is not done again."""
    from clouds.commands.predict import predict as label_images
    from clouds.data.class_files import class_entries

    values = {
        "classes": class_entries(classes) if classes else None,
        "short_edge": short_edge,
        "size": size,
        "window": window,
        "stride": stride,
        "scales": scales.split(","),
        "flip": flip,
        "batch_size": batch_size,
        "overlays": overlays,
        "confidence": confidence,
    }
    label_images(checkpoint, images, out, values, set_, device=device, force=force)


def _stage_command(kind: str, does: str) -> None:
    @app.command(name=kind, help=f"{does} Brings the stage up to date, with what it needs.")
    def command(
        config: Config,
        set_: Overrides = [],  # noqa: B006
        force: Force = [],  # noqa: B006
        format_: Format = TableFormat.TERMINAL,
        json: Json = False,
    ) -> None:
        assembly = _assemble(config, set_)
        _execute(assembly, assembly.needed_for(kind), force, form=_form(format_, json))


for _kind, _does in {
    "generate": "Generate images from prompts.",
    "repaint": "Repaint labelled source images from prompts.",
    "train": "Train the segmenter on the labelled source.",
    "adapt": "Train on source and repainted images.",
    "label": "Label the generated images with the segmenter.",
    "refine": "Refine the labels with segment-anything.",
    "judge": "Measure on images and labels what filters decide by.",
    "filter": "Keep the labels to be trusted.",
    "selftrain": "Train on source, repainted and refined generated images.",
}.items():
    _stage_command(_kind, _does)


def main() -> None:
    """The program: errors a user can mend are one message and exit status 1 or 2; others too, unless `--debug`."""
    debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments, standalone_mode=True)
    except CloudsError as error:
        if debug:
            raise
        _fail(str(error), error.exit_status)
    except Interrupted as error:
        _fail(f"{error}; the same command goes on from here", 128 + error.signum)
    except Exception as error:
        if debug:
            raise
        _fail(f"{type(error).__name__}: {error}\n  mend: --debug shows where; what is done is kept", 1)


def _assemble(config: str, overrides: list[str]) -> "Assembly":
    from clouds.assembly import assemble

    return assemble(config, overrides)


def _execute(
    assembly: "Assembly", stages: "list[Stage]", force: list[str], *, retry: bool = False, form: str = "terminal"
) -> None:
    from clouds.commands.run import execute

    forced = {stage.name for name in force for stage in assembly.find(name)}
    unused = forced - {stage.name for stage in stages}
    if unused:
        raise UsageError(f"--force {', '.join(sorted(unused))}: this command does not reach that stage")
    execute(assembly, stages, forced, retry=retry, form=form)


def _form(chosen: TableFormat, json: bool) -> str:
    if json and chosen == TableFormat.MARKDOWN:
        raise UsageError("--json and --format md contradict each other", "leave out one of them")
    return (TableFormat.JSON if json else chosen).value


def _reading(overrides: list[str], predictions: list[str]) -> list[str]:
    """The overrides with the folders of predictions that are to be scored."""
    folders: dict[str, dict[str, str]] = {}
    for text in predictions:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise UsageError(
                f"--predictions {text!r} is not of the form NAME=FOLDER",
                "give a name and a folder, such as mine=runs/mine/labels",
            )
        if name in folders:
            raise UsageError(f"--predictions {text!r}: {name!r} is {folders[name]['folder']} already", "rename one")
        folders[name] = {"folder": folder}
    return [*overrides, f"evaluate.predictions={dumps(folders, ensure_ascii=False)}"] if folders else overrides


def _saving(overrides: list[str], form: SavedAs | None) -> list[str]:
    return overrides if form is None else [*overrides, f"evaluate.save_predictions={form.value}"]


def _fail(message: str, status: int) -> None:
    typer.echo(f"error: {message}", err=True)
    raise SystemExit(status)
