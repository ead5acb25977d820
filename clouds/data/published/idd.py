"""IDD Segmentation (Varma et al. 2019), parts I and II: 14,027 / 2,036 / 4,038 images of Indian roads, JSON polygons.

Names, ids and the correspondence to Cityscapes are those of helpers/anue_labels.py of github.com/AutoNUE/public-code.
Its tools write PNGs of several numberings. Those that lose nothing are read where all images have them; else the
polygons; the ids of level 3, which unite what Cityscapes tells apart (the sky and unknown background), only where
there is nothing else.
"""

from clouds.data.codings import PolygonLabels
from clouds.data.published.preset import Coding, Form, Preset, by_name, train_ids

_NAMES = (
    *("road", "parking", "drivable fallback", "sidewalk", "rail track", "non-drivable fallback", "person", "animal"),
    *("rider", "motorcycle", "bicycle", "autorickshaw", "car", "truck", "bus", "caravan", "trailer", "train"),
    *("vehicle fallback", "curb", "wall", "fence", "guard rail", "billboard", "traffic sign", "traffic light"),
    *("pole", "polegroup", "obs-str-bar-fallback", "building", "bridge", "tunnel", "vegetation", "sky"),
    *("fallback background", "unlabeled", "ego vehicle", "rectification border", "out of roi", "license plate"),
)

# by level 3 id, each class by the name of what it mostly is
_LEVEL3 = (
    *("road", "drivable fallback", "sidewalk", "non-drivable fallback", "person", "rider", "motorcycle", "bicycle"),
    *("autorickshaw", "car", "truck", "bus", "vehicle fallback", "curb", "wall", "fence", "guard rail", "billboard"),
    *("traffic sign", "traffic light", "pole", "obs-str-bar-fallback", "building", "bridge", "vegetation", "sky"),
)

_SAME = (
    "road, sidewalk, person, rider, motorcycle, bicycle, car, truck, bus, train, wall, fence, traffic sign, "
    "traffic light, pole, building, vegetation, sky"
)

_CITYSCAPES = {**{name: name for name in _SAME.split(", ")}, **by_name({"terrain": "non-drivable fallback"})}

_IDS = {name: id_ for id_, name in enumerate(_NAMES)}
_AT = "gtFine/{split}"
_BECOMES = {"cityscapes19": _CITYSCAPES}

IDD = Preset(
    title="IDD Segmentation",
    forms=(
        Form(
            images="leftImg8bit/{split}",
            suffix="_leftImg8bit",
            codings=(
                train_ids(_AT, "_gtFine_labelcsTrainIds"),
                Coding(labels=_AT, suffix="_gtFine_labelids", classes=dict(enumerate(_NAMES)), becomes=_BECOMES),
                Coding(
                    labels=_AT,
                    suffix="_gtFine_polygons",
                    kinds=(".json",),
                    classes=dict(enumerate(_NAMES)),
                    read=PolygonLabels(_IDS, background=_IDS["unlabeled"]),
                    becomes=_BECOMES,
                ),
                Coding(labels=_AT, suffix="_gtFine_labellevel3Ids", classes=dict(enumerate(_LEVEL3)), becomes=_BECOMES),
            ),
        ),
    ),
    splits={"train": "train", "val": "val", "test": "test"},
    split="train",
    unlabelled=("test",),
    source="IDD Segmentation of https://idd.insaan.iiit.ac.in/",
)
