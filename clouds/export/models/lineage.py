"""What a run tells of a segmenter it trained: from which weights, on which data, how well it does. It loads no model.

A segmenter's folder that lies in no run has no lineage: nothing is guessed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from clouds.engine.artifact import Artifact
from clouds.engine.atomic import subfolders
from clouds.export.models.licences import MINIATURE, Licence, licence_of_data, licence_of_weights
from clouds.models.miniature import miniature_folder
from clouds.models.needs import library_hub_id
from clouds.models.segmenter_config import BackboneConfig
from clouds.models.weights import is_local
from clouds.report.tables import ModelScores, scores_of

CONFIG = "config.yaml"
_ROLES = {"train": "backbone", "generate": "generator", "repaint": "generator", "refine": "mask model"}
_CROP = ("augment.crop.0", "augment.crop.1")

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """Weights or data that went into a segmenter; `name` holds no path, `hub_id` is there where a hub has it."""

    role: str
    name: str
    hub_id: str | None
    licence: Licence | None


@dataclass(frozen=True)
class Lineage:
    """What is known of where a segmenter comes from; `scores` are those of its own evaluation, None without one."""

    run: str = ""
    stage: str = ""
    parts: tuple[Part, ...] = ()
    data: tuple[Part, ...] = ()
    sets: Mapping[str, Row] = field(default_factory=dict)
    scores: ModelScores | None = None
    crop: tuple[int, int] | None = None
    """Height and width of the crops it learned from."""


def lineage_of(segmenter: Path) -> Lineage:
    """What the run that a segmenter's folder lies in tells of it."""
    stage = Artifact(segmenter.resolve().parent)
    if stage.description() is None:
        return Lineage()
    run = stage.folder.parent
    config = _read_config(run)
    chain = {artifact.name: artifact.description() or {} for artifact in [stage, *_ancestors(stage)]}
    sets: Mapping[str, Row] = (config.get("data") or {}).get("sets") or {}
    return Lineage(
        run=run.name,
        stage=stage.name,
        parts=tuple(_weights(config, {str(described.get("kind")) for described in chain.values()})),
        data=tuple(_data(name, sets) for name in _learned_from(chain)),
        sets=sets,
        scores=_scores(stage),
        crop=_crop(stage),
    )


def _read_config(run: Path) -> Row:
    try:
        content = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _ancestors(stage: Artifact) -> list[Artifact]:
    """The artifacts it was made from, however indirectly, each once."""
    found: dict[str, Artifact] = {}
    open_ = list(_upstream(stage))
    while open_:
        name = open_.pop()
        if name not in found:
            found[name] = Artifact(stage.folder.parent / name)
            open_ += _upstream(found[name])
    return list(found.values())


def _upstream(stage: Artifact) -> Mapping[str, str]:
    upstream: Mapping[str, str] = _document(stage).get("upstream", {})
    return upstream


def _document(stage: Artifact) -> Row:
    document: Row = (stage.description() or {}).get("document", {})
    return document


def _weights(config: Row, kinds: set[str]) -> Iterator[Part]:
    """The weights that the stages of the chain began with, each once."""
    told: set[tuple[str, str]] = set()
    for group, role in _ROLES.items():
        for values in _with_weights(config.get(group)) if group in kinds else ():
            part = _part(role, values)
            if (role, part.name) not in told:
                told.add((role, part.name))
                yield part


def _with_weights(tree: Any) -> Iterator[Row]:
    if isinstance(tree, dict):
        if isinstance(tree.get("weights"), str):
            yield tree
        for value in tree.values():
            yield from _with_weights(value)


def _part(role: str, values: Row) -> Part:
    source, tag = values["weights"], values.get("pretrained")
    if is_local(source):
        shipped = Path(source).is_relative_to(miniature_folder())
        name = f"miniature/{Path(source).name}" if shipped else Path(source).name
        return Part(role, name, None, MINIATURE if shipped else licence_of_weights(name))
    if role == "backbone":
        known = BackboneConfig(weights=source, pretrained=tag, revision=values.get("revision"))
        if known.hub_id is None:
            return _architecture(role, known)
        source = known.hub_id
    revision = f" at {values['revision']}" if values.get("revision") else ""
    return Part(role, f"{source}{revision}", source, licence_of_weights(source))


def _architecture(role: str, known: BackboneConfig) -> Part:
    if known.pretrained is None:
        return Part(role, f"{known.weights}, from random weights", None, Licence("none needed", "nothing was loaded"))
    hub_id = None if is_local(known.pretrained) else library_hub_id(known)
    tag = Path(known.pretrained).name
    licence = next(filter(None, map(licence_of_weights, (hub_id or "", tag, known.weights))), None)
    return Part(role, f"{known.weights}, {tag}", hub_id, licence)


def _learned_from(chain: Mapping[str, Row]) -> list[str]:
    """The data sets that any training of the chain drew from, or whose images were painted anew."""
    found: dict[str, None] = {}
    for described in chain.values():
        values: Row = described.get("document", {}).get("config", {})
        for key, value in values.items():
            if key == "data" and isinstance(value, str):
                found[value] = None
            elif key.startswith("data.") and value:
                found[key.removeprefix("data.")] = None
    return list(found)


def _data(name: str, sets: Mapping[str, Row]) -> Part:
    type_ = str((sets.get(name) or {}).get("type", ""))
    named = name if type_ in ("", "folder", name) else f"{name} ({type_})"
    return Part("data", named, None, licence_of_data(type_))


def _scores(stage: Artifact) -> ModelScores | None:
    """Those of the evaluation of this very model: one of a former model of the stage does not count."""
    print_ = (stage.description() or {}).get("fingerprint")
    for name in subfolders(stage.folder.parent):
        evaluation = Artifact(stage.folder.parent / name)
        complete = bool((evaluation.description() or {}).get("complete"))
        if complete and _upstream(evaluation).get(stage.name) == print_ is not None:
            for scores in scores_of([evaluation]):
                return scores
    return None


def _crop(stage: Artifact) -> tuple[int, int] | None:
    config: Row = _document(stage).get("config", {})
    height, width = (config.get(key) for key in _CROP)
    return (int(height), int(width)) if height and width else None
