"""What `clouds convert` does: reads a published model, writes the segmenter, tells what it used. It knows no format."""

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import typer

from clouds.data.class_files import read_classes
from clouds.engine.atomic import publish_folder
from clouds.errors import UsageError
from clouds.models.published import Converted, refuse_clip_options
from clouds.models.published import convert as convert_published
from clouds.models.published_files import read_checkpoint
from clouds.models.quiet import silence_libraries
from clouds.models.segmenter_config import EnsembleConfig
from clouds.models.segmenter_files import save_segmenter
from clouds.models.segmenter_folder import COLORS, CONFIG_FILE
from clouds.models.transformers_segmenter import read_transformers

_SHOWN = 3


def convert(
    checkpoint: Path, out: Path, classes: str | None, backbone: str | None, *, ensemble: bool, force: bool
) -> None:
    """Write the segmenter's folder, whole or not at all.

    Raises `UsageError` where something lies there already, unless `force`, and as the readers of the formats do.
    """
    checkpoint, out = checkpoint.expanduser().absolute(), out.expanduser().absolute()
    _refuse_to_lose(out, force=force)
    silence_libraries()
    converted = _read(checkpoint, classes, backbone, ensemble=ensemble)
    scratch = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        classes_of = converted.label_map
        extra = {"converted_from": checkpoint.name, COLORS: [list(color) for color in classes_of.colors]}
        save_segmenter(converted.model, scratch, classes_of.names, extra)
        if out.exists():
            former = out.with_name(f".{out.name}.{os.getpid()}.old")
            os.rename(out, former)
            publish_folder(scratch, out)
            shutil.rmtree(former)
        else:
            publish_folder(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _tell(converted, checkpoint, out)


def _refuse_to_lose(out: Path, *, force: bool) -> None:
    if not out.exists():
        return
    if not (out / CONFIG_FILE).is_file():
        raise UsageError(f"{out} exists and holds no segmenter", "choose another folder")
    if not force:
        raise UsageError(f"{out} exists already", "choose another folder; or --force: discard the segmenter there")


def _read(checkpoint: Path, classes: str | None, backbone: str | None, *, ensemble: bool) -> Converted:
    label_map = read_classes(classes) if classes is not None else None
    if not checkpoint.is_dir():
        exponents = EnsembleConfig() if ensemble else None
        return convert_published(read_checkpoint(checkpoint), label_map, backbone=backbone, ensemble=exponents)
    refuse_clip_options(backbone, ensemble)
    return read_transformers(checkpoint, label_map)


def _tell(converted: Converted, checkpoint: Path, out: Path) -> None:
    head, naming = converted.model.head_config, converted.model.naming
    classifier = "closed" if naming is None else naming.classifier
    typer.echo(f"converted: {checkpoint.name} -> {out}")
    typer.echo(f"backbone: {converted.backbone}")
    typer.echo(f"classifier: {classifier}, {len(converted.label_map.names)} classes")
    typer.echo("head: " + ", ".join(f"{name} {value}" for name, value in head.model_dump().items()))
    typer.echo(f"used: {len(converted.used)} tensors ({_counted(_parts(converted.used))})")
    typer.echo(f"left: {len(converted.left)} tensors")
    for what in dict.fromkeys(converted.left.values()):
        names = [name for name, kind in converted.left.items() if kind == what]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        typer.echo(f"  {what}: {', '.join(names[:_SHOWN])}{more}")


def _parts(names: tuple[str, ...]) -> dict[str, str]:
    """Each name's beginning: its first two words, of an image tower its first three."""
    return {name: ".".join(name.split(".")[: 3 if ".visual." in name else 2]) for name in names}


def _counted(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in Counter(kinds.values()).items())
