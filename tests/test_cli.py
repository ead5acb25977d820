"""The command line: what it prints, and the status it ends with."""

import signal

import pytest
from small_run import STAGES, small_config, small_models, write_config

from clouds import __version__
from clouds.cli import main
from clouds.engine.interrupt import Interrupted
from clouds.errors import CloudsError, InputError, UsageError
from clouds.models.tiny import PARTS


@pytest.fixture
def clouds(monkeypatch, capsys):
    """Runs the command line in this process: exit status, standard output, standard error."""
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["clouds", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    yield run
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path / "small.yaml", small_config(tmp_path / "models", tmp_path / "run"))


def test_the_version(clouds):
    assert clouds("--version") == (0, f"{__version__}\n", "")


def test_the_help_names_every_command(clouds):
    status, out, _ = clouds("--help")
    assert status == 0
    for command in (
        "run",
        "plan",
        "status",
        "retry",
        "report",
        "demo",
        "pretrain",
        "tiny",
        "generate",
        "train",
        "selftrain",
    ):
        assert f"\n  {command} " in out


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (CloudsError("it failed", "do this"), 1, "error: it failed\n  mend: do this\n"),
        (InputError("this file is bad"), 1, "error: this file is bad\n"),
        (UsageError("no such thing", "try that"), 2, "error: no such thing\n  mend: try that\n"),
        (RuntimeError("a bug"), 1, "error: RuntimeError: a bug\n  mend: --debug shows where; what is done is kept\n"),
        (Interrupted(signal.SIGTERM), 143, "error: interrupted by SIGTERM; the same command goes on from here\n"),
        (Interrupted(signal.SIGINT), 130, "error: interrupted by SIGINT; the same command goes on from here\n"),
    ],
)
def test_an_error_is_a_message_and_a_status(clouds, config, monkeypatch, error, status, said):
    def fail(assembly, form):
        raise error

    monkeypatch.setattr("clouds.commands.status.print_status", fail)
    assert clouds("status", config) == (status, "", said)


@pytest.mark.parametrize("error", [CloudsError("it failed"), UsageError("no such thing"), RuntimeError("a bug")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_lets_the_traceback_through(config, monkeypatch, error, place):
    def fail(assembly, form):
        raise error

    monkeypatch.setattr("clouds.commands.status.print_status", fail)
    arguments = ["status", str(config)]
    arguments.insert(place, "--debug")
    monkeypatch.setattr("sys.argv", ["clouds", *arguments])
    with pytest.raises(type(error)) as raised:
        main()
    assert raised.value is error


@pytest.mark.parametrize("arguments", [["runn"], ["run"], ["status", "a", "b"], ["--no-such-flag"]])
def test_wrong_use_ends_with_two(clouds, arguments):
    assert clouds(*arguments)[0] == 2


def test_what_cannot_be_read_by_the_shell_is_an_error_too(clouds, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = clouds("tiny", tmp_path / "file" / "models")
    assert status == 1
    assert err.startswith("error: ") and "Traceback" not in err


def test_force_of_a_stage_that_the_command_does_not_reach(clouds, config):
    status, _, err = clouds("generate", config, "--force", "train")
    assert status == 2
    assert "--force train: this command does not reach that stage" in err
    status, _, err = clouds("run", config, "--force", "trian")
    assert status == 2
    assert "did you mean 'train'?" in err


def test_tiny_says_what_it_built_and_only_then(clouds, tmp_path):
    status, out, _ = clouds("tiny", tmp_path / "models")
    assert status == 0
    assert str(tmp_path / "models") in out and "random weights" in out
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == sorted(PARTS)
    assert clouds("tiny", tmp_path / "models") == (0, "", "")


def test_status_of_a_run_that_has_not_begun(clouds, config, tmp_path):
    status, out, _ = clouds("status", config)
    assert status == 0
    rows = {row.split()[0]: row.split()[1:] for row in out.splitlines() if row and not row.startswith("-")}
    for stage in STAGES:
        assert rows[stage][:3] == ["0", "of", "?"]
    assert "failed:" not in out and "clouds retry" not in out
    assert not (tmp_path / "run").exists()


def test_report_of_a_run_that_never_began_makes_nothing(clouds, tmp_path):
    config = write_config(tmp_path / "small.yaml", small_config(small_models(tmp_path / "models"), tmp_path / "run"))
    before = sorted(tmp_path.rglob("*"))
    status, out, err = clouds("report", config)
    assert (status, out) == (2, "")
    assert f"run {tmp_path / 'run'} has not begun" in err and "mend: " in err
    assert sorted(tmp_path.rglob("*")) == before


def test_report_of_a_run_that_has_not_finished(clouds, tmp_path):
    models, run_dir = small_models(tmp_path / "models"), tmp_path / "run"
    config = write_config(tmp_path / "small.yaml", small_config(models, run_dir))
    assert clouds("train", config, "--set", "train.steps=1")[0] == 0
    (run_dir / "report" / "index.html").unlink()
    status, out, _ = clouds("report", run_dir)
    assert status == 0
    assert f"report: {run_dir / 'report' / 'index.html'}" in out
    assert "mIoU" not in out
    assert "train" in (run_dir / "report" / "index.html").read_text(encoding="utf-8")
    status, out, _ = clouds("status", run_dir)
    assert status == 0
    assert "1 of 1" in out and "complete" in out
