"""Pictures of what happened to a few items: image, label, confidence, refined label, change. It computes no label."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clouds.data.images import read_image, read_labels
from clouds.data.labels import LabelMap
from clouds.errors import InputError
from clouds.report.pictures import (
    Picture,
    color_changes,
    color_confidence,
    color_labels,
    drawing,
    largest_classes,
    lay_over,
    photo,
    shrink_ids,
    shrink_image,
)
from clouds.report.samples import Trace

Ids_HW = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Exhibit:
    """One item: where it came from, its pictures in order, those of earlier rounds, and what could not be shown."""

    trace: Trace
    pictures: tuple[Picture, ...]
    earlier: tuple[Picture, ...]
    problem: str = ""


def exhibits(run_folder: Path, traces: Sequence[Trace], label_map: LabelMap | None) -> list[Exhibit]:
    """The pictures of each item; one whose files cannot be read says so instead."""
    return [_exhibit(run_folder, one, label_map) for one in traces]


def _exhibit(run_folder: Path, trace: Trace, label_map: LabelMap | None) -> Exhibit:
    try:
        image_HWC = read_image(run_folder / trace.image)
        pictures = [photo(shrink_image(image_HWC), f"Generated image: {trace.prompt}", "Generated image")]
        earlier: list[Picture] = []
        if label_map is not None:
            pictures += _label_pictures(run_folder, trace, image_HWC, label_map)
            earlier += [_refined(read_labels(run_folder / file), label_map, name) for name, file in trace.earlier]
    except InputError as error:
        return Exhibit(trace, (), (), str(error))
    return Exhibit(trace, tuple(pictures), tuple(earlier))


def _label_pictures(run_folder: Path, trace: Trace, image_HWC: NDArray[np.uint8], label_map: LabelMap) -> list[Picture]:
    if trace.labels is None:
        return []
    labels_HW = _ids(run_folder / trace.labels, image_HWC)
    pictures = [_overlay(image_HWC, labels_HW, label_map)]
    if trace.confidence is not None:
        pictures.append(_confidence(read_labels(run_folder / trace.confidence)))
    if trace.refined is not None:
        refined_HW = _ids(run_folder / trace.refined, image_HWC)
        pictures.append(_refined(refined_HW, label_map, "Refined label"))
        pictures.append(_change(image_HWC, labels_HW, refined_HW, label_map.ignore))
    return pictures


def _ids(path: Path, image_HWC: NDArray[np.uint8]) -> Ids_HW:
    labels_HW = read_labels(path)
    if labels_HW.shape != image_HWC.shape[:2]:
        raise InputError(f"labels {path}: size {labels_HW.shape} differs from the image's {image_HWC.shape[:2]}")
    return labels_HW


def _overlay(image_HWC: NDArray[np.uint8], labels_HW: Ids_HW, label_map: LabelMap) -> Picture:
    shown_HWC = lay_over(shrink_image(image_HWC), color_labels(shrink_ids(labels_HW), label_map))
    return photo(shown_HWC, f"Pseudo-label: {largest_classes(labels_HW, label_map)}", "Pseudo-label, over the image")


def _confidence(confidence_HW: Ids_HW) -> Picture:
    mean = f"{confidence_HW.mean() / 255:.0%}"
    shown_HWC = color_confidence(shrink_ids(confidence_HW))
    return photo(shown_HWC, f"Confidence of the pseudo-label: {mean} on average", f"Confidence, {mean} on average")


def _refined(refined_HW: Ids_HW, label_map: LabelMap, what: str) -> Picture:
    shown_HWC = color_labels(shrink_ids(refined_HW), label_map)
    return drawing(shown_HWC, f"{what}: {largest_classes(refined_HW, label_map)}", what)


def _change(image_HWC: NDArray[np.uint8], before_HW: Ids_HW, after_HW: Ids_HW, ignore: int) -> Picture:
    changed_HW = before_HW != after_HW
    removed = np.mean(changed_HW & (after_HW == ignore))
    said = f"{np.mean(changed_HW):.1%} of pixels changed"
    said += f", {removed:.1%} now ignored" if removed else ""
    shown_HWC = color_changes(shrink_image(image_HWC), shrink_ids(before_HW), shrink_ids(after_HW), ignore)
    return photo(shown_HWC, f"What refinement changed: {said}", said)
