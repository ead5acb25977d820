"""The config values every run has, whatever its stages. It reads no file and touches no device."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from clouds.config import ConfigModel, ConfigPath, Neutral
from clouds.engine.trackers import TrackerName


class RuntimeConfig(ConfigModel):
    """Where and how numbers are computed."""

    device: Neutral[Literal["auto", "cpu", "cuda", "mps"]] = "auto"
    """`auto` takes a GPU where there is one."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """Autocast of training and inference."""
    workers: Neutral[Annotated[int, Field(ge=0)]] = 0
    """Processes that read and augment training images; 0 reads them in the training process."""
    trackers: Neutral[tuple[TrackerName, ...]] = ()
    """Where else a training's log goes, each to be installed by the same name; below `trackers` in the run's folder."""


class RunConfig(ConfigModel):
    """What every config has; an assembly in `pipelines` adds its stages."""

    name: str
    """Name of the run: letters, digits, `-`, `_` and `.`."""
    seed: int = 0
    """Every random number depends on it and on the item it is for."""
    run_dir: Neutral[ConfigPath | None] = None
    """Folder of the run; `runs/NAME` under the working directory when not given."""
    max_failures: Neutral[Annotated[int, Field(ge=0)]] = 20
    """Items that may fail in one stage before the run stops."""
    shard_items: Annotated[int, Field(ge=1)] = 100
    """Items in one folder of an artifact, published together."""
    runtime: RuntimeConfig = RuntimeConfig()
    """Device and precision."""

    @field_validator("name")
    @classmethod
    def _name_is_a_folder_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
            raise ValueError("a run's name has letters, digits, '-', '_' and '.', and begins with a letter or digit")
        return value

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run_dir or Path.cwd() / "runs" / self.name
