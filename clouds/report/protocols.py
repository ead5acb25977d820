"""How scores came about, in words, from the protocol that is stored beside them. It predicts nothing."""

from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]

_HELD = {"labels": "the run's ids", "cityscapes": "Cityscapes' original ids", "acdc": "Cityscapes' train ids"}


def protocol_words(protocol: Row) -> str:
    """How images were shown to the model, at sizes (height x width) in pixels; or which files predictions are from."""
    if from_files(protocol):
        held = _HELD[protocol["form"]]
        return f"{protocol['predictions']} read from files of {held}, compared at {protocol['compared_at']}"
    if protocol.get("size"):
        size = f"resized to {_by(protocol['size'])}"
    else:
        size = f"short edge {protocol['short_edge']}" if protocol["short_edge"] else "as stored"
    return ", ".join([size, _windows(protocol), *_averaged(protocol), f"compared at {protocol['compared_at']}"])


def from_files(protocol: Row) -> bool:
    """Whether predictions were read from files, and how images were shown is not known."""
    return "predictions" in protocol


def protocol_note(protocol: Row) -> str:
    """How many images of a data set were scored, and how."""
    return f"{_counts(protocol)}, {protocol_words(protocol)}"


def protocol_lines(results: Iterable[Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """A line for each distinct protocol: the data sets scored by it, with their counts, and how.

    `results` are models' scores by data set.
    """
    sets_by_words: dict[str, dict[str, None]] = {}
    for result in results:
        for name, scores in result.items():
            protocol = scores["protocol"]
            sets_by_words.setdefault(protocol_words(protocol), {})[f"{name} ({_counts(protocol)})"] = None
    return [f"{', '.join(sets)}: {words}" for words, sets in sets_by_words.items()]


def _counts(protocol: Row) -> str:
    failed = f", {protocol['failed']} failed" if protocol["failed"] else ""
    return f"{protocol['images']} images{failed}"


def _windows(protocol: Row) -> str:
    if protocol.get("window"):
        return f"windows of {_by(protocol['window'])} at strides of {_by(protocol['stride'])}"
    return "whole image"


def _averaged(protocol: Row) -> Iterable[str]:
    scales, flip = protocol.get("scales", [1.0]), protocol.get("flip", False)
    if len(scales) > 1:
        yield f"mean of scales {', '.join(f'{scale:g}' for scale in scales)}{', each also mirrored' if flip else ''}"
    else:
        if scales != [1.0]:
            yield f"scale {scales[0]:g}"
        if flip:
            yield "mean with the mirrored image"


def _by(size: Iterable[int]) -> str:
    return "x".join(str(length) for length in size)
