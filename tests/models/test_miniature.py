"""The shipped weights: intact or not, used under their names, replaced by others."""

from pathlib import Path

import pytest

from clouds.config import shipped_assets
from clouds.errors import CloudsError
from clouds.models.checksums import write_checksums
from clouds.models.miniature import check_miniature, install_miniature, miniature_folder
from clouds.models.weights import HashCache, weight_identity


def pack(folder: Path, weights: bytes) -> Path:
    """A folder that is packed like a miniature."""
    (folder / "clip").mkdir(parents=True)
    (folder / "sam.safetensors").write_bytes(weights)
    (folder / "clip" / "config.json").write_text("{}")
    (folder / "shard.json").write_text("the engine's own")
    write_checksums(folder, ["clip/config.json", "sam.safetensors"])
    return folder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = pack(tmp_path / "assets" / "miniature", b"weights")
    monkeypatch.setattr("clouds.models.weights.miniature_folder", lambda: folder)
    return folder


def test_the_weights_ship_with_the_assets() -> None:
    assert miniature_folder() == shipped_assets() / "miniature"
    assert (shipped_assets() / "prompts" / "street.txt").exists()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "sam.safetensors").unlink(), "sam.safetensors is missing"),
        (lambda folder: (folder / "sam.safetensors").write_bytes(b"cut"), "sam.safetensors has 3 bytes, not 7"),
        (
            lambda folder: (folder / "sam.safetensors").write_bytes(b"weighty"),
            "sam.safetensors is not what was written",
        ),
        (lambda folder: (folder / "checksums.json").unlink(), "checksums.json"),
    ],
)
def test_damage_is_named_with_the_mend(tmp_path: Path, damage, said: str) -> None:
    folder = pack(tmp_path / "miniature", b"weights")
    check_miniature(folder)
    damage(folder)
    with pytest.raises(CloudsError) as raised:
        check_miniature(folder)
    assert str(folder) in raised.value.message and said in raised.value.message
    assert "install" in raised.value.mend and "clouds pretrain" in raised.value.mend


def test_a_config_cannot_use_shipped_weights_that_were_altered(shipped: Path, tmp_path: Path) -> None:
    file = shipped / "sam.safetensors"
    cache = HashCache(tmp_path / "hashes.json")
    before = weight_identity(str(file), cache=cache)
    assert before["kind"] == "local"
    file.write_bytes(b"weighty")
    for known in (cache, None):
        with pytest.raises(CloudsError, match=r"sam.safetensors is not what was written"):
            weight_identity(str(file), cache=known)
    # another part of it is no better
    with pytest.raises(CloudsError):
        weight_identity(str(shipped / "clip"), cache=None)


def test_a_missing_part_is_named_with_the_mend_of_the_shipped(shipped: Path) -> None:
    (shipped / "sam.safetensors").unlink()
    with pytest.raises(CloudsError) as raised:
        weight_identity(str(shipped / "sam.safetensors"), cache=None)
    assert "clouds pretrain" in raised.value.mend


def test_weights_elsewhere_need_no_list(shipped: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"own")
    assert weight_identity(str(own), cache=None)["kind"] == "local"


def test_installing_takes_the_place_of_what_was_there(shipped: Path, tmp_path: Path) -> None:
    made = pack(tmp_path / "made", b"better weights")
    (shipped / "left over").write_text("from before")
    install_miniature(made, shipped)
    check_miniature(shipped)
    assert (shipped / "sam.safetensors").read_bytes() == b"better weights"
    found = {path.relative_to(shipped).as_posix() for path in shipped.rglob("*") if path.is_file()}
    assert found == {"sam.safetensors", "clip/config.json", "checksums.json"}
    assert [path.name for path in shipped.parent.iterdir()] == ["miniature"]


def test_what_is_damaged_is_not_installed(shipped: Path, tmp_path: Path) -> None:
    made = pack(tmp_path / "made", b"better weights")
    (made / "sam.safetensors").write_bytes(b"cut")
    with pytest.raises(CloudsError):
        install_miniature(made, shipped)
    check_miniature(shipped)
    assert (shipped / "sam.safetensors").read_bytes() == b"weights"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    made = pack(tmp_path / "made", b"weights")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CloudsError, match="file"):
        install_miniature(made, tmp_path / "file" / "miniature")


def test_what_ships_is_whole_and_opens_with_the_real_libraries() -> None:
    """The weights themselves: checksums, loaders, and the sizes that the configs' defaults stand for."""
    import open_clip
    import torch
    from diffusers import DiffusionPipeline

    from clouds.models.sam_checkpoint import load_sam, sam_sizes
    from clouds.models.sam_sizes import SamSizes

    folder = miniature_folder()
    check_miniature(folder)
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 40e6
    pipeline = DiffusionPipeline.from_pretrained(folder / "diffusion", use_safetensors=True)
    assert pipeline.tokenizer.tokenize("a street at night") == ["a</w>", "street</w>", "at</w>", "night</w>"]
    clip = open_clip.create_model(f"local-dir:{folder / 'clip'}", require_pretrained=True)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in clip.parameters())
    state = load_sam(folder / "sam.safetensors").state_dict()
    assert sam_sizes({name: tuple(tensor.shape) for name, tensor in state.items()}) == SamSizes()


def test_the_card_tells_the_trainings_of_the_config() -> None:
    from clouds.config import load_tree, shipped_configs

    card = (miniature_folder() / "README.md").read_text(encoding="utf-8")
    tree = load_tree(shipped_configs()["miniature"])
    for name in ("autoencoder", "denoiser", "clip", "sam_encoder", "sam"):
        [line] = [line for line in card.splitlines() if line.startswith(f"| {name.replace('_', '-')} ")]
        cells = [cell.strip() for cell in line.split("|")[2:5]]
        training = tree[name]
        assert cells == [str(training["steps"]), str(training["batch_size"]), f"{training['optimizer']['lr']:g}"]
    for file in miniature_folder().rglob("*.json"):
        assert "_name_or_path" not in file.read_text(encoding="utf-8"), file
