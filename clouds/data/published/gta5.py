"""GTA5 (Richter et al. 2016, "Playing for Data"): 24,966 game frames, palette PNG of Cityscapes' ids.

Id 34 is the licence plate, which Cityscapes numbers -1. Some pairs of the published archives differ in size by a few
rows: such an item fails when it is read, and the others go on. The official split is a MATLAB file, which is not read:
give a `list`, or folders of the splits' names below `images` and `labels`.
"""

from clouds.data.label_maps import CLASS_LISTS
from clouds.data.published.preset import Coding, Form, Preset, identity_of

_CLASSES = {**dict(enumerate(CLASS_LISTS["cityscapes34"])), 34: "license plate"}


def _form(below: str) -> Form:
    labels = Coding(labels=f"labels{below}", classes=_CLASSES, becomes={"cityscapes19": identity_of("cityscapes19")})
    return Form(images=f"images{below}", codings=(labels,))


GTA5 = Preset(
    title="GTA5",
    forms=(_form(""), _form("/{split}")),
    splits={"train": "train", "val": "val", "test": "test"},
    source="all *_images.zip and *_labels.zip of https://download.visinf.tu-darmstadt.de/data/from_games/, "
    "unpacked into one folder",
)
