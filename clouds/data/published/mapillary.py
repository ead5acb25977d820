"""Mapillary Vistas (Neuhold et al. 2017), 18,000 / 2,000 / 5,000 images: v1.2 (ids 0..65) and v2.0 (ids 0..123).

Names by id are those of the archives' config.json, config_v1.2.json and config_v2.0.json, which are read where they are
there. For v1.2 the correspondence to Cityscapes is RobustNet's (Choi et al. 2021), which HRDA's and CLOUDS' conversions
share. None is published for v2.0: each class goes where the v1.2 class went that it is a part of, and those that
v1.2 does not name go nowhere.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from clouds.data.published.preset import Coding, Form, Preset, by_name
from clouds.errors import CloudsError

_Groups = Sequence[tuple[str, str]]

_V1: _Groups = (
    ("animal", "bird ground-animal"),
    ("construction--barrier", "curb fence guard-rail other-barrier wall"),
    ("construction--flat", "bike-lane crosswalk-plain curb-cut parking pedestrian-area rail-track road service-lane"),
    ("construction--flat", "sidewalk"),
    ("construction--structure", "bridge building tunnel"),
    ("human", "person"),
    ("human--rider", "bicyclist motorcyclist other-rider"),
    ("marking", "crosswalk-zebra general"),
    ("nature", "mountain sand sky snow terrain vegetation water"),
    ("object", "banner bench bike-rack billboard catch-basin cctv-camera fire-hydrant junction-box mailbox manhole"),
    ("object", "phone-booth pothole street-light"),
    ("object--support", "pole traffic-sign-frame utility-pole"),
    ("object", "traffic-light"),
    ("object--traffic-sign", "back front"),
    ("object", "trash-can"),
    ("object--vehicle", "bicycle boat bus car caravan motorcycle on-rails other-vehicle trailer truck wheeled-slow"),
    ("void", "car-mount ego-vehicle unlabeled"),
)

_V2: _Groups = (
    ("animal", "bird ground-animal"),
    ("construction--barrier", "ambiguous concrete-block curb fence guard-rail other-barrier road-median road-side"),
    ("construction--barrier", "separator temporary wall"),
    ("construction--flat", "bike-lane crosswalk-plain curb-cut driveway parking parking-aisle pedestrian-area"),
    ("construction--flat", "rail-track road road-shoulder service-lane sidewalk traffic-island"),
    ("construction--structure", "bridge building garage tunnel"),
    ("human--person", "individual person-group"),
    ("human--rider", "bicyclist motorcyclist other-rider"),
    ("marking--continuous", "dashed solid zigzag"),
    ("marking--discrete", "ambiguous"),
    ("marking--discrete--arrow", "left other right split-left-or-straight split-right-or-straight straight"),
    ("marking--discrete", "crosswalk-zebra give-way-row give-way-single"),
    ("marking--discrete--hatched", "chevron diagonal"),
    ("marking--discrete", "other-marking stop-line"),
    ("marking--discrete--symbol", "bicycle other"),
    ("marking--discrete", "text"),
    ("marking-only--continuous", "dashed"),
    ("marking-only--discrete", "crosswalk-zebra other-marking text"),
    ("nature", "mountain sand sky snow terrain vegetation water"),
    ("object", "banner bench bike-rack catch-basin cctv-camera fire-hydrant junction-box mailbox manhole"),
    ("object", "parking-meter phone-booth pothole"),
    ("object--sign", "advertisement ambiguous back information other store"),
    ("object", "street-light"),
    ("object--support", "pole pole-group traffic-sign-frame utility-pole"),
    ("object", "traffic-cone"),
    ("object--traffic-light", "general-single pedestrians general-upright general-horizontal cyclists other"),
    ("object--traffic-sign", "ambiguous back direction-back direction-front front information-parking"),
    ("object--traffic-sign", "temporary-back temporary-front"),
    ("object", "trash-can"),
    ("object--vehicle", "bicycle boat bus car caravan motorcycle on-rails other-vehicle trailer truck vehicle-group"),
    ("object--vehicle", "wheeled-slow"),
    ("object", "water-valve"),
    ("void", "car-mount dynamic ego-vehicle ground static unlabeled"),
)


def _names(groups: _Groups) -> Iterator[str]:
    return (f"{above}--{name}" for above, names in groups for name in names.split())


def _is_marking(name: str) -> bool:
    """Whether a class is of what v1.2 calls `marking--general`: all markings but zebra crossings."""
    return name.startswith(("marking--", "marking-only--")) and not name.endswith("--crosswalk-zebra")


_CITYSCAPES = {
    **by_name(
        {
            "road": "construction--flat--road, object--manhole",
            "sidewalk": "construction--flat--sidewalk, construction--barrier--curb",
            "building": "construction--structure--building",
            "wall": "construction--barrier--wall",
            "fence": "construction--barrier--fence",
            "pole": "object--support--pole, object--support--utility-pole",
            "traffic light": "object--traffic-light",
            "traffic sign": "object--traffic-sign--front, object--traffic-sign--direction-front, "
            "object--traffic-sign--temporary-front, object--traffic-sign--information-parking",
            "vegetation": "nature--vegetation",
            "terrain": "nature--terrain",
            "sky": "nature--sky",
            "person": "human--person, human--person--individual, human--person--person-group",
            "rider": "human--rider--bicyclist, human--rider--motorcyclist, human--rider--other-rider",
            "car": "object--vehicle--car",
            "truck": "object--vehicle--truck",
            "bus": "object--vehicle--bus",
            "train": "object--vehicle--on-rails",
            "motorcycle": "object--vehicle--motorcycle",
            "bicycle": "object--vehicle--bicycle",
        }
    ),
    **{name: "road" for groups in (_V1, _V2) for name in _names(groups) if _is_marking(name)},
    **{name: "traffic light" for name in _names(_V2) if name.startswith("object--traffic-light--")},
}


# what stands below these is a name on its own; elsewhere it is not: `back` of a sign, `bicycle` painted on a road
_CATEGORIES = (
    *("animal", "construction--barrier", "construction--flat", "construction--structure", "human", "human--rider"),
    *("nature", "object", "object--support", "object--vehicle", "void"),
)


def _short_names(names: Iterable[str]) -> dict[str, str]:
    parts = {name: name.rpartition("--") for name in names}
    return {name: last for name, (above, _, last) in parts.items() if above in _CATEGORIES}


def _read_names(path: Path) -> dict[int, str]:
    """Id -> name of a config file of the data set: its `labels`, in the order of ids."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["labels"]
        return {id_: str(entry["name"]) for id_, entry in enumerate(entries)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CloudsError(
            f"{path} lists no labels by name: {error!r}", "put the published file in its place"
        ) from error


def _preset(version: str, groups: _Groups, places: tuple[str, ...], config_files: tuple[str, ...]) -> Preset:
    def described(root: Path, coding: Coding) -> Coding:
        for file in config_files:
            if (root / file).is_file():
                names = _read_names(root / file)
                return replace(coding, classes=names, also=_short_names(names.values()))
        return coding

    codings = tuple(
        Coding(
            labels=place,
            classes=dict(enumerate(_names(groups))),
            also=_short_names(_names(groups)),
            ignore=(),
            becomes={"cityscapes19": _CITYSCAPES},
            described=described,
        )
        for place in places
    )
    return Preset(
        title=f"Mapillary Vistas v{version}",
        forms=(Form(images="{split}/images", codings=codings),),
        splits={"train": "training", "val": "validation", "test": "testing"},
        split="train",
        unlabelled=("test",),
        source=f"Mapillary Vistas v{version} of https://www.mapillary.com/dataset/vistas",
    )


MAPILLARY_V1 = _preset("1.2", _V1, ("{split}/v1.2/labels", "{split}/labels"), ("config_v1.2.json", "config.json"))
MAPILLARY_V2 = _preset("2.0", _V2, ("{split}/v2.0/labels",), ("config_v2.0.json",))
