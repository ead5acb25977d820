from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.data.finding import listed
from clouds.errors import CloudsError

IMAGES = {
    "ulm__ulm_1": "/data/leftImg8bit/val/ulm/ulm_1_leftImg8bit.png",
    "ulm__ulm_2": "/data/leftImg8bit/val/ulm/ulm_2_leftImg8bit.png",
    "bonn__a 1.5": "/data/leftImg8bit/val/bonn/a 1.5_leftImg8bit.jpg",
    "bonn__ulm_2": "/data/leftImg8bit/val/bonn/ulm_2_leftImg8bit.png",
}


def found(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "names.txt").write_text(text)
    return listed("data set 'x': `list`", tmp_path / "names.txt", IMAGES, "_leftImg8bit")


@pytest.mark.parametrize(
    "line",
    [
        "ulm_1",
        "ulm_1_leftImg8bit",
        "ulm_1_leftImg8bit.png",
        "ulm/ulm_1",
        "leftImg8bit/val/ulm/ulm_1_leftImg8bit.png",
        "./ulm/ulm_1_leftImg8bit.png",
        "/val/ulm/ulm_1_leftImg8bit.png gtFine/val/ulm/ulm_1_gtFine_labelIds.png",
        "ulm_1\tanything",
        "val\\ulm\\ulm_1_leftImg8bit.png",
        "\ufeffulm_1",
    ],
)
def test_a_line_names_an_image_by_any_end_of_its_path(tmp_path: Path, line: str) -> None:
    assert found(tmp_path, line + "\n") == ["ulm__ulm_1"]


def test_blank_lines_and_comments_are_passed_over_and_order_does_not_count(tmp_path: Path) -> None:
    assert found(tmp_path, "\n# all\nulm/ulm_2\n  ulm_1\r\nulm_1\na 1.5\n") == [
        "bonn__a 1.5",
        "ulm__ulm_1",
        "ulm__ulm_2",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ulm_2", "'ulm_2' in .*names.txt names 2 images\n.*give more of its path"),
        ("ulm_1\nulm_7\nulm_8", "names.txt lists 2 names of no image, such as 'ulm_7'\n.*did you mean 'ulm_"),
        ("m_1", "lists 1 names of no image"),
        ("# none\n", "lists no names"),
    ],
)
def test_wrong_lists_are_errors(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CloudsError, match=f"data set 'x': `list`: .*{said}"):
        found(tmp_path, text)


def test_a_list_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CloudsError, match=r"none\.txt"):
        listed("x", tmp_path / "none.txt", IMAGES, "")
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(CloudsError, match=r"names\.txt"):
        listed("x", tmp_path / "names.txt", IMAGES, "")


@settings(deadline=None, max_examples=50)
@given(st.sets(st.sampled_from(sorted(IMAGES)), min_size=1))
def test_whole_paths_name_exactly_their_images(tmp_path_factory: pytest.TempPathFactory, ids: set[str]) -> None:
    text = "\n".join(IMAGES[id_] for id_ in ids)
    assert found(tmp_path_factory.mktemp("lists"), text) == sorted(ids)
