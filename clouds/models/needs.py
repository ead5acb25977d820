"""What a config asks of a machine: weights, memory for them, disk for images, prompts. It loads and downloads nothing.

It walks the values of any config: whatever has `weights` needs them, whatever has a `count` of images makes them. It
knows no stage.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clouds.config import ConfigModel
from clouds.data.prompts import PromptList, PromptsConfig, prompt_source
from clouds.errors import CloudsError
from clouds.models.diffusion_folder import native_size
from clouds.models.generation import GenerateConfig
from clouds.models.known_sizes import download_bytes
from clouds.models.segmenter_config import BackboneConfig
from clouds.models.weights import is_local, local_files

Presence = Literal["on disk", "cached", "to download", "missing", "drawn at random"]

_COLOURS, _MAP = 3, 1
"""Bytes a pixel of an image and of a map of labels or confidences, as if PNG saved nothing."""
_LABELLED = 3
"""Maps of a round: labels, their confidence, and refined labels."""
_JUDGED = {"loss": 2, "views": 1}
"""Bytes a pixel of what a filter has measured, by what it wants."""


_SAM, _BACKBONE = re.compile(r"(^|\.)sam\.weights$"), re.compile(r"(^|\.)backbone\.weights$")


@dataclass(frozen=True)
class WeightsNeed:
    """Weights that a config names under `key`.

    `presence` "cached" is in the Hugging Face cache; "to download" is done by the run, or fails without a network;
    "missing" is a path where nothing lies. `size` counts bytes on disk, or of the download as far as it is known.
    """

    key: str
    name: str
    presence: Presence
    path: Path | None
    size: int | None


@dataclass(frozen=True)
class ImagesNeed:
    """Images that a config makes under `key`; `size` is the most bytes they and their labels take, if it can be told.

    It is `count` x height x width x (3 bytes of an image + 1 of each map beside it): as if PNG saved nothing. Where the
    config leaves height and width to the generator they are known once the weights are there, and None before.
    """

    key: str
    count: int
    height: int | None
    width: int | None
    maps: int

    @property
    def size(self) -> int | None:
        if self.height is None or self.width is None:
            return None
        return self.count * self.height * self.width * (_COLOURS + _MAP * self.maps)


@dataclass(frozen=True)
class PromptsNeed:
    """Prompts that a config names under `key`, from a file or, where `file` is None, from a grammar.

    `first` is that of the first image of some seed, `count` how many a file holds; `problem` is why there are none.
    """

    key: str
    file: Path | None
    count: int | None = None
    first: str = ""
    problem: CloudsError | None = None


def weights_needed(config: ConfigModel) -> list[WeightsNeed]:
    """The weights of a config in its order, each source once."""
    found: dict[str, WeightsNeed] = {}
    for key, part in _parts(config, ""):
        if hasattr(part, "weights"):
            need = _need(f"{key}.weights".lstrip("."), part)
            found.setdefault(need.name, need)
    return list(found.values())


def loaded_at_once(config: ConfigModel, weights: list[WeightsNeed]) -> list[WeightsNeed]:
    """Of those weights whose size is known, the largest that are in memory at one time.

    Models come one after the other; only a self-training has several: a SAM beside the segmenter where it refines as
    it goes, and copies of a backbone that learns, which stand here again: that of a teacher, and that which
    `feature_distance` measures from. What is frozen they share.
    """
    together = [[need] for need in weights if need.size]
    selftrain = getattr(config, "selftrain", None)
    if selftrain is not None and getattr(config, "rounds", True):
        learns = any(not part.frozen for _, part in _parts(config, "") if isinstance(part, BackboneConfig))
        copies = [one for one in (selftrain.online, selftrain.feature_distance) if one is not None and learns]
        backbone = [need for need in weights if need.size and _BACKBONE.search(need.key)]
        refines = selftrain.online is not None and selftrain.online.refine_every is not None
        sam = [need for need in weights if need.size and _SAM.search(need.key)] if refines else []
        together.append([*backbone * (1 + len(copies)), *sam])
    return max(together, key=lambda needs: sum(need.size or 0 for need in needs), default=[])


def prompts_needed(config: ConfigModel) -> list[PromptsNeed]:
    """The prompts of a config in its order, read as a run would read them."""
    found: dict[str, PromptsConfig] = {}
    for key, part in _parts(config, ""):
        if isinstance(part, PromptsConfig) and part not in found.values():
            found[key] = part
    return [_prompts(key, part) for key, part in found.items()]


def images_needed(config: ConfigModel) -> list[ImagesNeed]:
    """The sets of images a config makes, with the maps that are made of each."""
    rounds, maps_a_round = getattr(config, "rounds", 1), _maps_a_round(config)
    found = []
    for key, part in _parts(config, ""):
        if not isinstance(part, GenerateConfig):
            continue
        # repainted images come with the labels of what was painted over
        maps = 1 if hasattr(part, "strength") else maps_a_round * rounds
        if rounds or hasattr(part, "strength"):
            found.append(ImagesNeed(key, part.count, *_size(part), maps))
    return found


def _prompts(key: str, part: PromptsConfig) -> PromptsNeed:
    try:
        source = prompt_source(part)
    except CloudsError as error:
        return PromptsNeed(key, part.file, problem=error)
    count = len(source.prompts) if isinstance(source, PromptList) else None
    return PromptsNeed(key, part.file, count, source.prompt(0, 0))


def _maps_a_round(config: ConfigModel) -> int:
    """Bytes a pixel that labelling, refining and filtering leave; a teacher within a training leaves none."""
    if getattr(getattr(config, "selftrain", None), "online", None) is not None:
        return 0
    asked = getattr(config, "filter", None)
    filtered = 0 if asked is None else 1 + sum(_JUDGED.get(wanted, 0) for wanted in asked.wants())
    return _LABELLED + filtered


def _size(part: GenerateConfig) -> tuple[int | None, int | None]:
    """Height and width of what it makes: the config's, or else the generator's own."""
    folder = local_files(part.weights, part.revision)
    height, width = (native_size(folder) if folder is not None else None) or (None, None)
    return part.height or height, part.width or width


def _parts(value: Any, key: str) -> Iterator[tuple[str, ConfigModel]]:
    """Every config inside a config, itself included, by its dotted key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _parts(inner, f"{key}.{name}" if key else str(name))
    if isinstance(value, ConfigModel):
        yield key, value
        for name in type(value).model_fields:
            yield from _parts(getattr(value, name), f"{key}.{name}" if key else name)


