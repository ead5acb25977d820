"""CamVid (Brostow et al. 2009): 701 video frames, labels drawn in 32 colours; and copies reduced to 11 classes.

The 11 classes and what of the 32 each unites are those of SegNet (Badrinarayanan et al. 2017), as its public listings
have them. To Cityscapes only classes correspond that mean the same there. `label_colors.txt` in the root, of lines
`red green blue name`, is read where it is there.
"""

from dataclasses import replace
from pathlib import Path

from clouds.data.codings import ColorLabels
from clouds.data.label_maps import CLASS_LISTS, Color
from clouds.data.published.preset import Coding, Form, Preset, by_name
from clouds.errors import CloudsError

_COLORS: dict[str, Color] = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}

_CAMVID11 = by_name(
    {
        "sky": "Sky",
        "building": "Building, Bridge, Wall, Tunnel, Archway",
        "pole": "Column_Pole, TrafficCone",
        "road": "Road, LaneMkgsDriv, LaneMkgsNonDriv",
        "pavement": "Sidewalk, ParkingBlock, RoadShoulder",
        "tree": "Tree, VegetationMisc",
        "sign symbol": "SignSymbol, Misc_Text, TrafficLight",
        "fence": "Fence",
        "car": "Car, SUVPickupTruck, Truck_Bus, Train, OtherMoving",
        "pedestrian": "Pedestrian, Child, CartLuggagePram, Animal",
        "bicyclist": "Bicyclist, MotorcycleScooter",
    }
)

_CITYSCAPES = by_name(
    {
        "sky": "Sky",
        "building": "Building",
        "wall": "Wall",
        "pole": "Column_Pole",
        "road": "Road, LaneMkgsDriv, LaneMkgsNonDriv",
        "sidewalk": "Sidewalk",
        "vegetation": "Tree, VegetationMisc",
        "traffic sign": "SignSymbol",
        "traffic light": "TrafficLight",
        "fence": "Fence",
        "car": "Car, SUVPickupTruck",
        "train": "Train",
        "person": "Pedestrian, Child",
        "rider": "Bicyclist",
    }
)


def _described(root: Path, coding: Coding) -> Coding:
    """The coding with the colours that `label_colors.txt` gives to the classes."""
    path = root / "label_colors.txt"
    if not path.is_file():
        return coding
    colors: dict[str, Color] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) < 4 or not all(field.isdecimal() and int(field) < 256 for field in fields[:3]):
            raise CloudsError(f"{path}, line {number}: {line!r} is not `red green blue name`", "put the published file")
        colors[" ".join(fields[3:])] = (int(fields[0]), int(fields[1]), int(fields[2]))
    return _drawn(coding, colors)


def _drawn(coding: Coding, colors: dict[str, Color]) -> Coding:
    ids = {color: id_ for id_, color in enumerate(colors.values())}
    return replace(coding, classes=dict(enumerate(colors)), read=ColorLabels(ids))


def _in_colors(labels: str) -> Coding:
    becomes = {"camvid11": _CAMVID11, "cityscapes19": _CITYSCAPES}
    coding = Coding(labels=labels, suffix="_L", classes={}, ignore=(), becomes=becomes, described=_described)
    return _drawn(coding, _COLORS)


def _in_ids(labels: str) -> Coding:
    return Coding(labels=labels, classes=dict(enumerate(CLASS_LISTS["camvid11"])), ignore=(11, 255))


CAMVID = Preset(
    title="CamVid",
    forms=(
        Form(images="701_StillsRaw_full", codings=(_in_colors("LabeledApproved_full"),)),
        Form(images="{split}/images", codings=(_in_ids("{split}/labels"),)),
        Form(images="{split}", codings=(_in_ids("{split}annot"), _in_colors("{split}_labels"))),
    ),
    splits={"train": "train", "val": "val", "test": "test"},
    source="701_StillsRaw_full.zip, LabeledApproved_full.zip and label_colors.txt of "
    "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
)
