"""A list of classes as a user gives it on the command line: names, a known list, or a file. It knows no model."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from clouds.data.label_maps import LABEL_MAPS
from clouds.data.labels import LabelMap
from clouds.errors import UsageError, nearest


def read_classes(source: str) -> LabelMap:
    """The classes in the order of their ids; see `class_entries`."""
    try:
        return LabelMap.of(class_entries(source))
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UsageError(f"classes {source}: {reason}", "give a list of class names, each once") from error


def class_entries(source: str) -> Any:
    """The classes as a config's `data.classes` has them, not validated yet.

    `source` is names between commas; or a built-in list's name; or a YAML or JSON file with names and
    {name, color, synonyms}; or a text file with a class a line, its name first, synonyms after it between commas.
    Raises `UsageError` for anything else.
    """
    path = Path(source).expanduser()
    if not path.is_file():
        if "," in source:
            return [name.strip() for name in source.split(",") if name.strip()]
        if source in LABEL_MAPS:
            return source
        mend = f"{nearest(source, LABEL_MAPS)}; a single class is written with a comma after it"
        raise UsageError(f"classes {source}: no such file or list of classes", mend)
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.safe_load(text) if path.suffix in (".yaml", ".yml", ".json") else _lines(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"classes {path}: {error}", "give a list of class names, each once") from error


def _lines(text: str) -> list[str | dict[str, object]]:
    rows = [[name.strip() for name in line.split(",")] for line in text.splitlines() if line.strip()]
    return [{"name": name, "synonyms": tuple(synonyms)} if synonyms else name for name, *synonyms in rows]