def _need(key: str, part: Any) -> WeightsNeed:
    source, revision = str(part.weights), getattr(part, "revision", None)
    if isinstance(part, BackboneConfig):
        if part.hub_id is None and not is_local(source):
            return _of_architecture(key, part)
        source = part.hub_id or source
    path = local_files(source, revision)
    if path is not None:
        return WeightsNeed(key, source, "on disk" if is_local(source) else "cached", path, _bytes(path))
    if is_local(source):
        return WeightsNeed(key, source, "missing", Path(source), download_bytes(Path(source).name))
    return WeightsNeed(key, source, "to download", None, download_bytes(source))


def _of_architecture(key: str, part: BackboneConfig) -> WeightsNeed:
    """Weights that a library knows by architecture and tag; where they lie is the library's to say."""
    if part.pretrained is None:
        return WeightsNeed(key, part.weights, "drawn at random", None, None)
    name = f"{part.weights}, {part.pretrained}"
    if is_local(part.pretrained):
        file = Path(part.pretrained)
        return WeightsNeed(key, name, "on disk", file, _bytes(file)) if file.is_file() else (
            WeightsNeed(key, name, "missing", file, None)
        )  # fmt: skip
    hub_id = library_hub_id(part)
    path = local_files(hub_id, part.revision) if hub_id else None
    if path is not None:
        return WeightsNeed(key, name, "cached", path, _bytes(path))
    return WeightsNeed(key, name, "to download", None, download_bytes(part.weights))


def library_hub_id(part: BackboneConfig) -> str | None:
    """The hub repository behind a library's tag, as the library tells."""
    if part.timm_name is not None:
        import timm

        known = timm.get_pretrained_cfg(f"{part.timm_name}.{part.pretrained}", allow_unregistered=True)
        return known.hf_hub_id if known is not None else None
    import open_clip

    entry = str(open_clip.get_pretrained_cfg(part.weights, str(part.pretrained)).get("hf_hub", ""))
    return "/".join(entry.split("/")[:2]) or None


def _bytes(path: Path) -> int:
    """Of a file, or of everything below a folder; links are followed, since a hub's cache consists of them."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
