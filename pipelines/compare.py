"""Segmenters that are there already, side by side: each is scored on the same data sets. It trains nothing."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clouds.config import ConfigPath
from clouds.data.table import DataTable, SetName
from clouds.engine.settings import RunConfig
from clouds.engine.stage import Stage
from pipelines.evaluate import EvaluateConfig
from pipelines.parts import Parts


class Config(RunConfig):
    """Every value of a comparison."""

    pipeline: Literal["compare"] = "compare"
    """The assembly, a file in `pipelines`."""
    data: DataTable
    """Classes and data sets."""
    models: Annotated[dict[SetName, ConfigPath], Field(min_length=1)]
    """Segmenters' folders, each by the name it is to have; gains are over the first."""
    evaluate: EvaluateConfig
    """Scoring every model."""

    @model_validator(mode="after")
    def _sets_are_known(self) -> "Config":
        self.data.check_names({"evaluate.data": self.evaluate.data})
        return self


def build(config: Config) -> list[Stage]:
    """The stages in the order they run."""
    parts = Parts.of(config, config.data)
    return [
        parts.evaluate(f"evaluate-{name}", config.evaluate, parts.given(name, folder))
        for name, folder in config.models.items()
    ]
