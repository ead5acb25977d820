import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from clouds.engine.artifact import Artifact, free_name
from clouds.engine.ledger import DONE, FAILED, Record
from clouds.engine.shard import Shard, digest

SHARD = Shard("00000", 3, "inputs")


def make(artifact: Artifact, shard: Shard, *records: Record) -> None:
    """Make a shard with a file for each item that is done."""
    ledger = artifact.open_shard(shard)
    for record in records:
        if record.status == DONE and not ledger.done(record.id, record.token):
            (artifact.scratch_folder(shard.id) / f"{record.id}.txt").write_text(record.token, encoding="utf-8")
    ledger.append(records)
    known = list(ledger.records.values())
    artifact.publish(shard, known, digest(record.id for record in known if record.status == DONE))


def done(name: str, token: str = "") -> Record:
    return Record(name, DONE, token, {"file_name": f"{name}.txt", "id": name}, seconds=0.5)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return Artifact(tmp_path / "run" / "stage")


def test_a_published_shard_is_read_back_by_another_instance(artifact: Artifact) -> None:
    make(artifact, SHARD, done("a", "t"), Record("b", FAILED, error="bad"), done("c"))
    artifact.close()
    again = Artifact(artifact.folder)
    assert again.shard_ids() == ["00000"]
    summary = again.summary("00000")
    assert summary is not None
    assert (summary.size, summary.inputs, summary.done, summary.failed, summary.seconds) == (3, "inputs", 2, 1, 1.0)
    assert list(again.rows("00000")) == [
        {"file_name": "a.txt", "id": "a", "inputs": "t"},
        {"file_name": "c.txt", "id": "c"},
    ]
    assert files(artifact.folder) == {
        "00000",
        *(f"00000/{name}" for name in ("a.txt", "c.txt", "ledger.jsonl", "metadata.jsonl", "shard.json")),
    }


@pytest.mark.parametrize("keep_items", [True, False])
def test_what_a_killed_library_left_half_written_is_not_published(artifact: Artifact, keep_items: bool) -> None:
    artifact.open_shard(SHARD).append([done("a")])
    model = artifact.scratch_folder(SHARD.id) / "model"
    model.mkdir()
    for file in ("weights.safetensors", ".tmpXBXugi"):
        (model / file).write_text("bytes", encoding="utf-8")
    row = {"file_name": "model/weights.safetensors", "id": "a"}
    artifact.publish(SHARD, [Record("a", DONE, row=row)], "made", keep_items=keep_items)
    assert files(artifact.shard_folder(SHARD.id) / "model") == {"weights.safetensors"}


def test_nothing_is_under_the_final_name_before_it_is_published(artifact: Artifact) -> None:
    artifact.open_shard(SHARD).append([done("a")])
    assert artifact.shard_ids() == []
    assert artifact.summary("00000") is None
    assert artifact.unfinished() == ["00000"]
    assert artifact.begun()
    assert Artifact(artifact.folder).open_shard(SHARD).done("a", "")


@pytest.mark.parametrize("content", ["", "[]", '{"size": 1}', '{"unknown": 1}', "null"])
def test_a_damaged_summary_reads_as_not_published_and_the_items_are_kept(artifact: Artifact, content: str) -> None:
    make(artifact, SHARD, done("a"))
    (artifact.shard_folder("00000") / "shard.json").write_text(content, encoding="utf-8")
    assert artifact.summary("00000") is None
    assert artifact.open_shard(SHARD).done("a", "")


def test_a_shard_opened_again_keeps_its_items_and_is_read_as_it_was_meanwhile(artifact: Artifact) -> None:
    make(artifact, SHARD, done("a"), Record("b", FAILED, error="bad"))
    ledger = artifact.open_shard(SHARD)
    assert ledger.done("a", "")
    assert ledger.failed("b", "")
    assert len(list(artifact.rows("00000"))) == 1
    make(artifact, SHARD, done("b"))
    assert [row["id"] for row in artifact.rows("00000")] == ["a", "b"]
    assert artifact.unfinished() == []
    assert not (artifact.folder.parent / ".replaced").exists()


def test_the_former_version_is_kept_when_it_holds_an_item_the_new_one_does_not(artifact: Artifact) -> None:
    make(artifact, SHARD, done("a", "old"))
    make(artifact, Shard("00000", 3, "other"), done("a", "new"))
    kept = artifact.folder.parent / ".replaced/stage-00000"
    assert (kept / "a.txt").read_text(encoding="utf-8") == "old"
    assert (artifact.shard_folder("00000") / "a.txt").read_text(encoding="utf-8") == "new"


