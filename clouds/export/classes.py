"""The class list of an artifact, read from its run's folder. It knows no stage by name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from clouds.data.labels import IGNORE, ClassConfig, LabelMap
from clouds.engine.artifact import Artifact
from clouds.errors import UsageError

_CLASSES = "classes.classes"
_IGNORE = "classes.ignore"


def classes_of(artifact: Artifact) -> LabelMap:
    """The classes that the artifact's labels were made with, in the colours of the run's config.

    They are on record in the artifact's description or in that of a stage it was made from; else the run's config
    says them. Raises `UsageError` where neither does.
    """
    run_folder = artifact.folder.parent
    configured = _configured(run_folder / "config.yaml")
    recorded = next(_recorded(artifact), None)
    if recorded is None and not configured:
        raise UsageError(
            f"{artifact.folder}: its classes are on record neither in stage.json nor in {run_folder / 'config.yaml'}",
            "copy the run's config.yaml there, or export from the run's own folder",
        )
    entries = recorded[_CLASSES] if recorded else configured
    colors = {entry["name"]: entry.get("color") for entry in configured}
    named = [
        ClassConfig(name=one["name"], color=colors.get(one["name"]), synonyms=tuple(one.get("synonyms") or ()))
        for one in entries
    ]
    ignore = int((recorded or {}).get(_IGNORE, IGNORE))
    return LabelMap(LabelMap.of(named).classes, ignore)


def upstream(artifact: Artifact) -> list[Artifact]:
    """The artifacts that this one was made from, as its description tells; those no longer there left out."""
    document = (artifact.description() or {}).get("document") or {}
    found = [Artifact(artifact.folder.parent / name) for name in document.get("upstream", {})]
    return [one for one in found if one.description() is not None]


def _recorded(artifact: Artifact) -> Iterator[dict[str, Any]]:
    """The inputs on record that name classes, the nearest first."""
    open_, seen = [artifact], set()
    while open_:
        one = open_.pop(0)
        if one.name in seen:
            continue
        seen.add(one.name)
        inputs = ((one.description() or {}).get("document") or {}).get("inputs") or {}
        if inputs.get(_CLASSES):
            yield inputs
        open_ += upstream(one)


def _configured(config: Path) -> list[dict[str, Any]]:
    """The classes of a run's resolved config; none where it has none or cannot be read."""
    try:
        tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return []
    data = tree.get("data") if isinstance(tree, dict) else None
    classes = data.get("classes") if isinstance(data, dict) else None
    if isinstance(classes, str):
        return [
            {"name": one.name, "color": one.color, "synonyms": one.synonyms} for one in LabelMap.of(classes).classes
        ]
    return [entry if isinstance(entry, dict) else {"name": str(entry)} for entry in classes or ()]
