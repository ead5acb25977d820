"""The shape of the code base, held by tests: who imports whom, how long things are, what users can type."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "clouds").rglob("*.py")) + sorted((ROOT / "pipelines").rglob("*.py"))

# a layer may import itself and those listed; `base` is clouds.config, clouds.errors and the package itself
ALLOWED = {
    "base": set(),
    "ops": set(),
    "data": {"base"},
    "engine": {"base"},
    "models": {"base", "ops", "data"},
    "training": {"base", "ops", "data", "models", "engine"},
    "pretraining": {"base", "ops", "data", "models", "engine", "training"},
    "scoring": {"base", "ops", "data", "engine"},
    "report": {"base", "ops", "data", "engine", "scoring"},
    "export": {"base", "ops", "data", "engine", "models", "api", "report"},
    "api": {"base", "data", "models", "engine"},
    "cli": {"base", "api", "data", "engine", "models", "report", "export", "cli"},
    "pipelines": {"base", "ops", "data", "engine", "models", "training", "pretraining", "scoring", "report"},
}
CLI = {"cli", "commands", "assembly", "__main__"}
MODEL_PACKAGES = {"diffusers", "transformers", "open_clip", "timm", "segment_anything", "detectron2", "peft"}
TENSOR_PACKAGES = {"torch", "torchvision", "accelerate"}
# registers data with detectron2 where a run left it; it knows no model
DATA_READERS = {"clouds.export.detectron2": {"detectron2"}}


def layer(module: str) -> str:
    """The layer of a module of ours, by its dotted name."""
    parts = module.split(".")
    if parts[0] == "pipelines":
        return "pipelines"
    second = parts[1] if len(parts) > 1 else ""
    if second in CLI:
        return "cli"
    return second if second in ALLOWED else "base"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Dotted names a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            folder = ROOT.joinpath(*node.module.split("."))
            submodules = {alias.name for alias in node.names if (folder / f"{alias.name}.py").exists()}
            yield from (f"{node.module}.{name}" for name in submodules)
            if len(submodules) < len(node.names):
                yield node.module


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_one_way(path: Path) -> None:
    here = layer(module_name(path))
    for name in imports(path):
        if name.split(".")[0] not in ("clouds", "pipelines"):
            continue
        there = layer(name)
        assert there == here or there in ALLOWED[here], f"{module_name(path)} ({here}) imports {name} ({there})"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_model_packages_are_imported_in_models_only(path: Path) -> None:
    here = layer(module_name(path))
    packages = {name.split(".")[0] for name in imports(path)}
    packages -= DATA_READERS.get(module_name(path), set())
    if here != "models":
        assert not packages & MODEL_PACKAGES
    if here in ("base", "data", "report", "export", "pipelines"):
        assert not packages & TENSOR_PACKAGES


def test_stage_files_do_not_import_each_other() -> None:
    """A stage file is one that holds a class with a `kind`; an assembly builds stages, and may know them all."""
    files = [path for path in (ROOT / "pipelines").glob("*.py") if "\n    kind: " in path.read_text(encoding="utf-8")]
    assert len(files) > 10
    for path in files:
        found = {name for name in imports(path) if name.startswith("pipelines")}
        assert not found, f"{path.stem} imports {found}"


def test_there_is_no_import_cycle() -> None:
    names = {module_name(path) for path in SOURCES}
    graph = {module_name(path): {name for name in imports(path) if name in names} for path in SOURCES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name in done:
            return
        for needed in graph[name] - {name}:
            visit(needed, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500
    for function in functions(path):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < 100, f"{path}: {function.name}"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_every_file_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_packages_are_listed_in_setup() -> None:
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    for folder in ("clouds", "pipelines", "configs", "assets"):
        for init in (ROOT / folder).rglob("__init__.py"):
            name = ".".join(init.parent.relative_to(ROOT).parts)
            assert f'"{name}"' in text, f"setup.py does not list {name}"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_help_and_plan_start_without_torch() -> None:
    heavy = sorted(MODEL_PACKAGES | TENSOR_PACKAGES)
    code = f"""
import sys
from typer.testing import CliRunner
from clouds.cli import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
print([name for name in {heavy} if name in sys.modules])
import clouds.commands.run, clouds.commands.doctor, clouds.export.registry
import pipelines.full, pipelines.pretrain_miniature, pipelines.source_only
print([name for name in {heavy} if name in sys.modules])
"""
    assert run(code).split("\n")[:2] == ["[]", "[]"]


# Raise this list on purpose: every flag is a promise to users.
FLAGS = {
    "": {"--debug", "--version", "--install-completion", "--show-completion", "--help"},
    "run": {"--set", "--until", "--force", "--save-predictions", "--format", "--json", "--help"},
    "plan": {"--set", "--format", "--json", "--help"},
    "status": {"--set", "--format", "--json", "--help"},
    "retry": {"--set", "--format", "--json", "--help"},
    "report": {"--set", "--format", "--json", "--help"},
    "compare": {"--format", "--json", "--help"},
    "export": {
        *("--format", "--out", "--split", "--val-share", "--things", "--shard-mb", "--link"),
        *("--workers", "--size", "--force", "--help"),
    },
    "tiny": {"--seed", "--help"},
    "doctor": {"--data", "--set", "--items", "--format", "--json", "--help"},
    "demo": {"--size", "--run-dir", "--set", "--format", "--json", "--help"},
    "pretrain": {"--run-dir", "--set", "--force", "--only", "--install", "--help"},
    "convert": {"--classes", "--backbone", "--ensemble", "--force", "--help"},
    "predict": {
        *(
            "--out",
            "--classes",
            "--short-edge",
            "--size",
            "--window",
            "--stride",
            "--scales",
            "--flip",
            "--device",
            "--batch-size",
        ),
        *("--overlays", "--confidence", "--set", "--force", "--help"),
    },
    "generate": {"--set", "--force", "--format", "--json", "--help"},
    "repaint": {"--set", "--force", "--format", "--json", "--help"},
    "train": {"--set", "--force", "--format", "--json", "--help"},
    "adapt": {"--set", "--force", "--format", "--json", "--help"},
    "label": {"--set", "--force", "--format", "--json", "--help"},
    "refine": {"--set", "--force", "--format", "--json", "--help"},
    "judge": {"--set", "--force", "--format", "--json", "--help"},
    "filter": {"--set", "--force", "--format", "--json", "--help"},
    "selftrain": {"--set", "--force", "--format", "--json", "--help"},
    "evaluate": {"--set", "--force", "--save-predictions", "--predictions", "--format", "--json", "--help"},
}


def test_the_command_line_offers_these_flags_and_no_others() -> None:
    from typer.main import get_command

    from clouds.cli import app

    group = get_command(app)
    found = {"": {name for parameter in group.params for name in parameter.opts} | {"--help"}}
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        flags = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        found[name] = flags | {"--help"}
    assert found == FLAGS
