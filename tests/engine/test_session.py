"""On what a stage was made: real sessions of the toy stages, resumed, killed, and put together by hand."""

import json
import os
import platform
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toy_stages import Double, Make, ToyConfig

from clouds import process
from clouds.engine import environment
from clouds.engine.artifact import Artifact
from clouds.engine.planning import plan_stages
from clouds.engine.runner import Orders, run_stages
from clouds.engine.runtime import Runtime
from clouds.engine.session import SESSIONS, Device, Host, Place, begin_session, end_session, read_sessions, session_of
from clouds.engine.status import stage_status

HOST = Host("Imagined CPU", 96, 2**40)
CARD = Device("Imagined 100", 80 * 2**30)


def stages(folder: Path) -> tuple[Make, Double]:
    make = Make(folder, ToyConfig())
    return make, Double(folder, make, ToyConfig())


def test_a_session_tells_on_what_a_stage_was_made(tmp_path: Path, runtime: Runtime) -> None:
    run_stages(stages(tmp_path), tmp_path, runtime, Orders())
    [session] = read_sessions(tmp_path / "make")
    assert (session.kind, session.processes, session.precision, session.devices) == ("cpu", 1, "no", ())
    [host] = session.hosts
    assert host.cores == os.cpu_count() and host.cpu and host.count == 1
    assert host.memory is None or host.memory > 2**20
    assert session.versions["torch"].startswith(torch.__version__.partition("+")[0])
    assert session.versions["python"] == platform.python_version() and "clouds" in session.versions
    assert session.ended is not None and session.seconds is not None and session.seconds >= 0
    assert session.revision == environment.revision()
    # nothing to do is no session
    run_stages(stages(tmp_path), tmp_path, runtime, Orders())
    assert len(read_sessions(tmp_path / "make")) == 1


