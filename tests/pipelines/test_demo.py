"""The demo, with untrained models in the place of the weights that ship: what it prints, leaves and refuses."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clouds.assembly import assemble
from clouds.config import shipped_assets
from clouds.data.world import TEST_DOMAINS
from clouds.models.checksums import write_checksums

Clouds = Callable[..., tuple[int, str, str]]

FEW = {
    "rounds": 1,
    "train.steps": 2,
    "train.batch_size": 2,
    "generate.count": 4,
    "generate.steps": 2,
    "repaint.count": 2,
    "adapt.steps": 2,
    "adapt.batch_size": 2,
    "selftrain.steps": 2,
    "selftrain.batch_size": 2,
    "data.sets.source.count": 4,
    **{f"data.sets.{name}.count": 2 for name in TEST_DOMAINS},
}


def lay_over(values: dict[str, int]) -> list[str]:
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture
def shipped(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the weights that ship, as if these had."""
    assets = tmp_path / "assets"
    shutil.copytree(shipped_assets() / "prompts", assets / "prompts")
    folder = Path(shutil.copytree(models, assets / "miniature"))
    files = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if file.is_file()]
    write_checksums(folder, files)
    configs = shipped_assets().parent / "configs"
    monkeypatch.setattr("clouds.config.files", lambda package: {"assets": assets, "configs": configs}[package])
    return folder


def test_it_ends_with_the_table_and_the_report(shipped: Path, tmp_path: Path, clouds: Clouds) -> None:
    arguments = ("demo", "--run-dir", tmp_path / "run", *lay_over({**FEW, "rounds": 2}))
    status, out, _ = clouds(*arguments)
    assert status == 0
    header, _, *rows = out.split("mIoU in percent\n\n")[1].splitlines()
    assert header.split() == ["model", *TEST_DOMAINS, "mean", "gain"]
    assert [row.partition("  ")[0] for row in rows[:5]] == [
        "train, source only",
        "adapt, source and repainted",
        "selftrain-1, after round 1",
        "selftrain-2, after round 2",
        "gain",
    ]
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    for picture in (
        "Labelled image",
        "Repainted image",
        "Labels of both",
        "Generated image",
        "Pseudo-label",
        "Refined label",
        "Truth",
        "Prediction of train",
    ):
        assert f'alt="{picture}' in page
    status, again, err = clouds(*arguments)
    assert status == 0
    assert again == out
    assert "would run" not in err and err.count("up to date") == 14


def test_with_the_weights_that_ship_it_runs_as_installed(tmp_path: Path, clouds: Clouds) -> None:
    status, out, err = clouds("demo", "--run-dir", tmp_path / "run", *lay_over(FEW))
    assert status == 0
    assert "selftrain-1, after round 1" in out
    # its prompts are in the words that its text encoder has read
    assert "warning" not in err


def test_stopped_it_goes_on(shipped: Path, tmp_path: Path, clouds: Clouds) -> None:
    options = lay_over(FEW)
    assert clouds("run", "demo", "--until", "generate", *options, "--set", f"run_dir={tmp_path / 'run'}")[0] == 0
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "generate").rglob("*.png")}
    status, _, err = clouds("demo", "--run-dir", tmp_path / "run", *options)
    assert status == 0
    assert err.count("up to date") == 6
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "generate").rglob("*.png")}


def test_each_size_is_a_run_of_its_own_on_every_unseen_domain(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small, medium = (assemble(name) for name in ("demo", "demo_medium"))
    for assembly, name in ((small, "demo"), (medium, "demo_medium")):
        config = assembly.config
        assert config.folder == tmp_path / "runs" / name
        assert config.evaluate.data == TEST_DOMAINS  # type: ignore[attr-defined]
        assert {config.data.sets[name].domain for name in TEST_DOMAINS} == set(TEST_DOMAINS)  # type: ignore[attr-defined]
        assert set(config.train.data) == set(config.selftrain.data) == {"source"}  # type: ignore[attr-defined]
        assert {Path(config.generate.weights).parent, Path(config.refine.sam.weights).parent} == {shipped}  # type: ignore[attr-defined]
    assert len(medium.stages) > len(small.stages)


def test_the_size_chooses_the_config(shipped: Path, tmp_path: Path, clouds: Clouds) -> None:
    arguments = ("--run-dir", tmp_path / "run", *lay_over(FEW))
    assert clouds("demo", "--size", "medium", *arguments)[0] == 0
    assert "name: demo_medium" in (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")
    assert clouds("demo", "--size", "large")[0] == 2


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "checksums.json"),
        (lambda folder: (folder / "sam.safetensors").unlink(), "sam.safetensors is missing"),
        (lambda folder: (folder / "clip" / "open_clip_config.json").write_text("{}"), "open_clip_config.json has 2"),
    ],
)
def test_without_its_weights_it_says_which_file_and_how_to_make_them(
    shipped: Path, tmp_path: Path, clouds: Clouds, damage: Callable[[Path], object], said: str
) -> None:
    damage(shipped)
    status, _, err = clouds("demo", "--run-dir", tmp_path / "run")
    assert status == 1
    assert str(shipped) in err and said in err and "clouds pretrain --install" in err
    assert not (tmp_path / "run").exists()
