"""Rows of an artifact by number, whatever their length and however they are spread over shards."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouds.engine.artifact import METADATA, Artifact
from clouds.engine.rows import Rows


def write(folder: Path, shards: list[list[str]]) -> Artifact:
    for number, texts in enumerate(shards):
        shard = folder / f"{number:05d}"
        shard.mkdir(parents=True)
        lines = (json.dumps({"caption": text}, ensure_ascii=False) + "\n" for text in texts)
        (shard / METADATA).write_text("".join(lines), encoding="utf-8")
    return Artifact(folder)


@given(shards=st.lists(st.lists(st.text(alphabet="ab é雪 ", max_size=8), max_size=5), max_size=4))
def test_every_row_is_found_by_its_number(tmp_path_factory: pytest.TempPathFactory, shards: list[list[str]]) -> None:
    rows = Rows(write(tmp_path_factory.mktemp("run") / "stage", shards))
    expected = [(f"{number:05d}", {"caption": text}) for number, texts in enumerate(shards) for text in texts]
    assert [rows[index] for index in range(len(rows))] == expected
    for beyond in (len(rows), -1):
        with pytest.raises(IndexError):
            rows[beyond]


def test_an_artifact_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert len(Rows(Artifact(tmp_path / "none"))) == 0
