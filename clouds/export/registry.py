"""What can be exported, and in which formats. A kind of folder is a row of `KINDS`, a format a name in its row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clouds.errors import UsageError, nearest
from clouds.export.ade20k import ADE20K
from clouds.export.cityscapes import Cityscapes
from clouds.export.coco_panoptic import CocoPanoptic
from clouds.export.coco_rle import CocoRle
from clouds.export.fiftyone import FiftyOne
from clouds.export.format import Format
from clouds.export.imagefolder import ImageFolder
from clouds.export.images import is_stage_or_run, not_an_artifact, open_images
from clouds.export.mmseg import MMSegmentation
from clouds.export.models.formats import FORMATS as MODEL_FORMATS
from clouds.export.models.run import export_segmenter, holds_segmenter
from clouds.export.parquet import Parquet
from clouds.export.run import Options, export_images
from clouds.export.webdataset import WebDataset
from clouds.export.yolo_seg import YoloSeg

_ALL: tuple[Format, ...] = (
    ImageFolder(),
    Parquet(),
    WebDataset(),
    Cityscapes(),
    MMSegmentation(),
    ADE20K(),
    CocoPanoptic(),
    CocoRle(),
    YoloSeg(),
    FiftyOne(),
)

FORMATS: dict[str, Format] = {format_.name: format_ for format_ in _ALL}
"""The formats of labelled images, by name."""

_WITHOUT_FILES = {
    "detectron2": "it reads the run as it lies: `from clouds.export.detectron2 import register`, then "
    "`register(ARTIFACT, NAME)`"
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Kind:
    """A kind of folder that can be exported: how it is recognised, its formats, and what exports it.

    `export` takes the folder, a format of `formats`, where to write, and the options; what it says on the way goes
    through its last argument, and it returns what to say in the end.
    """

    name: str
    recognises: Callable[[Path], bool]
    formats: Sequence[str]
    export: Callable[[Path, str, Path, Options, Say], str]


def kind_of(folder: Path, format_: str) -> Kind:
    """As what a folder is exported: a run holds labelled images and a segmenter, and the format tells which is meant.

    Raises `UsageError` for a folder that cannot be exported, and for a format that none of what it holds has, naming
    the nearest and all that it has.
    """
    kinds = [kind for kind in KINDS if kind.recognises(folder)]
    if not kinds:
        raise not_an_artifact(folder)
    if format_ in _WITHOUT_FILES:
        raise UsageError(f"--format {format_}: there is nothing to write", _WITHOUT_FILES[format_])
    fitting = [kind for kind in kinds if format_ in kind.formats]
    if fitting:
        return fitting[0]
    known = "; ".join(f"formats of {kind.name}: {', '.join(kind.formats)}" for kind in kinds)
    other = next((kind for kind in KINDS if format_ in kind.formats), None)
    if other is not None:
        raise UsageError(f"--format {format_}: is for {other.name}, which {folder} does not hold", known)
    near = nearest(format_, [name for kind in kinds for name in kind.formats])
    mend = f"{near} {known}" if near.startswith("did you mean") else known
    raise UsageError(f"--format {format_!r}: no such format", mend)


def _export_labelled(folder: Path, name: str, out: Path, options: Options, say: Say) -> str:
    if options.size is not None:
        raise UsageError("--size: is of a segmenter's graph, not of labelled images", "leave it out")
    images, format_ = open_images(folder), FORMATS[name]
    exported = export_images(images, format_, out, options, say)
    splits = ", ".join(f"{count} {split}" for split, count in exported.items.items())
    if exported.up_to_date:
        return f"up to date: {exported.out} ({splits})"
    return f"exported: {exported.out} ({splits})"


KINDS: tuple[Kind, ...] = (
    Kind("labelled images", is_stage_or_run, tuple(FORMATS), _export_labelled),
    Kind("segmenters", holds_segmenter, tuple(MODEL_FORMATS), export_segmenter),
)
"""Every kind of folder. No format is of two kinds."""
