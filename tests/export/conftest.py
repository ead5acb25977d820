"""A finished run to export from, made once, and the command line."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_images import made_run, opened

from clouds.cli import main
from clouds.export.images import LabelledImages


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("made") / "run", 7)


@pytest.fixture
def images(run: Path) -> LabelledImages:
    return opened(run)


@pytest.fixture
def clouds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Runs the command line in this process: exit status, standard output, standard error."""
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["clouds", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    yield run
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
