"""The baseline: learn from the source and score it. It generates and refines nothing."""

from typing import Literal

from pydantic import model_validator

from clouds.data.table import DataTable
from clouds.engine.settings import RunConfig
from clouds.engine.stage import Stage
from pipelines.evaluate import EvaluateConfig
from pipelines.parts import Parts
from pipelines.train import TrainConfig


class Config(RunConfig):
    """Every value of a run of the baseline."""

    pipeline: Literal["source_only"] = "source_only"
    """The assembly, a file in `pipelines`."""
    data: DataTable
    """Classes and data sets."""
    train: TrainConfig
    """Learning from the source."""
    evaluate: EvaluateConfig
    """Scoring the model."""

    @model_validator(mode="after")
    def _sets_are_known(self) -> "Config":
        self.data.check_names(
            {
                "train.data": self.train.data,
                "train.validation.data": self.train.validation_sets,
                "evaluate.data": self.evaluate.data,
            }
        )
        return self


def build(config: Config) -> list[Stage]:
    """The stages in the order they run."""
    parts = Parts.of(config, config.data)
    stages = parts.scored([parts.train("train", config.train)], config.evaluate)
    return [*stages, *parts.evaluate_files(config.evaluate, stages)]
