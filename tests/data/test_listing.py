"""Images by files, folders and patterns: which are found, and what they are called."""

import os

import pytest

from clouds.data.listing import list_images
from clouds.errors import UsageError


@pytest.fixture
def tree(tmp_path):
    for name in ("a/1.png", "a/2.JPG", "a/deep/1.png", "b/1.png", "a/notes.txt", "a/.hidden.png", "a/.cache/9.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(tree, *places, leave_out="out"):
    images = list_images([tree / place for place in places], tree / leave_out)
    return {id_: file.relative_to(tree).as_posix() for id_, file in images.items()}


def test_a_folder_is_searched_to_any_depth(tree):
    assert found(tree, "a") == {"1": "a/1.png", "2": "a/2.JPG", "deep__1": "a/deep/1.png"}


def test_files_and_patterns(tree):
    assert found(tree, "a/2.JPG", "b/1.png") == {"1": "b/1.png", "2": "a/2.JPG"}
    assert found(tree, "a/*") == {"1": "a/1.png", "2": "a/2.JPG"}
    assert found(tree, "**/2.*") == {"2": "a/2.JPG"}


def test_a_file_named_twice_counts_once(tree):
    assert list(found(tree, "a/1.png", "a", "a/1*")) == ["1", "2", "deep__1"]


def test_equal_names_are_told_apart_by_the_folders_below_the_one_they_share(tree):
    assert found(tree, "a/1.png", "b/1.png") == {"a__1": "a/1.png", "b__1": "b/1.png"}
    assert found(tree, "*/1.png", "a/2.JPG") == {"a__1": "a/1.png", "a__2": "a/2.JPG", "b__1": "b/1.png"}


def test_what_was_written_is_not_read(tree):
    assert found(tree, "a", leave_out="a/deep") == {"1": "a/1.png", "2": "a/2.JPG"}
    assert found(tree, "a/**", leave_out="a/deep") == {"1": "a/1.png", "2": "a/2.JPG"}


def test_a_linked_folder_is_followed_and_a_loop_is_not(tree):
    os.symlink(tree / "b", tree / "a" / "linked")
    os.symlink(tree / "a", tree / "a" / "loop")
    assert found(tree, "a")["linked__1"] == "a/linked/1.png"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("none", "no such file or folder"),
        ("a/*.gif", "no image file fits this pattern"),
        ("a/notes.txt", "not of a known kind"),
        ("empty", "no files of kind"),
        ("film.MP4", "ffmpeg -i film.MP4"),
    ],
)
def test_a_place_without_images_is_named(tree, place, said):
    (tree / "empty").mkdir()
    (tree / "film.MP4").touch()
    with pytest.raises(UsageError) as caught:
        found(tree, "b", place)
    assert said in str(caught.value) and str(tree / place) in str(caught.value)


def test_names_that_cannot_be_told_apart_are_refused(tree):
    (tree / "b" / "1.jpg").touch()
    with pytest.raises(UsageError, match="both be called '1'"):
        found(tree, "b")
