"""The built-in label maps and class lists, as plain values. It does not know how classes are matched.

A row is (name, colour, synonyms). A synonym means the very same class, so that it may pair two data sets' labels; a
class that merely overlaps another (a bicyclist and a bicycle) is no synonym and needs an explicit `map`.
"""

Color = tuple[int, int, int]
ClassRow = tuple[str, Color, tuple[str, ...]]

# names, order and colours of the 19 evaluated classes (train ids) of the Cityscapes benchmark
_CITYSCAPES: tuple[ClassRow, ...] = (
    ("road", (128, 64, 128), ("street", "roadway")),
    ("sidewalk", (244, 35, 232), ("pavement", "footpath", "footway")),
    ("building", (70, 70, 70), ("buildings", "house", "houses")),
    ("wall", (102, 102, 156), ("walls",)),
    ("fence", (190, 153, 153), ("fences", "fencing")),
    ("pole", (153, 153, 153), ("poles", "column pole")),
    ("traffic light", (250, 170, 30), ("traffic lights", "traffic signal", "stoplight")),
    ("traffic sign", (220, 220, 0), ("traffic signs", "sign symbol", "signsymbol", "road sign")),
    ("vegetation", (107, 142, 35), ("tree", "trees", "bush", "bushes")),
    ("terrain", (152, 251, 152), ("grass", "soil", "sand")),
    ("sky", (70, 130, 180), ("skies",)),
    ("person", (220, 20, 60), ("pedestrian", "people", "human")),
    ("rider", (255, 0, 0), ("bicyclist", "cyclist", "motorcyclist")),
    ("car", (0, 0, 142), ("cars", "automobile")),
    ("truck", (0, 0, 70), ("trucks", "lorry")),
    ("bus", (0, 60, 100), ("buses", "coach")),
    ("train", (0, 80, 100), ("trains", "tram")),
    ("motorcycle", (0, 0, 230), ("motorcycles", "motorbike")),
    ("bicycle", (119, 11, 32), ("bicycles", "bike")),
)

# the classes of the procedural street world, in its order of ids
_STREET = (
    "sky",
    "building",
    "pole",
    "road",
    "sidewalk",
    "vegetation",
    "traffic sign",
    "fence",
    "car",
    "person",
    "bicycle",
)

# the 11 evaluated classes of CamVid; the id 11 that many copies use for "unlabelled" is the reader's to ignore
_CAMVID: tuple[ClassRow, ...] = (
    ("sky", (128, 128, 128), ("skies",)),
    ("building", (128, 0, 0), ("buildings",)),
    ("pole", (192, 192, 128), ("poles", "column pole")),
    ("road", (128, 64, 128), ("street", "roadway")),
    ("pavement", (60, 40, 222), ("sidewalk", "footpath", "footway")),
    ("tree", (128, 128, 0), ("vegetation", "trees")),
    ("sign symbol", (192, 128, 128), ("traffic sign", "signsymbol", "road sign")),
    ("fence", (64, 64, 128), ("fences",)),
    ("car", (64, 0, 128), ("cars", "automobile")),
    ("pedestrian", (64, 64, 0), ("person", "people", "human")),
    ("bicyclist", (0, 128, 192), ("rider", "cyclist")),
)

_CITYSCAPES_ROWS = {row[0]: row for row in _CITYSCAPES}

LABEL_MAPS: dict[str, tuple[ClassRow, ...]] = {
    "cityscapes19": _CITYSCAPES,
    "street11": tuple(_CITYSCAPES_ROWS[name] for name in _STREET),
    "camvid11": _CAMVID,
}
"""Label maps a run may name; a class's id is its position."""

CLASS_LISTS: dict[str, tuple[str, ...]] = {
    **{name: tuple(row[0] for row in rows) for name, rows in LABEL_MAPS.items()},
    # the raw label ids of Cityscapes' *_labelIds.png, which GTA5's label files share
    "cityscapes34": (
        *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground"),
        *("road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel"),
        *("pole", "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider"),
        *("car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
    ),
}
"""Class names in the order of the ids of known label files; what a folder of labels may name as its `classes`."""
