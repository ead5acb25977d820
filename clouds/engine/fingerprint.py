"""What a stage's output depends on, as a document and its hash, and how two documents differ. It loads nothing."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]


def fingerprint(content: Document) -> str:
    """The hash of a document: 32 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def differences(before: Document, after: Document) -> list[str]:
    """Why two documents differ, a line a cause: which key, from what to what."""
    after = json.loads(json.dumps(after))  # as `before` was read from JSON: a tuple there is a list
    lines = []
    if before.get("version") != after["version"]:
        lines.append(f"stage version: {before.get('version')} -> {after['version']}")
    for group, label in (("config", "config"), ("inputs", "input")):
        old, new = before.get(group, {}), after[group]
        for key in sorted({*old, *new}):
            if (key in old, old.get(key)) != (key in new, new.get(key)):
                lines.append(f"{label} {key}: {_show(old, key)} -> {_show(new, key)}")
    old, new = before.get("upstream", {}), after["upstream"]
    lines += [f"upstream {name} changed" for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return lines


def _show(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "(none)"
    text = json.dumps(values[key], ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
