"""Following a few items through a run, whatever its size."""

import builtins
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import begin, finished_run, generate, open_run, publish, stage_of

from clouds.ops.spread import spread
from clouds.report.samples import first_row, trace_items


@given(st.integers(0, 2_000_000), st.integers(1, 50))
def test_positions_are_different_ordered_and_inside(total, count):
    positions = spread(total, count)
    assert len(positions) == min(total, count)
    assert positions == sorted(set(positions))
    assert all(0 <= position < total for position in positions)


def test_positions_lie_evenly():
    assert spread(100, 4) == [12, 37, 62, 87]
    assert spread(3, 12) == [0, 1, 2]


def test_an_item_is_followed_from_prompt_to_refined_label(tmp_path):
    assembly = finished_run(tmp_path, [f"prompt {index}" for index in range(10)])
    traces = trace_items(tmp_path, assembly.stages, 3)
    assert [one.prompt for one in traces] == ["prompt 1", "prompt 5", "prompt 8"]
    second = traces[1]
    assert second.seed == 7005
    assert second.image == "generate/00001/000005.png"
    assert second.labels == "label-2/00001/labels/000005.png"
    assert second.confidence == "label-2/00001/confidence/000005.png"
    assert second.refined == "refine-2/00001/000005.png"
    assert second.earlier == (("refine-1", "refine-1/00001/000005.png"),)
    paths = (second.image, second.labels, second.confidence, second.refined, second.earlier[0][1])
    assert all((tmp_path / path).exists() for path in paths)


def test_failed_items_leave_no_gap(tmp_path):
    assembly = open_run(tmp_path)
    artifact = stage_of(assembly, "generate").artifact
    publish(artifact, "00000", [], {"000000": "broken", "000001": "broken"})
    publish(artifact, "00001", [{"file_name": "000002.png", "id": "000002", "prompt": "p", "seed": 1}], {"3": "broken"})
    assert [one.image for one in trace_items(tmp_path, assembly.stages, 5)] == ["generate/00001/000002.png"]
    assert first_row(artifact)["id"] == "000002"


def test_a_large_run_opens_few_files(tmp_path, monkeypatch):
    assembly = open_run(tmp_path)
    artifact = stage_of(assembly, "generate").artifact
    for shard in range(60):
        ids = [f"{shard * 20 + item:06d}" for item in range(20)]
        publish(artifact, f"{shard:05d}", [{"file_name": f"{id_}.png", "id": id_, "prompt": id_} for id_ in ids])
    begin(stage_of(assembly, "generate"), 1200, complete=True)
    opened: list[str] = []
    real = io.open

    def counting(file, *arguments, **options):
        opened.append(Path(str(file)).name)
        return real(file, *arguments, **options)

    monkeypatch.setattr(io, "open", counting)
    monkeypatch.setattr(builtins, "open", counting)
    assert len(trace_items(tmp_path, assembly.stages, 6)) == 6
    assert opened.count("metadata.jsonl") <= 12
    assert "ledger.jsonl" not in opened


def test_nothing_published(tmp_path):
    assembly = open_run(tmp_path)
    assert trace_items(tmp_path, assembly.stages, 4) == []
    assert first_row(stage_of(assembly, "generate").artifact) is None


@pytest.mark.parametrize("damage", [None, "{torn"])
def test_a_shard_whose_metadata_is_gone_or_torn_is_passed_over(tmp_path, damage):
    assembly = open_run(tmp_path)
    generate(assembly, ["a", "b", "c", "d", "e"])
    metadata = tmp_path / "generate" / "00000" / "metadata.jsonl"
    metadata.unlink()
    if damage is not None:
        metadata.write_text(damage, encoding="utf-8")
    assert [one.prompt for one in trace_items(tmp_path, assembly.stages, 5)] == ["e"]
