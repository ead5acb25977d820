"""What a real run made, taken away: the artifacts are those of the stages, not made by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clouds.data.world.classes import CLASSES
from clouds.engine.artifact import Artifact


@pytest.mark.parametrize(
    ("stage", "facts"),
    [
        ("label-1", {"prompt", "seed", "model", "labelled_by", "mean_confidence"}),
        ("refine-1", {"prompt", "seed", "model", "labelled_by", "mean_confidence", "refined_by"}),
        ("repaint", {"prompt", "seed", "model", "source", "strength"}),
    ],
)
def test_every_labelled_stage_is_exported_with_what_is_known(
    finished: Path, clouds: Callable[..., tuple[int, str, str]], tmp_path: Path, stage: str, facts: set[str]
) -> None:
    status, _, err = clouds("export", finished / stage, "--format", "imagefolder", "--out", tmp_path / "out")
    assert status == 0, err
    rows = [json.loads(line) for line in (tmp_path / "out/train/metadata.jsonl").read_text().splitlines()]
    artifact = Artifact(finished / stage)
    sources = {row["id"]: (shard, row) for shard in artifact.shard_ids() for row in artifact.rows(shard)}
    assert {row["id"] for row in rows} == set(sources) and len(rows) == len(sources) > 0
    assert json.loads((tmp_path / "out" / "id2label.json").read_text()) == {str(i): n for i, n in enumerate(CLASSES)}
    for row in rows:
        shard, source = sources[row["id"]]
        labels = artifact.shard_folder(shard) / source.get("labels_file_name", source["file_name"])
        image = finished / source.get("source_image", f"{stage}/{shard}/{source['file_name']}")
        for name, path in (("file_name", image), ("mask_file_name", labels)):
            copy = np.asarray(Image.open(tmp_path / "out" / "train" / row[name]))
            assert np.array_equal(copy, np.asarray(Image.open(path)))
        assert facts <= row.keys()


def test_a_runs_folder_means_its_last_labels(
    finished: Path, clouds: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    status, out, err = clouds("export", finished, "--format", "cityscapes", "--out", tmp_path / "out")
    assert status == 0 and out == f"exported: {tmp_path / 'out'} (7 train)\n"
    assert "run/filter-1 -> cityscapes: 7 images" in err and "lost:" not in err
