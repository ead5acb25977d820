"""SYNTHIA-RAND-CITYSCAPES (Ros et al. 2016): 9,400 rendered images; 16-bit PNG, the class in the first channel.

Classes and ids as in the archive's README. Of Cityscapes' 19 classes it has 16: terrain, truck and train have names
here, and no pixels. Parking slots, road works and lane markings become none of them, as in the published conversions
(RobustNet, Choi et al. 2021; DAFormer, Hoyer et al. 2022).
"""

from clouds.data.codings import read_first_channel
from clouds.data.published.preset import Coding, Form, Preset, by_name

_NAMES = (
    *("void", "sky", "building", "road", "sidewalk", "fence", "vegetation", "pole", "car", "traffic sign"),
    *("pedestrian", "bicycle", "motorcycle", "parking-slot", "road-work", "traffic light", "terrain", "rider"),
    *("truck", "bus", "train", "wall", "lanemarking"),
)

_UNNAMED = {"void", "pedestrian", "parking-slot", "road-work", "lanemarking"}

_CITYSCAPES = {**{name: name for name in _NAMES if name not in _UNNAMED}, **by_name({"person": "pedestrian"})}


def _form(below: str) -> Form:
    labels = Coding(
        labels=f"GT/LABELS{below}",
        classes=dict(enumerate(_NAMES)),
        read=read_first_channel,
        becomes={"cityscapes19": _CITYSCAPES},
    )
    return Form(images=f"RGB{below}", codings=(labels,))


SYNTHIA = Preset(
    title="SYNTHIA-RAND-CITYSCAPES",
    forms=(_form(""), _form("/{split}")),
    splits={"train": "train", "val": "val"},
    source="SYNTHIA-RAND-CITYSCAPES (CVPR16) of https://synthia-dataset.net/downloads/",
)
