"""YAML files to validated config objects. It knows no stage: each config class stands beside its owner.

A key nobody knows is an error that names the nearest known one. A value marked `Neutral` cannot change what a stage
makes (batch size, workers, device) and stays out of its fingerprint. A relative path in a file is relative to that
file; on the command line, to the working directory. `assets:NAME` is a file or folder that ships with the tool.
"""

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from clouds.config_errors import blamed, explain
from clouds.errors import UsageError, nearest

_ASSETS = "assets:"
_YAML_BREAKS = re.compile("[\x85\u2028\u2029]")

T = TypeVar("T")
C = TypeVar("C", bound="ConfigModel")


class _NeutralMarker:
    """Marks a field whose value cannot change what a stage makes."""


NEUTRAL = _NeutralMarker()
Neutral = Annotated[T, NEUTRAL]

Share = Annotated[float, Field(ge=0, le=1)]
"""A number in [0, 1]."""


class LocatedStr(str):
    """A string of a config that remembers the folder its relative paths start from."""

    base: Path

    @classmethod
    def at(cls, text: str, base: Path) -> "LocatedStr":
        located = cls(text)
        located.base = base
        return located


def absolute_path(value: Any) -> Any:
    """The path that a config's text means; anything but text is returned as it is.

    Raises `ValueError`, naming the nearest, for `assets:NAME` where nothing of that name ships with the tool.
    """
    if not isinstance(value, str) or not value:
        return value
    if value.startswith(_ASSETS):
        return _asset(value.removeprefix(_ASSETS).strip("/"))
    base = value.base if isinstance(value, LocatedStr) else Path.cwd()
    return Path(os.path.normpath(base / os.path.expanduser(value)))


def shipped_assets() -> Path:
    """The folder of the files that ship with the tool: prompts, weights."""
    return Path(str(files("assets")))


def _asset(name: str) -> Path:
    folder = shipped_assets()
    files_and_folders = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix not in (".py", ".pyc"))
    known = {path.as_posix() for path in files_and_folders if path.name != "__pycache__"}
    if name not in known:
        mend = nearest(name, sorted(known))
        raise ValueError(f"nothing of that name ships with this tool ({mend}); if it should, install the tool again")
    return folder / name


