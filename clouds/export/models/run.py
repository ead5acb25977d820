"""Exports a segmenter: claims the folder, has its format write and compare it, adds the card. It knows no format."""

import os
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from clouds.api import find_segmenter
from clouds.engine.atomic import sync_tree, write_atomic
from clouds.engine.shard import digest
from clouds.engine.work import explain_os_error
from clouds.errors import CloudsError, UsageError
from clouds.export.folder import ExportFolder
from clouds.export.models.card import CARD, card
from clouds.export.models.formats import FORMATS, Loaded, ModelFormat
from clouds.export.models.lineage import Lineage, lineage_of
from clouds.export.run import Options, check_packages
from clouds.models.segmenter_folder import segmenter_classes, segmenter_identity
from clouds.models.weights import user_hash_cache

EXTRA = "pip install 'clouds-segmentation[onnx]'"
_SCRATCH = "scratch"
_SIZE = (512, 512)
"""Of a graph's images where neither the user nor the segmenter's training says one."""
_OURS = {"size", "force"}

Say = Callable[[str], None]


def holds_segmenter(folder: Path) -> bool:
    """Whether a folder is a segmenter's, or a stage's or a run's that has one."""
    try:
        find_segmenter(folder)
    except UsageError:
        # several: it is asked which when it is exported
        return True
    except CloudsError:
        return False
    return True


def export_segmenter(folder: Path, name: str, out: Path, options: Options, say: Say) -> str:
    """Write the segmenter of a folder in a format of `FORMATS`; what to say in the end.

    The folder holds either all of it or a note that it does not. Raises `UsageError` before anything is written, and
    `CloudsError` where what was written does not compute what the segmenter does.
    """
    format_ = FORMATS[name]
    _check_options(format_, options)
    check_packages(format_.name, format_.packages, EXTRA)
    segmenter = find_segmenter(folder)
    lineage = lineage_of(segmenter)
    size = options.size or lineage.crop or _SIZE
    source, target = segmenter.resolve(), out.resolve()
    if source == target or target in source.parents or source in target.parents:
        raise UsageError(f"--out {out}: is where the segmenter lies, {segmenter}", "name another folder with --out")
    export = ExportFolder(out, _request(format_, segmenter, lineage, size))
    export.check(force=options.force)
    if export.complete and not options.force:
        export.clear()
        return f"up to date: {out}"
    say(f"{segmenter} -> {format_.name}: {out}" + (f", for images of {size[0]} x {size[1]}" if format_.sized else ""))
    try:
        with export.held():
            # another export may have come and gone since
            export.check(force=options.force)
            compared = _write(format_, segmenter, lineage, size, export, force=options.force)
        export.clear()
    except OSError as error:
        raise explain_os_error(error, out) from error
    return f"exported: {out} ({compared})"


def _write(
    format_: ModelFormat, segmenter: Path, lineage: Lineage, size: tuple[int, int], export: ExportFolder, *, force: bool
) -> str:
    from clouds.models.quiet import silence_libraries
    from clouds.models.segmenter_files import load_segmenter

    silence_libraries()
    # 1. what is wrong with the segmenter shows before anything is discarded
    model, info = load_segmenter(segmenter)
    loaded = Loaded(model, info, segmenter_classes(segmenter).colors, size)
    export.begin(force=force)
    # 2. all files, out of sight
    scratch = export.work / _SCRATCH
    scratch.mkdir()
    compared = format_.write(loaded, scratch)
    named = "-".join(filter(None, (lineage.run, lineage.stage))) or "segmenter"
    text = card(named, lineage, info.class_names, format_.use(), format_.fixed(size))
    write_atomic(scratch / CARD, text)
    # 3. to their places
    sync_tree(scratch)
    for path in sorted(scratch.iterdir()):
        _replace(path, export.out / path.name)
    export.end({"compared": compared})
    return compared


def _replace(path: Path, final: Path) -> None:
    if final.is_dir():
        # of an export that was stopped between two renames
        shutil.rmtree(final)
    os.replace(path, final)


def _request(format_: ModelFormat, segmenter: Path, lineage: Lineage, size: tuple[int, int]) -> dict[str, Any]:
    """Everything that can change what is written."""
    identity = segmenter_identity(segmenter, user_hash_cache())
    request = {
        "format": format_.name,
        "segmenter": digest(f"{name} {sha256}" for name, sha256 in identity.items()),
        "lineage": digest([repr(lineage)]),
    }
    return {**request, "size": list(size)} if format_.sized else request


def _check_options(format_: ModelFormat, options: Options) -> None:
    """Raise `UsageError` for options that say nothing of a segmenter, or of this format."""
    usual = Options()
    for one in fields(Options):
        if one.name not in _OURS and getattr(options, one.name) != getattr(usual, one.name):
            flag = {"splits": "--split and --val-share"}.get(one.name, f"--{one.name.replace('_', '-')}")
            raise UsageError(f"{flag}: is of labelled images, not of a segmenter", "leave it out")
    if options.size is not None and not format_.sized:
        raise UsageError(f"--size: --format {format_.name} takes images of any size", "leave it out")
