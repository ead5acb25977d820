"""What the Cityscapes benchmark fixes: categories of its classes, and their ids. It knows no file and no score.

Figures of `helpers/labels.py` of cityscapesScripts. A class of a run is one of Cityscapes' by its name or a synonym.
"""

from collections.abc import Mapping

from clouds.data.label_maps import CLASS_LISTS, LABEL_MAPS
from clouds.data.labels import LabelClass, LabelMap

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "flat": ("road", "sidewalk"),
    "construction": ("building", "wall", "fence"),
    "object": ("pole", "traffic light", "traffic sign"),
    "nature": ("vegetation", "terrain"),
    "sky": ("sky",),
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
}
"""The evaluated classes of each category."""

UNLABELED = 0
"""The original id of pixels without a class."""


def evaluated_names(label_map: LabelMap) -> list[str | None]:
    """Of each class of a run, in order, the evaluated class of Cityscapes that it is; None where it is none of them."""
    known = LabelMap.of("cityscapes19")
    return [_one_of(known, one) for one in label_map.classes]


def categories(label_map: LabelMap) -> dict[str, tuple[int, ...]] | None:
    """The ids of a run's classes by category, those categories left out that have none.

    None where any class of the run is not Cityscapes': what would be scored then is not the benchmark's category IoU.
    """
    names = evaluated_names(label_map)
    if None in names:
        return None
    groups = {
        category: tuple(id_ for id_, name in enumerate(names) if name in of) for category, of in CATEGORIES.items()
    }
    return {category: ids for category, ids in groups.items() if ids}


def original_id(name: str) -> int:
    """The id in `*_labelIds.png` of an evaluated class."""
    return CLASS_LISTS["cityscapes34"].index(name)


def void_ids() -> list[int]:
    """The original ids of labels that are not evaluated."""
    evaluated = {name for names in CATEGORIES.values() for name in names}
    return [id_ for id_, name in enumerate(CLASS_LISTS["cityscapes34"]) if name not in evaluated]


def train_id(name: str) -> int:
    """The id in `*_labelTrainIds.png` of an evaluated class."""
    return [row[0] for row in LABEL_MAPS["cityscapes19"]].index(name)


def _one_of(known: LabelMap, one: LabelClass) -> str | None:
    """The class that all known names of this one stand for: one that stands for several is none of them."""
    found = {id_ for name in (one.name, *one.synonyms) if (id_ := known.find(name)) is not None}
    return known.names[found.pop()] if len(found) == 1 else None
