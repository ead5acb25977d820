"""What a segmenter's folder tells without its weights: which one it is, its classes and their colours."""

import json

import pytest

from clouds.data.label_maps import LABEL_MAPS
from clouds.errors import CloudsError
from clouds.models.segmenter_folder import is_segmenter, named_classes, segmenter_classes, segmenter_identity
from clouds.models.weights import HashCache


@pytest.fixture
def folder(tmp_path):
    """A folder whose weights nobody reads here."""
    config = {
        "format": "clouds-segmenter-1",
        "class_names": ["road", "sky"],
        "extra": {"colors": [[1, 2, 3], [4, 5, 6]]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def test_it_is_known_by_its_content_and_not_by_its_place_or_its_other_files(folder, tmp_path_factory):
    cache = HashCache(folder / ".hashes.json")
    before = segmenter_identity(folder, cache)
    (folder / "log.jsonl").write_text("anything")
    assert segmenter_identity(folder, cache) == before
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert segmenter_identity(folder, cache) != before


@pytest.mark.parametrize("content", ["", "[]", '{"format": "other"}', '{"model_type": "clip"}'])
def test_another_folder_is_none(folder, content):
    assert is_segmenter(folder)
    (folder / "config.json").write_text(content)
    assert not is_segmenter(folder)
    with pytest.raises(CloudsError, match="holds no segmenter"):
        segmenter_classes(folder)
    with pytest.raises(CloudsError, match="does not exist"):
        segmenter_classes(folder / "nowhere")


def test_classes_have_the_colours_that_are_stored_with_them(folder):
    classes = segmenter_classes(folder)
    assert classes.names == ("road", "sky") and classes.colors == ((1, 2, 3), (4, 5, 6))


def test_classes_without_colours_have_those_of_a_known_list_or_ones_easy_to_tell_apart():
    for rows in LABEL_MAPS.values():
        assert named_classes([row[0] for row in rows]).colors == tuple(row[1] for row in rows)
    generated = named_classes(["lichen", "sky", "moss"]).colors
    assert generated[1] == (70, 130, 180)
    assert len(set(generated)) == 3
    # colours that do not fit the classes are none
    assert named_classes(["lichen"], [[1, 2, 3], [4, 5, 6]]).colors != ((1, 2, 3),)
