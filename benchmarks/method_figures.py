"""Draws the pictures of docs/method.md from a finished run of the whole method. It runs no stage and loads no model.

Which items are shown is not chosen by hand: they are spread evenly over the run, as in its report. A picture that the
run has nothing for is left out, and the reason said.

    clouds demo
    python benchmarks/method_figures.py runs/demo docs/figures
"""

import argparse
import base64
import io
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from clouds.assembly import assemble
from clouds.data.labels import LabelMap
from clouds.engine.stage import Stage
from clouds.errors import CloudsError, UsageError
from clouds.ops.spread import spread
from clouds.report.comparison import HasDatasets, compare_predictions
from clouds.report.gallery import Exhibit, exhibits
from clouds.report.html import HasClasses
from clouds.report.pictures import (
    CHANGED,
    CONFIDENCE,
    REMOVED,
    Picture,
    color_labels,
    drawing,
    largest_classes,
    photo,
    shrink_ids,
    shrink_image,
)
from clouds.report.repainted import repainted_images
from clouds.report.samples import trace_items

MAX_BYTES = 60_000
"""The size that a picture's file stays below, by having fewer colours."""

ENLARGED = 2
"""How many pixels of a picture one of an image becomes, each way; nothing is blurred."""

_COLORS = (256, 192, 128, 96, 64, 48, 32)
_TEXT_SIZE = 15
_INK, _PAPER, _EDGE = (36, 36, 36), (255, 255, 255), (128, 128, 128)
_GAP = 10
_CHIP = 14

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its stages in order, its classes."""

    folder: Path
    stages: Sequence[Stage]
    label_map: LabelMap


@dataclass(frozen=True)
class Row:
    """Pictures beside each other, under a line of text."""

    title: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Figure:
    """A file's name, the rows it shows, why there may be none, and whether colours need a key: of classes, of more."""

    name: str
    rows: Callable[[Run], list[Row]]
    without: str
    classes: bool = True
    key: Sequence[tuple[str, Color]] = ()


def source(run: Run) -> list[Row]:
    """Three images that the segmenter learns from, over their labels."""
    stage = next(stage for stage in run.stages if stage.kind == "train")
    dataset = next(iter(stage.datasets.values())) if isinstance(stage, HasDatasets) else None
    if dataset is None:
        return []
    images, labels = [], []
    for index in spread(len(dataset.ids), 3):
        labels_HW = dataset.labels(index)
        shown_HWC = color_labels(shrink_ids(labels_HW), run.label_map)
        images.append(photo(shrink_image(dataset.image(index)), "", f"Image {dataset.ids[index]}"))
        labels.append(drawing(shown_HWC, "", f"Its labels: {largest_classes(labels_HW, run.label_map)}"))
    return [Row("", images), Row("", labels)]


def repainted(run: Run) -> list[Row]:
    """Four labelled images, what was painted over them under which prompt, and the labels of both."""
    shown = repainted_images(run.stages, run.label_map, 4)
    return [Row(one.prompt, one.pictures) for one in shown if one.pictures]


def generated(run: Run) -> list[Row]:
    """Six generated images, three in a row, over their prompts."""
    pictures = [replace(one.pictures[0], caption=one.trace.prompt) for one in _exhibits(run, 6)]
    return [Row("", pictures[start : start + 3]) for start in range(0, len(pictures), 3)]


def labelled(run: Run) -> list[Row]:
    """Three generated images with pseudo-label, confidence, refined label and change, of the last round."""
    return [Row(one.trace.prompt, one.pictures) for one in _exhibits(run, 3) if one.trace.refined is not None]


def unseen(run: Run) -> list[Row]:
    """The first image of each test set with its truth, and what the first and the last model see in it."""
    compared = compare_predictions(run.stages, run.label_map)
    return [Row(name, images[0].pictures) for name, images in compared.items() if images[0].pictures]


FIGURES = (
    Figure("method-source.png", source, "nothing was trained on a labelled data set"),
    Figure("method-repaint.png", repainted, "it painted nothing anew (`repaint`)"),
    Figure("method-generate.png", generated, "it generated nothing (`rounds`, `generate`)", classes=False),
    Figure(
        "method-labels.png",
        labelled,
        "it refined no labels (`rounds`, `refine`)",
        key=(
            ("sure", CONFIDENCE[-1]),
            ("half sure", CONFIDENCE[1]),
            ("not sure", CONFIDENCE[0]),
            ("changed", CHANGED),
            ("now without a label", REMOVED),
        ),
    ),
    Figure("method-unseen.png", unseen, "it kept no predictions (`evaluate.keep_predictions`)"),
)


def _exhibits(run: Run, count: int) -> list[Exhibit]:
    traces = trace_items(run.folder, run.stages, count)
    return [one for one in exhibits(run.folder, traces, run.label_map) if one.pictures]


def draw(rows: Sequence[Row], key: Sequence[tuple[str, Color]]) -> Image.Image:
    """The rows as one image, with what their colours mean at the foot."""
    drawn = [_beside([_panel(picture) for picture in row.pictures]) for row in rows]
    width = max(image.width for image in drawn)
    blocks: list[Image.Image] = []
    for row, image in zip(rows, drawn, strict=True):
        blocks.append(_below([_written(row.title, width), image], 4) if row.title else image)
    return ImageOps.expand(_below([*blocks, *_key(key, width)]), _GAP, _PAPER)


