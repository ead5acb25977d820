"""From a config file to the stages it describes: finds the assembly by name, and the stages a command is about.

The assemblies stand in the package `pipelines`, which is found by name and never imported here.
"""

import importlib
import json
import pkgutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clouds.config import apply_overrides, load_tree, named_bases, parse_override, shipped_configs, validate
from clouds.engine.settings import RunConfig
from clouds.engine.stage import Stage
from clouds.errors import UsageError, nearest

PACKAGE = "pipelines"


@dataclass(frozen=True)
class Assembly:
    """A validated config and the stages it describes, in the order they run."""

    config: RunConfig
    stages: tuple[Stage, ...]

    def find(self, wanted: str) -> list[Stage]:
        """The stage of this name, or else all stages of this kind. Raises `UsageError` that names the nearest."""
        found = [stage for stage in self.stages if stage.name == wanted]
        found = found or [stage for stage in self.stages if stage.kind == wanted]
        if not found:
            known = [stage.name for stage in self.stages]
            raise UsageError(f"this run has no stage {wanted!r}", nearest(wanted, known))
        return found

    def until(self, wanted: str) -> list[Stage]:
        """All stages up to the last one of this name or kind."""
        last = self.stages.index(self.find(wanted)[-1])
        return list(self.stages[: last + 1])

    def needed_for(self, wanted: str) -> list[Stage]:
        """The stages of this name or kind with all they need, in order."""
        needed = _with_needs(self.find(wanted))
        return [stage for stage in self.stages if stage.name in needed]


def assemble(config: str, overrides: Sequence[str] = ()) -> Assembly:
    """Read a config and build its stages.

    `config` is the path of a YAML file, the name of a config that ships with the tool, or a run's folder.
    Raises `UsageError` for anything in it that cannot be.
    """
    path, tree = read_config(config)
    return assemble_tree(tree, overrides, str(path))


def assemble_tree(tree: dict[str, Any], overrides: Sequence[str], where: str) -> Assembly:
    """The same from the values of a config; `where` names their origin in errors."""
    tree = apply_overrides(tree, overrides)
    module = _pipeline(tree, where, overrides)
    validated = validate(module.Config, tree, where, overrides, lambda: _to_build_on(where))
    return Assembly(validated, tuple(module.build(validated)))


def validated_config(config: str, overrides: Sequence[str] = ()) -> RunConfig:
    """A config's values without its stages: neither data sets nor weights need be there. Raises as `assemble` does."""
    path, tree = read_config(config, overrides)
    where = str(path)
    validated: RunConfig = validate(
        _pipeline(tree, where, overrides).Config, tree, where, overrides, lambda: _to_build_on(where)
    )
    return validated


def read_config(config: str, overrides: Sequence[str] = ()) -> tuple[Path, dict[str, Any]]:
    """A config's file and its values with the overrides laid over them, not validated yet.

    Raises `UsageError` for a file that is not there or no YAML.
    """
    path = find_config(config)
    tree = load_tree(path)
    if path.parent == Path(config).expanduser():
        # a run that was moved, or is looked at from elsewhere, is the run that lies there
        tree["run_dir"] = str(path.parent.resolve())
    return path, apply_overrides(tree, overrides)


def find_config(config: str) -> Path:
    """The file a user means by a path, by the name of a config that ships with the tool, or by a run's folder."""
    path = Path(config).expanduser()
    if (path / "config.yaml").exists():
        return path / "config.yaml"
    if path.is_file():
        return path
    shipped = shipped_configs()
    if config in shipped:
        return shipped[config]
    known = nearest(Path(config).stem, shipped, shown=len(shipped))
    nothing = "no run folder: it holds no config.yaml" if path.is_dir() else "no such file, and no run folder there"
    raise UsageError(f"config {config}: {nothing}", f"{known}; or give a YAML file or a run's folder")


def run_dir_override(folder: Path | None) -> list[str]:
    """Where a run goes, if it was said, as an override."""
    return [] if folder is None else [f"run_dir={json.dumps(str(folder.resolve()))}"]


def assemblies() -> list[str]:
    """The names of the assemblies: the modules of `pipelines` that build stages."""
    package = importlib.import_module(PACKAGE)
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return [name for name in names if hasattr(importlib.import_module(f"{PACKAGE}.{name}"), "build")]


def _pipeline(tree: dict[str, Any], where: str, overrides: Sequence[str]) -> Any:
    """The module of the assembly that a config names."""
    name = str(tree.get("pipeline", "full"))
    if name not in assemblies():
        origin = next((f"--set {text}" for text in overrides if parse_override(text)[0] == ["pipeline"]), where)
        raise UsageError(f"{origin}: 'pipeline' = {name!r} is no assembly", f"choose one of {', '.join(assemblies())}")
    return importlib.import_module(f"{PACKAGE}.{name}")


def _to_build_on(where: str) -> str:
    """How a config that ships is made whole by one that builds on it; empty for any other config."""
    shipped = shipped_configs()
    name = Path(where).stem
    if shipped.get(name) != Path(where):
        return ""
    bases = {other: named_bases(file) for other, file in shipped.items()}
    builders = [other for other in bases if name in bases[other]]
    if not builders:
        return ""
    # one that builds on nothing else shows best what is to be added, and a recipe of its own name worst
    example = min(builders, key=lambda other: (len(bases[other]), other.startswith(name)))
    return f"this config is one for others to build on: begin yours with 'base: {name}', as the config `{example}` does"


def _with_needs(stages: Iterable[Stage]) -> set[str]:
    """The names of stages and of all they need; each is looked at once, however many ways lead to it."""
    found: set[str] = set()
    open_ = list(stages)
    while open_:
        stage = open_.pop()
        if stage.name not in found:
            found.add(stage.name)
            open_ += stage.needs
    return found
