from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published_sets import SIZE, opened, put_colors, put_ids, put_image, put_palette

from clouds.config import validate
from clouds.data.samples import Dataset
from clouds.data.survey import Survey, UnknownId, spread, survey
from clouds.data.table import DataTable


def look_through(dataset: Dataset, items: int | None = None) -> Survey:
    return survey(dataset, spread(len(dataset.ids), items), lambda: None)


def put_gta5(root: Path, name: str, ids: Any, size: tuple[int, int] = SIZE) -> Path:
    put_image(root / f"images/{name}.png", size)
    return put_palette(root / f"labels/{name}.png", np.array([ids] * 4, np.uint8))


def test_sizes_ids_and_classes_are_counted(tmp_path: Path) -> None:
    put_gta5(tmp_path, "1", [7, 7, 7, 8, 4, 34])
    put_gta5(tmp_path, "2", [7, 7, 7, 8, 8, 8])
    found = look_through(opened("gta5", tmp_path))
    assert found.sound
    assert (found.count, found.looked_at, found.failed) == (2, 2, 0)
    assert found.sizes == {SIZE: 2}
    assert found.stored == {7: 24, 8: 16, 4: 4, 34: 4}
    assert found.classes == {0: 24, 1: 16, 255: 8}


def test_ids_of_no_class_are_counted_over_all_files(tmp_path: Path) -> None:
    put_gta5(tmp_path, "1", [7] * 6)
    second = put_gta5(tmp_path, "2", [7, 7, 99, 99, 35, 7])
    put_gta5(tmp_path, "3", [99, 7, 7, 7, 7, 7])
    found = look_through(opened("gta5", tmp_path))
    assert not found.sound
    assert found.failed == 0
    assert found.unknown == {99: UnknownId(12, str(second)), 35: UnknownId(4, str(second))}
    assert found.classes == {0: 24 + 12 + 20}
    assert look_through(opened("gta5", tmp_path, unknown="ignore")).sound
    assert look_through(opened("gta5", tmp_path, ignore=[35, 99])).sound


def test_broken_files_and_differing_sizes_are_failures(tmp_path: Path) -> None:
    put_gta5(tmp_path, "1", [7] * 6, size=(3, 6))
    put_gta5(tmp_path, "2", [7] * 6)
    (tmp_path / "images/2.png").write_bytes(b"")
    cut = put_gta5(tmp_path, "3", [7] * 6)
    cut.write_bytes(cut.read_bytes()[:-30])
    put_gta5(tmp_path, "4", [8] * 6)
    found = look_through(opened("gta5", tmp_path))
    assert found.failed == 3
    texts = [str(error) for error in found.failures]
    assert "1.png are 6x4 pixels" in texts[0]
    assert "2.png is empty" in texts[1]
    assert "3.png" in texts[2]
    assert found.classes[1] == 24
    assert found.sizes == {SIZE: 2, (3, 6): 1}


def test_only_a_few_failures_are_kept(tmp_path: Path) -> None:
    for number in range(12):
        put_gta5(tmp_path, f"{number:02}", [7] * 6, size=(3, 6))
    found = look_through(opened("gta5", tmp_path))
    assert found.failed == 12
    assert [f"/{number:02}.png are" in str(error) for number, error in enumerate(found.failures)] == [True] * 5


@pytest.mark.parametrize(("count", "items", "indices"), [(7, None, range(7)), (7, 9, range(7)), (10, 4, [0, 2, 5, 7])])
def test_items_are_spread_evenly(count: int, items: int | None, indices: Any) -> None:
    assert list(spread(count, items)) == list(indices)


def test_unknown_colors_are_counted(tmp_path: Path) -> None:
    put_image(tmp_path / "701_StillsRaw_full/1.png", (1, 3))
    put_colors(tmp_path / "LabeledApproved_full/1_L.png", [[(128, 64, 128), (9, 9, 9), (9, 9, 9)]])
    found = look_through(opened("camvid", tmp_path))
    assert {id_: entry.pixels for id_, entry in found.unknown.items()} == {2**24 + 0x090909: 2}


def test_sets_without_files_or_labels(tmp_path: Path) -> None:
    sets = {"fog": {"type": "world", "domain": "fog", "count": 3, "height": 16, "width": 24}}
    found = look_through(validate(DataTable, {"classes": "street11", "sets": sets}, "x").open("fog"))
    assert found.sound
    assert found.sizes == {(16, 24): 3}
    assert sum(found.classes.values()) == 3 * 16 * 24
    assert not found.stored
    put_image(tmp_path / "images/1.png")
    found = look_through(opened("gta5", tmp_path, labels=False))
    assert found.sound and not found.labelled and not found.classes


def test_every_item_is_looked_at_once_in_many_threads(tmp_path: Path) -> None:
    for number in range(40):
        put_image(tmp_path / f"images/{number}.png", (2, 2))
        put_ids(tmp_path / f"labels/{number}.png", np.full((2, 2), number % 34, np.uint8))
    advanced: list[int] = []
    data = opened("gta5", tmp_path)
    found = survey(data, range(40), lambda: advanced.append(1))
    assert len(advanced) == found.looked_at == 40
    assert found.stored == {id_: 4 * (2 if id_ < 6 else 1) for id_ in range(34)}