def test_an_indivisible_shard_goes_on_with_its_inputs_and_starts_anew_with_others(artifact: Artifact) -> None:
    scratch = artifact.scratch_folder("00000")
    for _ in range(2):
        artifact.open_shard(SHARD, keep_items=False)
        (scratch / "step-1").mkdir(exist_ok=True)
    assert (scratch / "step-1").exists()
    artifact.open_shard(Shard("00000", 3, "other"), keep_items=False)
    assert not (scratch / "step-1").exists()
    assert (artifact.folder.parent / ".replaced/stage-00000/step-1").exists()


@pytest.mark.parametrize("stamp_is_gone", [False, True])
def test_an_indivisible_shard_killed_while_it_is_published_is_not_begun_anew(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, stamp_is_gone: bool
) -> None:
    ledger = artifact.open_shard(SHARD, keep_items=False)
    (artifact.scratch_folder("00000") / "step-1").mkdir()
    ledger.append([done("a")])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        cut = "clouds.engine.artifact.publish_folder" if stamp_is_gone else "pathlib.Path.unlink"
        patch.setattr(cut, interrupt)
        artifact.publish(SHARD, list(ledger.records.values()), "made")
    for _ in range(2):
        assert artifact.open_shard(SHARD, keep_items=False).done("a", "")
        assert (artifact.scratch_folder("00000") / "step-1").exists()


def interrupt(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize("renames", [0, 1, 2])
@pytest.mark.parametrize("keeps", [True, False])
def test_an_exchange_cut_after_any_rename_is_finished(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, renames: int, keeps: bool
) -> None:
    shard = Shard("00000", 3, "other")
    make(artifact, SHARD, done("a", "old"))
    ledger = artifact.open_shard(shard)
    (artifact.scratch_folder("00000") / "a.txt").write_text("new", encoding="utf-8")
    ledger.append([done("a", "old" if keeps else "new"), done("b")])
    passed: list[object] = []
    real = os.rename

    def rename(*arguments: object) -> None:
        if len(passed) == renames:
            raise KeyboardInterrupt
        passed.append(arguments)
        real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "rename", rename)
        patch.setattr(shutil, "rmtree", interrupt)
        artifact.publish(shard, list(ledger.records.values()), "made")
    for _ in range(2):
        artifact.recover()
    if renames == 0:
        assert (artifact.shard_folder("00000") / "a.txt").read_text(encoding="utf-8") == "old"
        make(artifact, shard)
    assert (artifact.shard_folder("00000") / "a.txt").read_text(encoding="utf-8") == "new"
    assert [row["id"] for row in artifact.rows("00000")] == ["a", "b"]
    artifact.close()
    assert not artifact.work_folder.exists()
    assert (artifact.folder.parent / ".replaced/stage-00000/a.txt").exists() == (not keeps)


def test_recovering_undoes_an_exchange_whose_new_half_is_not_whole(artifact: Artifact) -> None:
    make(artifact, SHARD, done("a"))
    artifact.open_shard(SHARD)
    os.rename(artifact.shard_folder("00000"), artifact.work_folder / "00000.old")
    artifact.recover()
    assert artifact.shard_ids() == ["00000"]
    assert artifact.unfinished() == ["00000"]


def test_a_copy_cut_short_is_dropped(artifact: Artifact) -> None:
    make(artifact, SHARD, done("a"))
    shutil.copytree(artifact.shard_folder("00000"), artifact.work_folder / "00000.new")
    assert artifact.unfinished() == []
    artifact.recover()
    artifact.close()
    assert not artifact.work_folder.exists()


def test_setting_aside_never_overwrites(artifact: Artifact) -> None:
    kept = []
    for text in "abc":
        artifact.describe({"text": text})
        kept.append(artifact.set_aside("stage-x"))
    assert [folder.name for folder in kept] == ["stage-x", "stage-x.2", "stage-x.3"]
    assert [(Artifact(folder).description() or {})["text"] for folder in kept] == list("abc")
    assert not artifact.folder.exists()


def test_discarding_deletes_all_even_when_it_was_cut(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    make(artifact, SHARD, done("a"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", lambda path, ignore_errors=False: None if ignore_errors else interrupt())
        artifact.discard()
    assert not artifact.folder.exists()
    artifact.recover()
    assert os.listdir(artifact.folder.parent) == []
    artifact.discard()


def test_the_stamp_changes_with_what_the_shards_hold(artifact: Artifact) -> None:
    empty = artifact.stamp()
    make(artifact, SHARD, done("a"))
    one = artifact.stamp()
    make(artifact, Shard("00001", 1), done("b"))
    assert len({empty, one, artifact.stamp()}) == 3
    assert [shard.size for shard in artifact.mirrored()] == [1, 1]
    assert [shard.inputs for shard in artifact.mirrored("x")] != [shard.inputs for shard in artifact.mirrored("y")]


def test_free_names_count_up(tmp_path: Path) -> None:
    for expected in ("a", "a.2", "a.3"):
        assert free_name(tmp_path / "a").name == expected
        (tmp_path / expected).mkdir()
