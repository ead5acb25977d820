"""The tiny models, built once, and one finished run that tests copy rather than repeat."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_run import small_config, small_models, write_config

from clouds.cli import main


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def finished(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, with its config in `config.yaml`."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    config = write_config(run_dir.parent / "small.yaml", small_config(models, run_dir))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["clouds", "--debug", "run", str(config)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    return run_dir


@pytest.fixture
def copy_of_finished(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: exit status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["clouds", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run
