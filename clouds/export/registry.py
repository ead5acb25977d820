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


def kind_of(folder: Path) -> Kind:
    """What kind of folder it is. Raises `UsageError` for one that cannot be exported."""
    for kind in KINDS:
        if kind.recognises(folder):
            return kind
    raise not_an_artifact(folder)


def check_format(kind: Kind, name: str) -> str:
    """The name, if it is a format of this kind. Raises `UsageError` that names the nearest and lists all."""
    if name in _WITHOUT_FILES:
        raise UsageError(f"--format {name}: there is nothing to write", _WITHOUT_FILES[name])
    if name not in kind.formats:
        known = f"formats of {kind.name}: {', '.join(kind.formats)}"
        near = nearest(name, kind.formats)
        raise UsageError(
            f"--format {name!r}: no such format", f"{near} {known}" if near.startswith("did you mean") else known
        )
    return name


def _export_labelled(folder: Path, name: str, out: Path, options: Options, say: Say) -> str:
    images, format_ = open_images(folder), FORMATS[name]
    exported = export_images(images, format_, out, options, say)
    splits = ", ".join(f"{count} {split}" for split, count in exported.items.items())
    if exported.up_to_date:
        return f"up to date: {exported.out} ({splits})"
    return f"exported: {exported.out} ({splits})"


KINDS: tuple[Kind, ...] = (Kind("labelled images", is_stage_or_run, tuple(FORMATS), _export_labelled),)
"""Every kind of folder; the first that recognises one exports it."""
