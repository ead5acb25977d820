"""Whether weights on this disk are whole: what their headers and lists say."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from clouds.models.checksums import write_checksums
from clouds.models.damage import weights_damage


@pytest.fixture
def folder(tmp_path):
    """A folder of a model in a folder, as the library writes it."""
    (tmp_path / "model" / "unet").mkdir(parents=True)
    save_file({"a": np.arange(6.0), "b": np.zeros(0)}, tmp_path / "model/unet/weights.safetensors", {"format": "np"})
    return tmp_path


def test_whole_files_and_others_are_none(folder):
    (folder / "model" / "weights.bin").write_bytes(b"x")
    save_file({}, folder / "model" / "empty.safetensors")
    assert weights_damage(folder / "model") == []
    assert weights_damage(folder / "model/weights.bin") == weights_damage(folder / "nowhere") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-1], "is cut short: it has"),
        (lambda data: data + b"x", "is too long"),
        (lambda data: data[:20], "its header alone"),
        (lambda data: data[:3], "is no safetensors file"),
        (lambda data: b"", "is no safetensors file"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1", "is no safetensors file"),
        (lambda data: data[:8] + b"!" + data[9:], "its header is damaged"),
    ],
)
def test_a_damaged_file_is_named(folder, change, said):
    file = folder / "model/unet/weights.safetensors"
    file.write_bytes(change(file.read_bytes()))
    [told] = weights_damage(folder / "model")
    assert told.startswith(f"{file} ") and said in told
    assert weights_damage(file) == [told]


@pytest.mark.parametrize("where", [".", "model", "model/unet"])
def test_a_list_beside_the_weights_tells_what_their_bytes_are(folder, where):
    file = folder / "model/unet/weights.safetensors"
    write_checksums(folder / where, [file.relative_to(folder / where).as_posix()])
    assert weights_damage(folder / "model") == []
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "checksums.json lists" in weights_damage(folder / "model")[0]
    (folder / where / "checksums.json").write_text("[]")
    assert "checksums.json is damaged" in weights_damage(folder / "model")[0]
