import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from published_sets import polygon, put_colors, put_ids, put_image, put_palette, put_png16, put_polygons

from clouds.data.codings import COLOR_IDS, ColorLabels, PolygonLabels, read_first_channel, shown_id
from clouds.errors import InputError

COLORS = ColorLabels({(128, 64, 128): 0, (0, 0, 64): 7, (255, 255, 255): 2})
POLYGONS = PolygonLabels({"road": 3, "car": 5, "out": 9}, background=9)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_first_channel_of_16_bits_is_exact(tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(channels).integers(0, 2**16, (7, 5, channels))
    found = read_first_channel(put_png16(tmp_path / "1.png", values))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values[..., 0])


def test_the_first_channel_of_8_bits(tmp_path: Path) -> None:
    ids = np.arange(24, dtype=np.uint8).reshape(4, 6)
    rgb = put_colors(tmp_path / "rgb.png", np.stack([ids, ids + 1, ids + 2], axis=-1))
    np.testing.assert_array_equal(read_first_channel(rgb), ids)
    Image.fromarray(np.stack([ids, ids + 100], axis=-1), "LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_first_channel(tmp_path / "la.png"), ids)
    np.testing.assert_array_equal(read_first_channel(put_ids(tmp_path / "grey.png", ids)), ids)
    np.testing.assert_array_equal(read_first_channel(put_palette(tmp_path / "palette.png", ids)), ids)


def test_colors_become_ids_and_unknown_ones_are_told(tmp_path: Path) -> None:
    path = put_colors(tmp_path / "1.png", [[(128, 64, 128), (0, 0, 64), (255, 255, 255), (1, 2, 3)]])
    assert COLORS(path).tolist() == [[0, 7, 2, COLOR_IDS + 0x010203]]
    assert shown_id(COLOR_IDS + 0x010203) == "colour (1, 2, 3)"
    assert shown_id(34) == "34"
    with Image.open(path) as image:
        image.quantize(8).save(tmp_path / "palette.png")
    assert COLORS(tmp_path / "palette.png").tolist() == COLORS(path).tolist()


@pytest.mark.parametrize("read", [read_first_channel, COLORS])
def test_lossy_files_are_refused(tmp_path: Path, read: Any) -> None:
    with pytest.raises(InputError, match="JPEG changes pixel values"):
        read(put_image(tmp_path / "1.jpg"))


def test_later_polygons_cover_earlier_ones(tmp_path: Path) -> None:
    objects = [
        polygon("road", 0, 2, 5, 3),
        polygon("cargroup", 1, 1, 2, 2),
        polygon("road", 4, 0, 5, 1, deleted=1),
        {"label": "car", "polygon": [[5, 0]]},
    ]
    labels = POLYGONS(put_polygons(tmp_path / "1.json", objects))
    assert labels.tolist() == [
        [9, 9, 9, 9, 9, 9],
        [9, 5, 5, 9, 9, 9],
        [3, 5, 5, 3, 3, 3],
        [3, 3, 3, 3, 3, 3],
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ("[]", "not polygons"),
        ("{}", "not polygons.*imgHeight"),
        (json.dumps({"imgHeight": 4, "imgWidth": 6, "objects": [{"label": "car"}]}), "not polygons.*polygon"),
        (json.dumps({"imgHeight": 4, "imgWidth": 6, "objects": [7]}), "not polygons"),
        (json.dumps({"imgHeight": 0, "imgWidth": 6, "objects": []}), "no size of an image"),
        (json.dumps({"imgHeight": 10**6, "imgWidth": 10**6, "objects": []}), "no size of an image"),
        (json.dumps({"imgHeight": 4, "imgWidth": 6, "objects": [polygon("ufo", 0, 0, 1, 1)]}), "no known class: 'ufo'"),
    ],
)
def test_unusable_polygon_files_are_input_errors(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "1.json").write_text(content)
    with pytest.raises(InputError, match=said):
        POLYGONS(tmp_path / "1.json")


def test_missing_label_files_are_input_errors(tmp_path: Path) -> None:
    for read in (read_first_channel, COLORS, POLYGONS):
        with pytest.raises(InputError, match=r"none\.(png|json)"):
            read(tmp_path / ("none.json" if read is POLYGONS else "none.png"))


def test_readers_can_go_to_worker_processes(tmp_path: Path) -> None:
    path = put_colors(tmp_path / "1.png", [[(128, 64, 128)]])
    assert pickle.loads(pickle.dumps(COLORS))(path).tolist() == [[0]]
    assert pickle.loads(pickle.dumps(read_first_channel)) is read_first_channel
    assert pickle.loads(pickle.dumps(POLYGONS)).background == 9