def _path_if_it_looks_like_one(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    path = absolute_path(value)
    return str(path) if value.startswith((".", "/", "~")) or path.exists() else value


ConfigPath = Annotated[Path, BeforeValidator(absolute_path)]
"""An absolute path, or `assets:NAME`; relative ones start from the file they stand in."""

SourceStr = Annotated[str, BeforeValidator(_path_if_it_looks_like_one)]
"""A hub id such as `owner/name`, or a local path: told by its first character, `.`, `/` or `~`, by being there, or by
`assets:` for what ships with the tool."""


class ConfigModel(BaseModel):
    """A frozen group of config values; an unknown key is an error; the docstring under a field is its description."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)

    moved: ClassVar[Mapping[str, str]] = {}
    """Where keys of a stage's config stood in older versions, `old.key: new.key`, so that a plan knows them again."""

    @model_validator(mode="before")
    @classmethod
    def _null_takes_out_a_list(cls, tree: Any) -> Any:
        """Null, where a list has a default, takes out what a base names: the default holds again."""
        if not isinstance(tree, Mapping):
            return tree
        return {key: value for key, value in tree.items() if value is not None or not cls._is_list(str(key))}

    @classmethod
    def _is_list(cls, key: str) -> bool:
        field = cls.model_fields.get(key)
        return field is not None and not field.is_required() and get_origin(field.annotation) is tuple


def load_tree(path: Path) -> dict[str, Any]:
    """The nested values of one YAML file, laid over those its `base` key names: paths, or configs that ship.

    Of several, each is laid over the one before.
    """
    return _load_over_base(path.resolve(), ())


def _load_over_base(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path in above:
        chain = " -> ".join(str(file) for file in (*above, path))
        raise UsageError(f"config {path}: its 'base' leads back to it: {chain}", "give one of them no 'base'")
    tree = _read_yaml(path)
    bases = _bases(tree, path)
    tree.pop("base", None)
    shipped = shipped_configs()
    below: dict[str, Any] = {}
    for one in bases:
        file = shipped.get(one) or absolute_path(one)
        if not file.exists():
            mend = f"{nearest(Path(one).stem, shipped, shown=len(shipped))}; or give the path of a YAML file"
            raise UsageError(f"config {path}: its 'base' {one}: No such file, and no config of that name ships", mend)
        below = merge(below, _load_over_base(file.resolve(), (*above, path)))
    return merge(below, tree)


def shipped_configs() -> dict[str, Path]:
    """The configs that ship with the tool, by name."""
    folder = Path(str(files("configs")))
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def named_bases(path: Path) -> list[str]:
    """What a config's `base` names, as it stands there. Raises `UsageError` for a file that is no config."""
    return _bases(_read_yaml(path), path)


def _bases(tree: Mapping[str, Any], path: Path) -> list[str]:
    base = tree.get("base")
    bases = [] if base is None else [base] if isinstance(base, str) else base
    if not isinstance(bases, list) or not all(isinstance(one, str) for one in bases):
        raise UsageError(f"config {path}: 'base' = {base!r} is not a path", "give the path of a YAML file, or several")
    return bases


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"config {path}: {error.strerror or error}", "give the path of a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"config {path} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise UsageError(f"config {path} holds {type(tree).__name__}, not a mapping of keys to values")
    located: dict[str, Any] = _locate(tree, path.parent)
    return located


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with the values of `over` laid on it; mappings merge, anything else replaces."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping) and _same_kind(below, value):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def _same_kind(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    """Whether two mappings describe one thing: another `type` is another thing, whose keys do not mix."""
    return "type" not in above or above["type"] == below.get("type")


def parse_override(text: str) -> tuple[list[str], Any]:
    """`key.path=value` as its key parts and its value, read as YAML."""
    key, separator, raw = text.partition("=")
    if not separator:
        raise UsageError(
            f"--set {text!r} is not of the form key.path=value", "name a key and its value, such as train.steps=100"
        )
    if not key.strip():
        raise UsageError(f"--set {text!r} names no key before the '='", "write key.path=value")
    keys = key.strip().split(".")
    if not all(part.strip() for part in keys):
        raise UsageError(
            f"--set {text!r}: the key {key.strip()!r} has nothing on one side of a dot",
            "give the names of the groups down to the value, such as generate.steps=20",
        )
    try:
        value = yaml.safe_load(raw) if raw else ""
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text!r}: the value is not valid YAML: {error}") from error
    return keys, _locate(value, Path.cwd())


def apply_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The tree with each `key.path=value` laid over it."""
    for text in overrides:
        keys, value = parse_override(text)
        for key in reversed(keys):
            value = {key: value}
        tree = merge(tree, value)
    return tree


def validate(
    model: type[C],
    tree: Mapping[str, Any],
    where: str,
    overrides: Sequence[str] = (),
    whole: Callable[[], str] = str,
) -> C:
    """The tree as a config object.

    Raises `UsageError` that names every bad field, its value and the mend. `where` names the file in it, for values
    that none of the `overrides` gave. What `whole` says, unless it is empty, mends all that is missing at once.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        found = error.errors()
        given = {text: parse_override(text)[0] for text in overrides}
        missing = [".".join(map(str, one["loc"])) for one in found if one["type"] == "missing"]
        mend = whole() if missing else ""
        if mend:
            found = [one for one in found if one["type"] != "missing"]
        origins = [(blamed(one, given), explain(one, model)) for one in found]
        lines = [f"--set {text}: {line}" if text else f"{where}: {line}" for text, line in origins]
        if mend:
            listed = ", ".join(repr(key) for key in missing)
            lines.append(f"{where}: {listed} {'is' if len(missing) == 1 else 'are'} missing")
        raise UsageError("\n".join(lines), mend) from None


def without_nulls(value: Any) -> Any:
    """A mapping less its nulls, by which a config takes out what its base names; anything else as it is."""
    return {name: inner for name, inner in value.items() if inner is not None} if isinstance(value, dict) else value


def flatten(config: BaseModel, *, neutral: bool = False, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a config as (`dotted.key`, JSON-ready value); those marked `Neutral` only on request."""
    for name, field in type(config).model_fields.items():
        if not neutral and any(marker is NEUTRAL for marker in field.metadata):
            continue
        yield from _flatten_value(getattr(config, name), f"{prefix}{name}", neutral)


def absent_defaults(config: BaseModel, known: Collection[str], prefix: str = "") -> Iterator[str]:
    """The keys that `flatten` gives of fields that hold their default, and of which `known` has none.

    They are what a newer version of a config says beyond an older one, where nobody asked for it.
    """
    for name, field in type(config).model_fields.items():
        key, value = f"{prefix}{name}", getattr(config, name)
        if key in known:
            # it was no group before, so what is in it now was asked for
            continue
        if _has(known, key):
            yield from _absent_within(value, known, key)
        elif not field.is_required() and value == field.get_default(call_default_factory=True):
            yield from (one for one, _ in _flatten_value(value, key, False))


def renamed(key: str, names: Mapping[str, str]) -> str:
    """A dotted key, or one within it, under the name that `names` has for it; as it is where that has none."""
    for one, other in names.items():
        if _has((key,), one):
            return other + key.removeprefix(one)
    return key


def dump_yaml(config: BaseModel) -> str:
    """The resolved config as YAML, every default spelled out."""
    values = config.model_dump(mode="json")
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    if _YAML_BREAKS.search(text):
        # a reader of YAML takes these characters for line ends: only an escape keeps them
        return yaml.safe_dump(values, sort_keys=False, width=120)
    return text


def _flatten_value(value: Any, key: str, neutral: bool) -> Iterator[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        yield from flatten(value, neutral=neutral, prefix=f"{key}.")
    elif isinstance(value, (Mapping, list, tuple)) and not value:
        yield key, {} if isinstance(value, Mapping) else []
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flatten_value(inner, f"{key}.{name}", neutral)
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            yield from _flatten_value(inner, f"{key}.{position}", neutral)
    else:
        yield key, str(value) if isinstance(value, Path) else value


def _absent_within(value: Any, known: Collection[str], key: str) -> Iterator[str]:
    """As `absent_defaults`, of what was there before; an entry that was added to a list or a mapping was not."""
    if isinstance(value, BaseModel):
        yield from absent_defaults(value, known, f"{key}.")
    elif isinstance(value, (Mapping, list, tuple)):
        entries = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, inner in entries:
            if _has(known, f"{key}.{name}"):
                yield from _absent_within(inner, known, f"{key}.{name}")


def _has(known: Collection[str], key: str) -> bool:
    return any(one == key or one.startswith(f"{key}.") for one in known)


def _locate(value: Any, base: Path) -> Any:
    if isinstance(value, str):
        return LocatedStr.at(value, base)
    if isinstance(value, dict):
        return {key: _locate(inner, base) for key, inner in value.items()}
    if isinstance(value, list):
        return [_locate(inner, base) for inner in value]
    return value
