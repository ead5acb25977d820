"""The run's classes, and how a data set's own ids become the run's. It knows no file and no image.

Classes are matched by identity of a name or a synonym, never by part of one: "bus" is not in "bushes".
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field

from clouds.config import ConfigModel, Neutral
from clouds.data.label_maps import LABEL_MAPS, Color
from clouds.data.names import name_key
from clouds.errors import UsageError, nearest

IGNORE = 255
"""The id of pixels that carry no loss and no score."""

UNKNOWN = 254
"""What a lookup gives for ids that no class claims; never a class's id, so that a reader can tell and refuse."""

STORED_IDS = 65536
"""How many ids a label file may hold: those of 16 bits."""

ColorChannel = Annotated[int, Field(ge=0, le=255)]


class ClassConfig(ConfigModel):
    """One class of the run."""

    name: Annotated[str, Field(min_length=1)]
    """The class's name."""
    color: Neutral[tuple[ColorChannel, ColorChannel, ColorChannel] | None] = None
    """Red, green and blue in figures, 0..255; none: one that is easy to tell from the others."""
    synonyms: tuple[str, ...] = ()
    """Other names of the very same class, under which data sets' labels are recognised."""


@dataclass(frozen=True)
class LabelClass:
    """One class: its name, its id, its colour (RGB, 0..255) and the other names it is known under."""

    name: str
    id: int
    color: Color
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LabelLookup:
    """How the ids of a data set's label files become the run's: see `LabelMap.match`."""

    table: NDArray[np.uint8]
    """65536 entries: stored id -> id of the run, `IGNORE`, or `UNKNOWN`."""
    unmatched: tuple[str, ...]
    """The data set's classes that have no counterpart in the run and were not mapped: their pixels are ignored."""
    beyond: int = UNKNOWN
    """What ids outside the table become: `UNKNOWN` or `IGNORE`."""

    def ignoring_unknown(self) -> "LabelLookup":
        """The same, with every id that no class claims ignored."""
        return replace(self, table=np.where(self.table == UNKNOWN, IGNORE, self.table), beyond=IGNORE)

    def translate(self, stored_HW: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """The run's uint8 ids for stored ids of any integer type, any shape; `UNKNOWN` where no class claims an id."""
        if stored_HW.dtype in (np.uint8, np.uint16):
            plain_HW: NDArray[np.uint8] = self.table[stored_HW]
            return plain_HW
        outside_HW = (stored_HW < 0) | (stored_HW >= STORED_IDS)
        labels_HW: NDArray[np.uint8] = self.table[np.where(outside_HW, 0, stored_HW)]
        labels_HW[outside_HW] = self.beyond
        return labels_HW

    def describe(self) -> dict[str, int]:
        """Stored id -> run's id for every id that is known, ready for JSON."""
        return {str(stored): int(self.table[stored]) for stored in np.flatnonzero(self.table != UNKNOWN)}

    def stamp(self) -> str:
        """A short hash that changes when any id stands for another class."""
        return hashlib.blake2b(self.table.tobytes(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class LabelMap:
    """The classes of a run, ids 0..K-1 by position; `ignore` marks pixels that count nowhere.

    Raises `ValueError` where ids are not positions, there are too many classes, or one name stands for two classes.
    """

    classes: tuple[LabelClass, ...]
    ignore: int = IGNORE

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= UNKNOWN:
            raise ValueError(f"{len(self.classes)} classes; there must be 1 to {UNKNOWN}")
        if [one.id for one in self.classes] != list(range(len(self.classes))):
            raise ValueError("a class's id must be its position, from 0")
        self._id_of_name  # noqa: B018 (finds the names that stand for two classes)

    @classmethod
    def of(cls, classes: str | Sequence[str | ClassConfig]) -> "LabelMap":
        """A built-in map by its name, or one of these classes in the order of their ids.

        Raises `ValueError` for an unknown built-in and for names that stand for two classes.
        """
        configs = [ClassConfig.model_validate(entry) for entry in _entries(classes)]
        colors = _fill_colors([config.color for config in configs])
        rows = enumerate(zip(configs, colors, strict=True))
        return cls(tuple(LabelClass(config.name, id_, color, config.synonyms) for id_, (config, color) in rows))

    @property
    def names(self) -> tuple[str, ...]:
        """The class names in the order of their ids."""
        return tuple(one.name for one in self.classes)

    @property
    def colors(self) -> tuple[Color, ...]:
        """The classes' colours in the order of their ids."""
        return tuple(one.color for one in self.classes)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def id2label(self) -> dict[int, str]:
        """Id -> name, as transformers' configs hold it."""
        return {one.id: one.name for one in self.classes}

    @property
    def palette(self) -> NDArray[np.uint8]:
        """Colours by id, uint8 [256, 3] RGB; black where there is no class."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self.classes)] = [one.color for one in self.classes]
        return palette

    def describe(self) -> dict[str, Any]:
        """What can change labels, ready for JSON: names, synonyms and the ignore id, not the colours."""
        return {
            "classes": [{"id": one.id, "name": one.name, "synonyms": list(one.synonyms)} for one in self.classes],
            "ignore": self.ignore,
        }

    def find(self, name: str) -> int | None:
        """The id of the class with this name or synonym, or None; case, `_`, `-` and spaces do not count."""
        return self._id_of_name.get(name_key(name))

    def match(
        self,
        other_names: Mapping[int, str],
        overrides: Mapping[str, str | None] | None = None,
        ignore_ids: Collection[int] = (),
        where: str = "label map",
    ) -> LabelLookup:
        """The lookup from a data set's own ids to the run's.

        `other_names` gives the data set's classes by stored id; `overrides` says of some, by their name, which class
        of the run they are (None or "ignore": none of them). The others are matched by `find`; a class without a
        counterpart is ignored and listed in `unmatched`. `ignore_ids` are further stored ids without meaning.
        Raises `UsageError` that starts with `where` for names that are unknown, doubled or contradictory.
        """
        _check_other(other_names, ignore_ids, where)
        chosen = {_known(name, other_names.values(), where): target for name, target in (overrides or {}).items()}
        table = np.full(STORED_IDS, UNKNOWN, np.uint8)
        table[list(ignore_ids)] = self.ignore
        unmatched = []
        for stored, name in other_names.items():
            found = self._target(chosen[name_key(name)], where) if name_key(name) in chosen else self.find(name)
            table[stored] = self.ignore if found is None else found
            if found is None and name_key(name) not in chosen:
                unmatched.append(name)
        return LabelLookup(table, tuple(unmatched))

    def own_lookup(self) -> LabelLookup:
        """The lookup for label files that hold the run's own ids already."""
        return self.match(self.id2label, ignore_ids=(self.ignore,))

    @cached_property
    def _id_of_name(self) -> dict[str, int]:
        ids: dict[str, int] = {}
        for one in self.classes:
            for key in {name_key(name) for name in (one.name, *one.synonyms)}:
                if key == "ignore":
                    raise ValueError(f"class {one.name!r}: 'ignore' is no name for a class")
                if key in ids:
                    raise ValueError(f"{key!r} stands for two classes: {self.classes[ids[key]].name!r}, {one.name!r}")
                ids[key] = one.id
        return ids

    def _target(self, name: str | None, where: str) -> int | None:
        if name is None or name_key(name) == "ignore":
            return None
        found = self.find(name)
        if found is None:
            raise UsageError(f"{where}: the run has no class {name!r} to map to", nearest(name, self.names))
        return found


def _entries(value: Any) -> Any:
    """The class entries a config may write in short: a built-in's name, or plain names."""
    if isinstance(value, str):
        if value not in LABEL_MAPS:
            raise ValueError(f"no built-in label map is named {value!r}; {nearest(value, LABEL_MAPS)}")
        return [{"name": name, "color": color, "synonyms": synonyms} for name, color, synonyms in LABEL_MAPS[value]]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"give a list of class names, or one of: {', '.join(LABEL_MAPS)}")
    names = {name_key(entry) for entry in value if isinstance(entry, str)}
    return [_known_entry(entry, names) if isinstance(entry, str) else entry for entry in value]


def _known_entry(name: str, names: Collection[str]) -> dict[str, Any]:
    """A plain name with the colour and the synonyms it has in Cityscapes, less those that are classes here."""
    for known, color, synonyms in LABEL_MAPS["cityscapes19"]:
        if name_key(known) == name_key(name):
            free = [synonym for synonym in synonyms if name_key(synonym) not in names]
            return {"name": name, "color": color, "synonyms": free}
    return {"name": name}


def _check_classes(classes: tuple[ClassConfig, ...]) -> tuple[ClassConfig, ...]:
    LabelMap.of(classes)
    return classes


LabelMapConfig = Annotated[tuple[ClassConfig, ...], BeforeValidator(_entries), AfterValidator(_check_classes)]
"""The run's classes in a config: a built-in's name, or a list of names and of {name, color, synonyms}."""


def _known(name: str, known: Collection[str], where: str) -> str:
    if name_key(name) not in {name_key(other) for other in known}:
        raise UsageError(f"{where}: `map` names {name!r}, which is none of its classes", nearest(name, known))
    return name_key(name)


def _check_other(other_names: Mapping[int, str], ignore_ids: Collection[int], where: str) -> None:
    outside = [id_ for id_ in (*other_names, *ignore_ids) if not 0 <= id_ < STORED_IDS]
    if outside:
        raise UsageError(f"{where}: id {outside[0]} cannot stand in a label file", f"ids are 0..{STORED_IDS - 1}")
    both = [id_ for id_ in ignore_ids if id_ in other_names]
    if both:
        raise UsageError(f"{where}: id {both[0]} is class {other_names[both[0]]!r} and ignored", "keep one of the two")
    seen: dict[str, int] = {}
    for id_, name in other_names.items():
        first = seen.setdefault(name_key(name), id_)
        if first != id_:
            raise UsageError(f"{where}: class {name!r} has two ids, {first} and {id_}", "rename one of them")


def _fill_colors(colors: Sequence[Color | None]) -> list[Color]:
    """The colours, each missing one the candidate farthest from black, from white and from all colours so far."""
    steps = np.linspace(0, 255, 8).round().astype(int)
    candidates = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    taken = np.array([(0, 0, 0), (255, 255, 255), *(color for color in colors if color is not None)])
    distance = ((candidates[:, None] - taken[None]) ** 2).sum(axis=-1).min(axis=1)
    filled = []
    for color in colors:
        if color is None:
            red, green, blue = (int(channel) for channel in candidates[distance.argmax()])
            color = (red, green, blue)
            distance = np.minimum(distance, ((candidates - color) ** 2).sum(axis=-1))
        filled.append(color)
    return filled
