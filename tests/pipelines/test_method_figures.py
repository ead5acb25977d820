"""The pictures of docs/method.md: drawn from a finished run, small, in exact colours; and what the page itself says."""

import importlib
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clouds.assembly import assemble
from clouds.errors import CloudsError
from clouds.report.comparison import PREDICTION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def figures() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("method_figures")


def draw(figures: ModuleType, run_dir: Path, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["method_figures.py", str(run_dir), str(folder)])
        figures.main()


def keys_of(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Every key of a config, values and groups alike, as `a.b.c`."""
    for key, value in tree.items():
        yield f"{above}{key}"
        if isinstance(value, Mapping):
            yield from keys_of(value, f"{above}{key}.")


def names(figures: ModuleType) -> set[str]:
    return {figure.name for figure in figures.FIGURES}


def test_a_finished_run_has_every_picture(figures: ModuleType, finished: Path, tmp_path: Path) -> None:
    draw(figures, finished, tmp_path / "figures")
    written = {path.name: path for path in (tmp_path / "figures").iterdir()}
    assert written.keys() == names(figures)
    for path in written.values():
        assert path.stat().st_size < figures.MAX_BYTES
        with Image.open(path) as image:
            assert image.format == "PNG"
    with Image.open(written["method-source.png"]) as image:
        pixels_HWC = np.asarray(image.convert("RGB"))
    # the colours of classes are exact, and every pixel of a picture is enlarged to a square
    colors = {tuple(color) for color in np.unique(pixels_HWC.reshape(-1, 3), axis=0).tolist()}
    assert colors >= {one.color for one in figures.open_run(finished).label_map.classes}
    first_HWC = pixels_HWC[10:74, 10:138]
    assert np.array_equal(first_HWC, first_HWC[::2, ::2].repeat(2, axis=0).repeat(2, axis=1))


def test_what_a_run_does_not_have_is_left_out_and_said(
    figures: ModuleType, copy_of_finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copy_of_finished / "repaint")
    for metadata in copy_of_finished.glob("evaluate-*/*/metadata.jsonl"):
        rows = [json.loads(line) for line in metadata.read_text(encoding="utf-8").splitlines()]
        kept = ({key: value for key, value in row.items() if key != PREDICTION} for row in rows)
        metadata.write_text("".join(f"{json.dumps(row)}\n" for row in kept), encoding="utf-8")
    draw(figures, copy_of_finished, tmp_path / "figures")
    missing = {"method-repaint.png", "method-unseen.png"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names(figures) - missing
    said = capsys.readouterr().out
    assert all(f"{name} left out: " in said for name in missing)
    assert "evaluate.keep_predictions" in said


def test_a_folder_without_a_run_is_wrong_use(
    figures: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        draw(figures, tmp_path, tmp_path / "figures")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "figures").exists()


def test_colours_are_lost_to_keep_a_file_small_but_never_exact_ones(
    figures: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = [(1, 2, 3), (70, 70, 71), (70, 71, 70)]
    noise_HWC = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    noise_HWC[:2, :3] = exact
    monkeypatch.setattr(figures, "MAX_BYTES", 2_000)
    with Image.open(io.BytesIO(figures.encoded(Image.fromarray(noise_HWC), exact))) as image:
        pixels_HWC = np.asarray(image.convert("RGB"))
    assert np.array_equal(pixels_HWC[:2, :3], noise_HWC[:2, :3])
    assert len(np.unique(pixels_HWC.reshape(-1, 3), axis=0)) < 256
    monkeypatch.setattr(figures, "MAX_BYTES", 500)
    with pytest.raises(CloudsError, match="40x40 pixels does not fit"):
        figures.encoded(Image.fromarray(noise_HWC), exact)


def test_the_page_shows_every_picture_and_no_other(figures: ModuleType) -> None:
    assert set(re.findall(r"\(figures/([^)]+)\)", PAGE)) == names(figures)


def test_every_key_that_the_page_names_is_a_key(finished: Path) -> None:
    known = set(keys_of(assemble(str(finished)).config.model_dump()))
    stages = "train|repaint|adapt|generate|label|refine|selftrain|evaluate"
    named = set(re.findall(rf"`((?:{stages})\.[a-z_.]+)[`:]", PAGE))
    assert len(named) > 30
    assert named <= known


def test_the_config_on_the_page_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    for folder in ("train", "test"):
        for kind in ("images", "labels"):
            (tmp_path / folder / kind).mkdir(parents=True)
            Image.new("L", (8, 8)).save(tmp_path / folder / kind / "0.png")
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("/data/mine", str(tmp_path)), encoding="utf-8")
    kinds = [stage.kind for stage in assemble(str(path)).stages]
    assert kinds[:5] == ["train", "evaluate", "repaint", "adapt", "evaluate"]