def _panel(picture: Picture) -> Image.Image:
    """A picture enlarged, over its caption."""
    data = base64.b64decode(picture.uri.partition(",")[2])
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image = image.resize((image.width * ENLARGED, image.height * ENLARGED), Image.Resampling.NEAREST)
    return _below([image, _written(picture.caption, image.width)], 2)


def _key(entries: Sequence[tuple[str, Color]], width: int) -> list[Image.Image]:
    """Chips of colours with their names, in as many lines as they need."""
    lines: list[list[Image.Image]] = [[]]
    for name, color in entries:
        chip = Image.new("RGB", (_CHIP, _CHIP + 3), _PAPER)
        ImageDraw.Draw(chip).rectangle((0, 3, _CHIP - 1, _CHIP + 2), fill=color, outline=_EDGE)
        entry = _beside([chip, _written(name, width)], 5)
        if lines[-1] and sum(one.width + _GAP for one in lines[-1]) + entry.width > width:
            lines.append([])
        lines[-1].append(entry)
    return [_beside(line) for line in lines if line]


def _written(text: str, width: int) -> Image.Image:
    """Text as an image no wider than `width`; a word that is wider is cut."""
    font = ImageFont.load_default(_TEXT_SIZE)
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    line_height = round(_TEXT_SIZE * 1.3)
    widest = max((font.getlength(line) for line in lines), default=0)
    image = Image.new("RGB", (min(width, math.ceil(widest) + 1), max(1, line_height * len(lines))), _PAPER)
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        pen.text((0, number * line_height), line, font=font, fill=_INK)
    return image


def _beside(images: Sequence[Image.Image], gap: int = _GAP) -> Image.Image:
    width = sum(image.width + gap for image in images) - gap
    paper = Image.new("RGB", (width, max(image.height for image in images)), _PAPER)
    left = 0
    for image in images:
        paper.paste(image, (left, 0))
        left += image.width + gap
    return paper


def _below(images: Sequence[Image.Image], gap: int = _GAP) -> Image.Image:
    height = sum(image.height + gap for image in images) - gap
    paper = Image.new("RGB", (max(image.width for image in images), height), _PAPER)
    top = 0
    for image in images:
        paper.paste(image, (0, top))
        top += image.height + gap
    return paper


def encoded(image: Image.Image, exact: Sequence[Color]) -> bytes:
    """The image as PNG with the most colours that keep it below `MAX_BYTES`; `exact` ones stay as they are.

    Raises `CloudsError` for an image that would lose too many.
    """
    kept = [*dict.fromkeys((*exact, _PAPER, _INK))]
    for colors in _COLORS:
        buffer = io.BytesIO()
        _reduced(image, kept, colors).save(buffer, "PNG", optimize=True)
        if buffer.tell() < MAX_BYTES:
            return buffer.getvalue()
    said = f"a figure of {image.width}x{image.height} pixels does not fit into {MAX_BYTES} bytes"
    raise CloudsError(said, "these figures are for runs of small images, such as `clouds demo`")


def _reduced(image: Image.Image, exact: Sequence[Color], colors: int) -> Image.Image:
    """The image with a palette: the exact colours, and for all other pixels the colours that fit them best."""
    pixels_HWC = np.asarray(image)
    ids_HW = np.full(pixels_HWC.shape[:2], len(exact), dtype=np.uint8)
    for number, color in enumerate(exact):
        ids_HW[np.all(pixels_HWC == color, axis=2)] = number
    palette = [value for color in exact for value in color]
    others_HW = ids_HW == len(exact)
    if others_HW.any():
        others = Image.fromarray(pixels_HWC[others_HW][None]).quantize(colors - len(exact), kmeans=1)
        ids_HW[others_HW] += np.asarray(others)[0]
        palette += others.getpalette() or []
    reduced = Image.fromarray(ids_HW)
    reduced.putpalette(palette)
    return reduced


def write_figures(run: Run, folder: Path) -> None:
    """Write every figure that the run has something for, and say what became of each."""
    folder.mkdir(parents=True, exist_ok=True)
    classes = [(one.name, one.color) for one in run.label_map.classes]
    for figure in FIGURES:
        rows = figure.rows(run)
        if not rows:
            print(f"{figure.name} left out: {figure.without}")
            continue
        key = [*(classes if figure.classes else []), *figure.key]
        png = encoded(draw(rows, key), [color for _, color in key])
        (folder / figure.name).write_bytes(png)
        print(f"{folder / figure.name}: {len(png) / 1000:.0f} KB")


def open_run(folder: Path) -> Run:
    """The run that lies in a folder. Raises `UsageError` where none does, or one without classes."""
    assembly = assemble(str(folder))
    if not isinstance(assembly.config, HasClasses):
        raise UsageError(f"{folder} is no run with classes", "give the folder of a run of the whole method")
    return Run(assembly.config.folder, assembly.stages, assembly.config.data.label_map())


def main() -> None:
    """Draw the figures of the run that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("figures", type=Path, help="where the pictures go")
    options = parser.parse_args()
    try:
        write_figures(open_run(options.run), options.figures)
    except CloudsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
