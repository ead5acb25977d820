"""What is told of each exported image: where it comes from, in values of fixed types. It reads no file."""

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]

FACTS: dict[str, type] = {
    "prompt": str,
    "negative_prompt": str,
    "seed": int,
    "model": str,
    "revision": str,
    "pipeline": str,
    "scheduler": str,
    "steps": int,
    "guidance": float,
    "strength": float,
    "source": str,
    "source_image": str,
    "labelled_by": str,
    "mean_confidence": float,
    "refined_by": str,
}
"""Name and type of every fact; an item has those that are known of it.

`source` is the id of the labelled image that was painted anew, `source_image` the image's file in its run,
`labelled_by` the model whose labels they are, `mean_confidence` its confidence 0..1, `refined_by` the mask model.
"""

_OF_THE_IMAGE = tuple(FACTS)[:11]


def facts_of(image: Row, labels: Row, refined: Row, source_image: str) -> dict[str, str | int | float]:
    """The known facts, from the metadata of the image, of its labels and of what refined them; each may be empty."""
    found = {name: image.get(name) for name in _OF_THE_IMAGE}
    found["source_image"] = source_image
    found["labelled_by"] = labels.get("model")
    found["mean_confidence"] = labels.get("mean_confidence")
    found["refined_by"] = _identity(refined.get("sam"))
    return {name: convert(found[name]) for name, convert in FACTS.items() if found[name] is not None}


def _identity(weights: Any) -> str | None:
    """Weights in words: `local, sha256 1f9a...`, or a hub id with its revision."""
    if not isinstance(weights, Mapping):
        return None
    kind = [str(weights["kind"])] if "kind" in weights else []
    return ", ".join(kind + [f"{key} {value}" for key, value in weights.items() if key != "kind"])
