"""The tiny Stable Diffusion: official format, the same bytes for a seed."""

from pathlib import Path

import pytest
import torch

from clouds.errors import CloudsError
from clouds.models.tiny_diffusion import build_tiny_diffusion, tiny_pipeline


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_seed_gives_its_bytes_and_leaves_the_global_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (contents(build_tiny_diffusion(tmp_path / str(n), seed)) for n, seed in enumerate((0, 0, 1)))
    assert torch.equal(torch.rand(3), expected)
    assert first == again
    assert first.keys() == other.keys()
    assert {name for name in first if first[name] != other[name]} == {n for n in first if n.endswith(".safetensors")}
    assert not any(str(tmp_path).encode() in data for data in first.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def test_it_is_tiny() -> None:
    pipeline = tiny_pipeline(0)
    models = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    assert sum(parameter.numel() for model in models for parameter in model.parameters()) < 1_000_000


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("text")
    with pytest.raises(CloudsError, match="exists already"):
        build_tiny_diffusion(tmp_path, 0)
    assert (tmp_path / "mine").read_text() == "text"


@pytest.mark.parametrize(("height", "width"), [(60, 128), (64, 0), (64, -8)])
def test_a_size_between_latent_cells_is_refused(tmp_path: Path, height: int, width: int) -> None:
    with pytest.raises(CloudsError, match="multiple of 8"):
        build_tiny_diffusion(tmp_path / "sd", 0, height, width)
