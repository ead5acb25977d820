"""CamVid's photographs as data sets of the ablation, and in words what is compared on them. It reads no file.

Their classes are the run's as far as the two share them: any other class of CamVid's is ignored, so that pixels of it
count nowhere, and any other class of the run has no pixels there.
"""

from pathlib import Path

from clouds.data.label_maps import CLASS_LISTS
from clouds.data.labels import LabelMap
from clouds.data.published.reading import PublishedConfig

PHOTOGRAPHS = "photographs"
"""What `--domains` calls them."""
TEST, TARGET, TRUTH = "camvid_test", "camvid_train", "camvid_train_labelled"
"""What is scored on; what is learned from, whose labels are not even looked for; the same with its labels."""
LABELS = "labels-photos"
"""The row that has no training: how good labels of the target's photographs are."""
CLASSES = CLASS_LISTS["camvid11"]

Size = tuple[int, int]


def photograph_sets(root: Path, size: Size, label_map: LabelMap) -> dict[str, PublishedConfig]:
    """The data sets by name, of ROOT/train and ROOT/test, each photograph brought to this (height, width)."""
    unshared = {name: None for name in CLASSES if label_map.find(name) is None}

    def part(split: str, *, labels: bool = True) -> PublishedConfig:
        return PublishedConfig(type="camvid", root=root, split=split, labels=labels, map=unshared, resize=size)

    return {TEST: part("test"), TARGET: part("train", labels=False), TRUTH: part("train")}


def described(size: Size | None, label_map: LabelMap) -> str:
    """What a table of them has to say: the size they are shown at, and the classes that are compared."""
    known = {label_map.find(name) for name in CLASSES}
    ignored = [name for name in CLASSES if label_map.find(name) is None]
    absent = [one.name for one in label_map.classes if one.id not in known]
    shown = "as they are stored" if size is None else f"brought to {size[0]}x{size[1]} pixels with their labels"
    said = [
        f"Photographs are CamVid's, {shown}, and compared at that size "
        f"over the {len(known - {None})} classes that they share with the scenes",
        *([f"pixels of {_listed(ignored)} are ignored"] if ignored else []),
        *([f"{_listed(absent)} is no class of theirs, and wrong wherever it is predicted"] if absent else []),
    ]
    return "; ".join(said) + ".\n"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
