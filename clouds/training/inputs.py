"""What a training's output depends on beyond its config and what it learns from. It loads nothing."""

from collections.abc import Iterator, Mapping
from typing import Any

from clouds.data.samples import Dataset, data_stamp
from clouds.training.settings import ValidationConfig


def validation_identity(config: ValidationConfig | None, datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """For a stage's identity: nothing, unless the validation chooses the weights that the training gives."""
    if config is None or not config.keep_best:
        return {}
    chosen_by = {**config.model_dump(mode="json"), "data": {name: one.identity() for name, one in datasets.items()}}
    return {"validation": chosen_by}


def validation_stamp(config: ValidationConfig | None, datasets: Mapping[str, Dataset]) -> Iterator[str]:
    """For a shard's inputs: what changes when any file does that chooses the weights."""
    if config is not None and config.keep_best:
        yield from data_stamp(datasets)
