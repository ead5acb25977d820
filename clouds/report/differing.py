"""In what the configs of several runs differ beyond their seeds. It reads no file."""

from collections.abc import Mapping
from typing import Any

from clouds.config import flatten
from clouds.engine.settings import RunConfig

Differing = Mapping[str, Mapping[str, Any]]
"""The values of config keys by run, of those keys that are not the same in all; None where a run has no such key."""

_OF_A_RUN = ("name", "seed", "run_dir")
_SHOWN = 3
_LONGEST = 40


def differing_values(configs: Mapping[str, RunConfig]) -> Differing:
    """What differs between the configs of runs, given by run; names, seeds and what is neutral do not count."""
    values = {run: dict(flatten(config)) for run, config in configs.items()}
    keys = dict.fromkeys(key for found in values.values() for key in found if key not in _OF_A_RUN)
    by_key = {key: {run: found.get(key) for run, found in values.items()} for key in keys}
    return {
        key: found for key, found in by_key.items() if any(one != next(iter(found.values())) for one in found.values())
    }


def differing_line(differing: Differing) -> str:
    """For the foot of a table: the first keys with their values, and what it means for a deviation."""
    shown = [f"{key} ({', '.join(dict.fromkeys(map(_text, by_run.values())))})" for key, by_run in differing.items()]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    keys = f"{', '.join(shown[:_SHOWN])}{more}"
    return f"the configs of these runs differ: {keys}; so the deviation is not that of seeds"


def _text(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"
