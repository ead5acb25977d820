"""Says in words what is wrong with the values of a config, and how to mend it. It knows no file and no stage."""

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from clouds.errors import nearest

_WHOLE = ("is no whole number", "give a whole number")
_NUMBER = ("is no number", "give a number")
_SWITCH = ("is neither true nor false", "give true or false")
_TEXT = ("is no text", "give text, in quotes where it would be read as a number, a switch or a list")
_PLAIN = {
    "int_parsing": _WHOLE,
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "finite_number": ("is not finite", "give a finite number"),
    "bool_parsing": _SWITCH,
    "bool_type": _SWITCH,
    "string_type": _TEXT,
    "tuple_type": ("is no list", "give a list, such as [a, b]"),
    "list_type": ("is no list", "give a list, such as [a, b]"),
    "dict_type": ("is no mapping", "give a mapping, such as {key: value}"),
    "model_type": ("is no group of values", "give a mapping, such as {key: value}"),
    "model_attributes_type": ("is no group of values", "give a mapping, such as {key: value}"),
}
"""What is wrong with a value and the mend, by pydantic's name of the error."""

_OF_A_GROUP = ("missing", "value_error", "assertion_error")
"""Errors that say of a group what is in it or not, so that one of its values alone is not to blame."""


def explain(details: ErrorDetails, model: type[BaseModel]) -> str:
    """One error of a config of this class: key, value, what is wrong and, where it is known, the mend."""
    location = [str(part) for part in details["loc"]]
    key = ".".join(location)
    if details["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        return f"unknown key {key!r}\n  mend: {nearest(location[-1], sorted(known))}"
    if details["type"] == "missing":
        return f"{key!r} is missing\n  mend: add it; {_description(model, location)}".rstrip("; ")
    value = details["input"]
    shown = f" = {value!r}" if not isinstance(value, (dict, list)) else ""
    if details["type"] in _PLAIN:
        wrong, mend = _PLAIN[details["type"]]
        return f"{key!r}{shown} {wrong}\n  mend: {mend}"
    said = details["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
    # what a whole config breaks has no key
    return f"{key!r}{shown}: {said}" if key else said


def blamed(details: ErrorDetails, given: Mapping[str, Sequence[str]]) -> str | None:
    """Of texts that give values on the command line, each with its key's parts, the last that an error is about."""
    location = [str(part) for part in details["loc"]]
    about = [text for text, keys in given.items() if _is_about(location, keys, details["type"])]
    return about[-1] if about else None


def _is_about(location: Sequence[str], keys: Sequence[str], type_: str) -> bool:
    # between the keys of a location stand the tags of unions
    rest = iter(location)
    if all(key in rest for key in keys):
        return True
    return bool(location) and list(keys[: len(location)]) == list(location) and type_ not in _OF_A_GROUP


def _models_at(model: type[BaseModel], location: Sequence[str]) -> list[type[BaseModel]]:
    """The config classes that may stand at a location, through unions, mappings and lists."""
    found = [model]
    for part in location:
        nearer: list[type[BaseModel]] = []
        for candidate in found:
            field = candidate.model_fields.get(part)
            if field is not None:
                nearer += _models_in(field.annotation)
        # a part that is no field is a mapping's key, a list's position or a union's tag: stay
        found = nearer or found
    return found


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType, Annotated, dict, list, tuple, Mapping, Sequence) or origin is not None:
        return [model for inner in get_args(annotation) for model in _models_in(inner)]
    return []


def _known_keys(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    return [name for candidate in _models_at(model, location) for name in candidate.model_fields]


def _description(model: type[BaseModel], location: Sequence[str]) -> str:
    for candidate in _models_at(model, location[:-1]):
        field = candidate.model_fields.get(location[-1])
        if field is not None and field.description:
            return field.description
    return ""
