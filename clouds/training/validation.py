"""Mean IoU on labelled data sets in the course of a training. It draws nothing at random and changes no weight."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clouds.data.samples import Dataset
from clouds.engine.progress import Progress
from clouds.engine.runtime import Runtime
from clouds.errors import CloudsError, InputError
from clouds.models.inference import predict_scores
from clouds.models.segmenter import MaskSegmenter
from clouds.ops.confusion import Matrix, confusion_matrix, scores
from clouds.training.settings import ValidationConfig


@dataclass(frozen=True, kw_only=True)
class SegmentationValidation:
    """Scores a segmenter on data sets as it is; see `clouds.training.loop.Validation`."""

    config: ValidationConfig
    datasets: Mapping[str, Dataset]
    model: MaskSegmenter
    ignore: int
    runtime: Runtime
    progress: Progress

    @property
    def every(self) -> int:
        """Steps from one to the next."""
        return self.config.every

    @property
    def keep_best(self) -> bool:
        """Whether the training gives the best weights rather than the last."""
        return self.config.keep_best

    def measure(self) -> dict[str, float]:
        """`miou`, the mean over the data sets, and `miou/NAME` of each that has ground truth, in [0, 1].

        Each process predicts its share of the images, each image alone. Raises `CloudsError` without any ground truth.
        """
        self.model.eval()
        found = {name: scores(self._matrix(dataset)).mean_iou for name, dataset in self.datasets.items()}
        known = {f"miou/{name}": float(miou) for name, miou in found.items() if np.isfinite(miou)}
        if not known:
            raise CloudsError(
                f"validation: no image of {', '.join(self.datasets)} has a labelled pixel",
                "name other data sets in `validation.data`, or raise `validation.images`",
            )
        return {"miou": sum(known.values()) / len(known), **known}

    def _matrix(self, dataset: Dataset) -> Matrix:
        """The confusion matrix over all processes; what cannot be read is passed over, and said."""
        own = np.zeros((self.model.num_classes, self.model.num_classes + 1), np.int64)
        passed_over = []
        for index in self._indices(len(dataset.ids))[self.runtime.rank :: self.runtime.world_size]:
            try:
                own += self._image_matrix(dataset, index)
            except InputError as error:
                passed_over.append(f"{dataset.name}/{dataset.ids[index]}: {error.message}")
        shares = self.runtime.gather((own, passed_over))
        if self.runtime.is_main:
            for line in (line for _, lines in shares for line in lines):
                self.progress.say(f"validation passed over: {line}")
        total: Matrix = sum(matrix for matrix, _ in shares)
        return total

    def _image_matrix(self, dataset: Dataset, index: int) -> Matrix:
        image_HWC, labels_HW = dataset.image(index), dataset.labels(index)
        autocast = self.runtime.accelerator.autocast
        [(_, scores_KHW)] = predict_scores(self.model, [image_HWC], autocast, self.config)
        prediction_HW = scores_KHW.argmax(0).cpu().numpy()
        return confusion_matrix(prediction_HW, labels_HW, self.model.num_classes, self.ignore)

    def _indices(self, size: int) -> list[int]:
        count = min(size, self.config.images or size)
        return [position * size // count for position in range(count)]
