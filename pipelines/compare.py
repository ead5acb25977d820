"""Segmenters and predictions that are there already, side by side, scored on the same data sets. It trains nothing."""

from typing import Literal

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
    models: dict[SetName, ConfigPath] = Field(default={})
    """Segmenters' folders, each by the name it is to have; gains are over the first. None where there are predictions
    in `evaluate`."""
    evaluate: EvaluateConfig
    """Scoring every model and all predictions."""

    @model_validator(mode="after")
    def _there_is_something_to_score(self) -> "Config":
        if not self.models and not self.evaluate.predictions:
            raise ValueError(
                "nothing to score: name segmenters in `models`, or predictions in `evaluate.predictions` or by "
                "--predictions; a run's folder knows those that it scored"
            )
        return self

    @model_validator(mode="after")
    def _sets_are_known(self) -> "Config":
        self.data.check_names({"evaluate.data": self.evaluate.data})
        return self


def build(config: Config) -> list[Stage]:
    """The stages in the order they run."""
    parts = Parts.of(config, config.data)
    stages: list[Stage] = [
        parts.evaluate(f"evaluate-{name}", config.evaluate, parts.given(name, folder))
        for name, folder in config.models.items()
    ]
    return [*stages, *parts.evaluate_files(config.evaluate, stages)]
