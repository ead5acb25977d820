"""A run of the whole method that is as small as it can be with the real classes, and what it left on disk."""

import json
from pathlib import Path
from typing import Any

import yaml

from clouds.engine.session import SESSIONS
from clouds.models.tiny import build_tiny_models

STAGES = (
    "train",
    "evaluate-train",
    "repaint",
    "adapt",
    "evaluate-adapt",
    "generate",
    "judge-prompt",
    "label-1",
    "refine-1",
    "judge-loss-1",
    "judge-views-1",
    "filter-1",
    "selftrain-1",
    "evaluate-selftrain-1",
)


def small_config(models: Path, run_dir: Path, **changes: Any) -> dict[str, Any]:
    """The config as a tree; `changes` replace whole top-level groups."""
    training = {
        "data": {"source": 1.0},
        "steps": 5,
        "batch_size": 2,
        "checkpoint_every": 2,
        "ema": 0.9,
        "optimizer": {"lr": 1e-3, "clip_norm": 1.0, "schedule": "poly", "warmup_steps": 2},
        "loss": {"num_points": 64},
        "augment": {"crop": [32, 64]},
    }
    head = {"channels": 32, "queries": 12, "heads": 4, "encoder_layers": 1, "encoder_feedforward": 32}
    tree: dict[str, Any] = {
        "name": "small",
        "run_dir": str(run_dir),
        "shard_items": 3,
        "max_failures": 2,
        "runtime": {"device": "cpu"},
        "data": {
            "classes": "street11",
            "sets": {
                "source": {"type": "world", "domain": "source", "count": 6, "height": 32, "width": 64},
                "fog": {"type": "world", "domain": "fog", "count": 4, "height": 32, "width": 64},
                "night": {"type": "world", "domain": "night", "count": 3, "height": 30, "width": 50},
            },
        },
        "train": {
            **training,
            "segmenter": {
                "backbone": {"weights": str(models / "clip"), "frozen": False},
                "head": {**head, "decoder_layers": 2, "decoder_feedforward": 32},
            },
        },
        "generate": {
            "weights": str(models / "diffusion"),
            "count": 7,
            "steps": 2,
            "height": 32,
            "width": 64,
            "batch_size": 2,
            "prompts": {"grammar": {"template": "a street in {place}", "slots": {"place": ["fog", "rain", "town"]}}},
        },
        "repaint": {"data": "source", "count": 5},
        "adapt": {**training, "steps": 3},
        "label": {"batch_size": 2},
        "refine": {"sam": {"weights": str(models / "sam.safetensors")}},
        "filter": {
            "filters": [
                {"type": "confidence", "least": 0.1},
                {"type": "class_loss", "margin": 1.25},
                {"type": "sam_agreement"},
                {"type": "view_agreement", "least": 0.5},
                {"type": "clip_score", "lowest": 0.2},
            ],
            "harder": {"most": 3},
            "batch_size": 2,
        },
        "selftrain": {**training, "steps": 4},
        "evaluate": {"data": ["fog", "night"], "batch_size": 2},
    }
    return {**tree, **changes}


def online_config(models: Path, run_dir: Path, **changes: Any) -> dict[str, Any]:
    """The same with everything of online self-training in the place of labels made before."""
    tree = small_config(models, run_dir)
    online = {
        "teacher": {"decay": 0.9},
        "threshold": 0.15,
        "weighting": "pixel",
        "refine_every": 2,
        "contrast": {"size": [8, 16], "learned": True},
    }
    tree["refine"]["rule"] = {"min_area": 0.02, "show_component": True, "min_agreement": 0.0}
    tree["filter"] = None
    tree["selftrain"] |= {"online": {**online, **changes}, "mix": {}, "batch_size": 3}
    return tree


def write_config(path: Path, tree: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def small_models(folder: Path) -> Path:
    build_tiny_models(folder)
    return folder


def output(run_dir: Path) -> dict[str, bytes]:
    """Every file of a run but its report and its sessions, which tell the time; records without the time they took."""
    found = {}
    for path in sorted(run_dir.rglob("*")):
        name = path.relative_to(run_dir).as_posix()
        if path.is_file() and not name.startswith("report/") and path.name != SESSIONS:
            found[name] = _timeless(path)
    return found


def _timeless(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name == "shard.json":
        return _without_time(json.loads(content))
    if path.name == "ledger.jsonl":
        return b"\n".join(_without_time(json.loads(line)) for line in content.splitlines())
    return content


def _without_time(record: dict[str, Any]) -> bytes:
    return json.dumps({key: value for key, value in record.items() if key != "seconds"}, sort_keys=True).encode()
