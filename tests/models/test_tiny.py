"""The stand-ins: built once, completed where a part is missing, the same bytes for the same seed."""

import shutil

import pytest

from clouds.models.tiny import PARTS, build_tiny_models


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "models"
    assert build_tiny_models(folder, 4)
    return folder


def test_it_holds_the_three_models_and_nothing_beside(built):
    assert sorted(path.name for path in built.iterdir()) == sorted(PARTS)
    assert [path.name for path in built.parent.iterdir()] == ["models"]


def test_building_again_does_nothing(built):
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    assert not build_tiny_models(built, 5)
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*")} == before


def test_a_half_built_folder_is_completed_and_what_is_there_is_left(built, tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(built, folder)
    shutil.rmtree(folder / "diffusion")
    (folder / "sam.safetensors").write_bytes(b"mine")
    assert build_tiny_models(folder, 4)
    expected = content(built) | {"sam.safetensors": b"mine"}
    assert content(folder) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_a_seed_gives_the_same_bytes_and_another_seed_others(built, tmp_path):
    build_tiny_models(tmp_path / "again", 4)
    assert content(tmp_path / "again") == content(built)
    build_tiny_models(tmp_path / "other", 5)
    other, ours = content(tmp_path / "other"), content(built)
    assert other.keys() == ours.keys()
    for name in ours:
        assert (other[name] == ours[name]) == (not name.endswith(".safetensors"))
