"""A list of classes as a user gives it on the command line: a known name, or a file. It knows no model."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from clouds.data.label_maps import LABEL_MAPS
from clouds.data.labels import LabelMap
from clouds.errors import UsageError, nearest


def read_classes(source: str) -> LabelMap:
    """The classes in the order of their ids.

    `source` is a built-in's name; or a YAML or JSON file with a list as a config's `data.classes` has it, of names and
    of {name, color, synonyms}; or a text file with a class a line, its name first, synonyms after it between commas.
    Raises `UsageError` for anything else.
    """
    path = Path(source).expanduser()
    if not path.is_file():
        if source in LABEL_MAPS:
            return LabelMap.of(source)
        raise UsageError(f"classes {source}: no such file or list of classes", nearest(source, LABEL_MAPS))
    try:
        text = path.read_text(encoding="utf-8")
        entries: Any = yaml.safe_load(text) if path.suffix in (".yaml", ".yml", ".json") else _lines(text)
        return LabelMap.of(entries)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UsageError(f"classes {path}: {reason}", "give a list of class names, each once") from error


def _lines(text: str) -> list[dict[str, object]]:
    rows = [[name.strip() for name in line.split(",")] for line in text.splitlines() if line.strip()]
    return [{"name": name, "synonyms": tuple(synonyms)} for name, *synonyms in rows]
