"""What one image adds to the scores of its data set, as counts that its row keeps. It predicts nothing."""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clouds.config import ConfigModel
from clouds.data.labels import LabelMap
from clouds.errors import InputError
from clouds.ops.boundary import RATIO, boundary_counts
from clouds.ops.confusion import cells_of, confusion_matrix

Row = dict[str, Any]
Ids_HW = NDArray[np.integer[Any]]


class ScoringConfig(ConfigModel):
    """What is counted beside the confusion matrix, and how sure the scores are."""

    boundary_ratio: Annotated[float, Field(gt=0, lt=1)] | None = RATIO
    """Width of the regions of boundary IoU as a share of the image's diagonal; null: it is not counted."""
    resamples: Annotated[int, Field(ge=0)] = 1000
    """How often images are drawn anew for the 95% interval of each score; 0: there is none."""
    seed: int = 0
    """From which they are drawn: the same draws for every model on a data set."""


def count(prediction_HW: Ids_HW, labels_HW: Ids_HW, label_map: LabelMap, config: ScoringConfig) -> Row:
    """What one image adds to its data set's scores, as cells that are not zero.

    Raises `InputError` where sizes differ or an id is no class.
    """
    classes, ignore = label_map.num_classes, label_map.ignore
    try:
        row = {"cells": cells_of(confusion_matrix(prediction_HW, labels_HW, classes, ignore))}
    except ValueError as error:
        raise InputError(str(error), "mend the labels, or take the image out of the data set") from error
    if config.boundary_ratio is not None:
        row["boundary"] = cells_of(boundary_counts(prediction_HW, labels_HW, classes, ignore, config.boundary_ratio))
    return row
