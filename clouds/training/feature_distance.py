"""The distance of a backbone that learns from itself as a training found it, on images with true labels.

It keeps a copy of what is trained of the backbone, which no checkpoint holds: whoever resumes a training begins with
the same weights. It knows no step and no batch beyond the one it is asked about.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from clouds.models.heads import MaskOutput
from clouds.models.segmenter import MaskSegmenter
from clouds.ops.feature_distance import covered_cells, distance_sum
from clouds.training.draws import Batch
from clouds.training.settings import DistanceConfig


class FeatureDistance:
    """The weighted mean distance of the deepest features from those of the backbone as it was.

    Published, that is the backbone as ImageNet left it; here as the segmenter came into the training.
    """

    def __init__(self, segmenter: MaskSegmenter, config: DistanceConfig, classes: Sequence[int]) -> None:
        """`classes` are the ids of the config's. The segmenter has to be on its device.

        Raises `ValueError` where no weight of the backbone learns: its features would stay where they are.
        """
        backbone = segmenter.backbone
        fixed = [parameter for _, parameter in backbone.named_parameters() if not parameter.requires_grad]
        if len(fixed) == len(list(backbone.named_parameters())):
            raise ValueError("the backbone is frozen: its features go nowhere")
        # what is fixed is shared, not copied
        shared: dict[int, Any] = {id(parameter): parameter for parameter in fixed}
        self._start = deepcopy(backbone, shared)
        self._start.train(False)
        self._segmenter, self._config, self._classes = segmenter, config, tuple(classes)

    def cells(self, batch: Batch, labelled_S: Sequence[bool]) -> Tensor:
        """bool (B, h, w): the cells that count, in images of sources with true labels."""
        stride = self._segmenter.backbone.strides[-1]
        cells_Bhw = covered_cells(batch.labels_BHW, self._classes, stride, self._config.min_share)
        return cells_Bhw & torch.tensor([labelled_S[source] for source in batch.sources])[:, None, None]

    def __call__(
        self, output: MaskOutput, batch: Batch, cells_Bhw: Tensor, total: float, accelerator: Accelerator
    ) -> Tensor:
        """A forward pass's share of the weighted mean over the `total` of cells that count in the whole batch."""
        assert output.deepest_BChw is not None
        counted_B = cells_Bhw.flatten(1).any(1)
        if not bool(counted_B.any()):
            return output.deepest_BChw.new_zeros((), dtype=torch.float32)
        with torch.no_grad(), accelerator.autocast():
            images_BCHW = batch.images_BCHW[counted_B].to(accelerator.device)
            start_BChw = self._start(self._segmenter.normalise(images_BCHW))[-1]
        height, width = cells_Bhw.shape[-2:]
        cells_Bhw, counted_B = cells_Bhw.to(accelerator.device), counted_B.to(accelerator.device)
        distances = distance_sum(
            output.deepest_BChw[counted_B].float(), start_BChw[..., :height, :width].float(), cells_Bhw[counted_B]
        )
        return self._config.weight * distances / max(total, 1.0)
