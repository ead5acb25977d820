import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clouds.engine.checkpoint import Checkpoint, Checkpointer, flatten_optimizer, restore_optimizer
from clouds.engine.runtime import Runtime
from clouds.errors import CloudsError


def state(step: int) -> Checkpoint:
    weight = torch.arange(12, dtype=torch.float32).reshape(3, 4) + step
    return Checkpoint(
        step,
        {"model": {"w": weight, "half": weight.bfloat16().T}, "ema": {"w": weight + 1, "n": torch.tensor(7)}},
        {"seed": 3, "losses": [0.1, 1e-30], "name": "ü"},
    )


def same(one: Checkpoint | None, other: Checkpoint) -> bool:
    assert one is not None
    assert one.groups.keys() == other.groups.keys()
    pairs = [(one.groups[g], other.groups[g]) for g in other.groups]
    return (one.step, one.values) == (other.step, other.values) and all(
        a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in b) for a, b in pairs
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_checkpoint_is_read_back_as_it_was(tmp_path: Path, runtime: Runtime) -> None:
    Checkpointer(tmp_path, runtime).save(state(5))
    assert same(Checkpointer(tmp_path, runtime).latest(), state(5))


def test_where_there_is_none_there_is_none(tmp_path: Path, runtime: Runtime) -> None:
    assert Checkpointer(tmp_path / "none", runtime).latest() is None


def test_the_same_state_gives_the_same_bytes(tmp_path: Path, runtime: Runtime) -> None:
    for name in ("a", "b"):
        Checkpointer(tmp_path / name, runtime).save(state(5))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.parametrize("keep", [1, 2])
def test_the_newest_are_kept(tmp_path: Path, runtime: Runtime, keep: int) -> None:
    checkpointer = Checkpointer(tmp_path, runtime, keep=keep)
    for step in (5, 10, 100):
        checkpointer.save(state(step))
    assert sorted(os.listdir(tmp_path)) == ["step-00000005", "step-00000010", "step-00000100"][-keep:]
    assert same(checkpointer.latest(), state(100))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.AdamW(p, lr=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.1),
    ],
)
def test_an_optimizer_goes_on_from_a_checkpoint_to_the_same_bits(
    tmp_path: Path, runtime: Runtime, make: Callable[[Any], torch.optim.Optimizer]
) -> None:
    def build() -> tuple[torch.nn.Module, torch.optim.Optimizer, dict[int, str]]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1))
        model.register_parameter("scale", torch.nn.Parameter(torch.tensor(1.0)))
        return model, make(model.parameters()), {id(p): name for name, p in model.named_parameters()}

    def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            (model(inputs) * model.scale).square().mean().backward()
            optimizer.step()

    straight, optimizer, _ = build()
    train(straight, optimizer, range(6))
    first, optimizer, names = build()
    train(first, optimizer, range(3))
    groups = {"model": first.state_dict(), "optimizer": flatten_optimizer(optimizer, names)}
    Checkpointer(tmp_path, runtime).save(Checkpoint(3, groups, {}))
    found = Checkpointer(tmp_path, runtime).latest()
    assert found is not None
    second, optimizer, names = build()
    second.load_state_dict(found.groups["model"])
    restore_optimizer(optimizer, names, found.groups["optimizer"])
    train(second, optimizer, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), second.parameters(), strict=True))


def damage_at(path: Path, where: float) -> None:
    content = bytearray(path.read_bytes())
    place = min(int(len(content) * where), len(content) - 1)
    content[place] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("file", ["model.safetensors", "ema.safetensors", "state.json"])
@pytest.mark.parametrize("where", [0.0, 0.1, 0.35, 0.5, 0.8, 1.0])
def test_a_flipped_bit_anywhere_is_an_error_that_names_the_folder(
    tmp_path: Path, runtime: Runtime, file: str, where: float
) -> None:
    Checkpointer(tmp_path, runtime).save(state(5))
    before = tree(tmp_path)
    damage_at(tmp_path / "step-00000005" / file, where)
    with pytest.raises(CloudsError) as caught:
        Checkpointer(tmp_path, runtime).latest()
    assert str(tmp_path / "step-00000005") in caught.value.message
    assert "remove that folder" in caught.value.mend
    assert tree(tmp_path).keys() == before.keys(), "nothing of the user's is deleted"


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", "3", '{"step": 5, "files": 3, "values": []}'])
def test_a_state_that_is_none_is_an_error_too(tmp_path: Path, runtime: Runtime, content: str) -> None:
    Checkpointer(tmp_path, runtime).save(state(5))
    (tmp_path / "step-00000005/state.json").write_text(content, encoding="utf-8")
    with pytest.raises(CloudsError, match="step-00000005 is damaged"):
        Checkpointer(tmp_path, runtime).latest()


@pytest.mark.parametrize("file", ["model.safetensors", "state.json"])
@pytest.mark.parametrize("length", [0, 10, -1, None])
def test_a_file_cut_short_or_missing_is_an_error(
    tmp_path: Path, runtime: Runtime, file: str, length: int | None
) -> None:
    Checkpointer(tmp_path, runtime).save(state(5))
    path = tmp_path / "step-00000005" / file
    content = path.read_bytes()
    path.unlink()
    if length is not None:
        path.write_bytes(content.rstrip()[:length])
    with pytest.raises(CloudsError, match="step-00000005 is damaged"):
        Checkpointer(tmp_path, runtime).latest()


def test_after_the_mend_the_run_goes_on_from_the_checkpoint_before(tmp_path: Path, runtime: Runtime) -> None:
    checkpointer = Checkpointer(tmp_path, runtime, keep=2)
    for step in (5, 10):
        checkpointer.save(state(step))
    damage_at(tmp_path / "step-00000010/model.safetensors", 0.9)
    shutil.rmtree(tmp_path / "step-00000010")
    assert same(checkpointer.latest(), state(5))


@pytest.mark.parametrize("call", ["save_file", "write_json", "publish_folder", "shutil.rmtree"])
def test_a_save_killed_halfway_leaves_a_checkpoint_that_is_whole(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    checkpointer = Checkpointer(tmp_path, runtime)
    checkpointer.save(state(5))
    pid = os.fork()
    if pid == 0:
        scratch = tmp_path / ".step-00000010.tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        target = "clouds.engine.checkpoint." + call
        real_rmtree = shutil.rmtree

        def kill(path: Any, *arguments: Any, **options: Any) -> None:
            if call == "shutil.rmtree" and not str(path).endswith("step-00000005"):
                real_rmtree(path, *arguments, **options)
                return
            os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(target, kill)
        checkpointer.save(state(10))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    whole = 10 if call == "shutil.rmtree" else 5
    again = Checkpointer(tmp_path, runtime)
    assert same(again.latest(), state(whole))
    again.save(state(10))
    again.save(state(15))
    assert os.listdir(tmp_path) == ["step-00000015"]
    assert same(again.latest(), state(15))