def test_a_run_that_goes_on_elsewhere_has_a_session_of_each(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, double = stages(tmp_path)
    made = make._make

    def stopped(item, folder):
        if item.id == "0007":
            raise KeyboardInterrupt
        return made(item, folder)

    make._make = stopped  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run_stages([make, double], tmp_path, runtime, Orders())
    [first] = read_sessions(tmp_path / "make")
    assert first.ended is not None, "an interruption is an end"
    elsewhere = Place("cuda", HOST, "node", CARD, "0")
    monkeypatch.setattr(Runtime, "_place", lambda self: elsewhere)
    run_stages(stages(tmp_path), tmp_path, runtime, Orders())
    again = read_sessions(tmp_path / "make")
    assert again[0] == first
    assert [(one.kind, one.devices, one.hosts) for one in again[1:]] == [("cuda", (CARD,), (HOST,))]
    assert stage_status(make.artifact, "make").sessions == again
    assert [one.kind for one in read_sessions(tmp_path / "double")] == ["cuda"]
    # where it was made is no reason to make it again, nor is that it is not on record
    assert all(plan.up_to_date for plan in plan_stages(stages(tmp_path)))
    (tmp_path / "make" / SESSIONS).unlink()
    assert all(plan.up_to_date for plan in plan_stages(stages(tmp_path)))
    assert stage_status(make.artifact, "make").sessions == ()


def test_sessions_go_with_what_they_made(tmp_path: Path, runtime: Runtime) -> None:
    run_stages(stages(tmp_path), tmp_path, runtime, Orders())
    before = read_sessions(tmp_path / "make")
    make = Make(tmp_path, ToyConfig(text="b"))
    run_stages([make], tmp_path, runtime, Orders())
    assert len(read_sessions(tmp_path / "make")) == 1 and read_sessions(tmp_path / "make") != before
    run_stages(stages(tmp_path), tmp_path, runtime, Orders())
    assert read_sessions(tmp_path / "make") == before
    run_stages(stages(tmp_path), tmp_path, runtime, Orders(force=frozenset({"make"})))
    assert len(read_sessions(tmp_path / "make")) == 1 and read_sessions(tmp_path / "make") != before


def test_a_session_that_was_killed_has_no_end(tmp_path: Path, runtime: Runtime) -> None:
    killed = session_of([Place("cpu", HOST, "a")], "no", {}, None)
    assert (killed.ended, killed.seconds, killed.content()["seconds"]) == (None, None, None)
    make, double = stages(tmp_path)
    make.artifact.folder.mkdir()
    begin_session(make.artifact.folder, killed)
    make.artifact.describe({"document": {}, "fingerprint": ""})
    run_stages([make, double], tmp_path, runtime, Orders())
    begun = [folder for folder in (tmp_path / ".replaced").iterdir() if read_sessions(folder)]
    assert read_sessions(begun[0]) == (killed,), "it stays with what it made"


def test_a_record_that_was_being_written_when_the_process_died_is_gone_after_the_next_run(
    tmp_path: Path, runtime: Runtime
) -> None:
    run_stages(stages(tmp_path), tmp_path, runtime, Orders())
    left = tmp_path / "make" / f".{SESSIONS}.tmp"
    left.write_text("[", encoding="utf-8")
    run_stages(stages(tmp_path), tmp_path, runtime, Orders())
    assert not left.exists() and len(read_sessions(tmp_path / "make")) == 1


def test_processes_are_counted_by_device_and_by_machine() -> None:
    places = [
        Place("cuda", HOST, node, CARD if index else replace(CARD, name="Imagined 200"), str(index))
        for node in ("a", "b")
        for index in range(3)
    ]
    session = session_of(places, "bf16", {"torch": "9"}, "abc")
    assert session.processes == 6
    assert session.devices == (Device("Imagined 200", CARD.memory, 2), Device(CARD.name, CARD.memory, 4))
    assert session.hosts == (replace(HOST, count=2),)


@pytest.mark.parametrize("known", [True, False], ids=["uuid", "none"])
def test_gpus_that_all_are_number_0_are_counted_by_what_tells_them_apart(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Each process sees one GPU alone, on machines that share a name; two processes share a GPU."""
    monkeypatch.setattr(Runtime, "device", torch.device("cuda", 0))
    monkeypatch.setattr(socket, "gethostname", lambda: "worker")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: CARD.name)
    places = []
    for boot, card in (("one", "a"), ("one", "b"), ("one", "b"), ("two", "c")):
        found = SimpleNamespace(total_memory=CARD.memory, **({"uuid": f"GPU-{card}"} if known else {}))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index, found=found: found)
        monkeypatch.setattr(process, "_boot_id", lambda boot=boot: boot)
        places.append(runtime._place())
    session = session_of(places, "bf16", {}, None)
    assert [one.count for one in session.hosts] == [2]
    assert session.devices == (replace(CARD, count=3 if known else 2),)


def test_an_entry_that_cannot_be_read_costs_no_other_and_is_kept(tmp_path: Path) -> None:
    first, last = (session_of([Place("cuda", HOST, "a", CARD, "0")], "no", {"torch": one}, None) for one in "12")
    begin_session(tmp_path, first)
    content = json.loads((tmp_path / SESSIONS).read_text(encoding="utf-8"))
    # a later version's words, then one that is no session at all
    for part in (content[0], content[0]["devices"][0], content[0]["hosts"][0]):
        part["mood"] = "good"
    content += [{"begun": first.begun}, 1, {**content[0], "devices": None}]
    (tmp_path / SESSIONS).write_text(json.dumps(content), encoding="utf-8")
    assert read_sessions(tmp_path) == (first,)
    begin_session(tmp_path, last)
    assert read_sessions(tmp_path) == (first, last)
    end_session(tmp_path)
    after = json.loads((tmp_path / SESSIONS).read_text(encoding="utf-8"))
    assert after[:-1] == content, "what this version does not know is left for one that does"
    assert [one.ended is None for one in read_sessions(tmp_path)] == [True, False]


@pytest.mark.parametrize("damage", ["", "{", "[1]", '[{"begun": "x"}]', "null"])
def test_a_damaged_record_is_none_and_is_begun_anew(tmp_path: Path, damage: str) -> None:
    (tmp_path / SESSIONS).write_text(damage, encoding="utf-8")
    assert read_sessions(tmp_path) == ()
    session = session_of([Place("cpu", HOST, "a")], "no", {"torch": "9"}, None)
    begin_session(tmp_path, session)
    assert read_sessions(tmp_path) == (session,)
    content = json.loads((tmp_path / SESSIONS).read_text(encoding="utf-8"))
    content[-1]["begun"] = "yesterday"
    (tmp_path / SESSIONS).write_text(json.dumps(content), encoding="utf-8")
    assert read_sessions(tmp_path) == ()
    # what a later version adds is no damage
    content[-1] |= {"begun": session.begun, "mood": "good"}
    (tmp_path / SESSIONS).write_text(json.dumps(content), encoding="utf-8")
    assert read_sessions(tmp_path) == (session,)


def test_the_revision_is_that_of_a_checkout_of_this_tool_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site-packages" / "clouds" / "engine" / "environment.py"
    monkeypatch.setattr(environment, "__file__", str(installed))
    (tmp_path / ".git").mkdir()
    assert environment.revision.__wrapped__() is None
    (tmp_path / "site-packages" / ".git").mkdir(parents=True)
    assert environment.revision.__wrapped__() is None, "a folder that git does not take for a repository"
    assert stage_status(Artifact(tmp_path), "x").sessions == ()
