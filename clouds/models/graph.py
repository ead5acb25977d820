"""A segmenter as one graph of tensors: pixels in, scores and labels out. It knows no file and no format.

What is fixed in the graph is the images' height and width: transformers' deformable attention makes constants of the
sizes of the feature maps. The number of images is free.
"""

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from clouds.models.segmenter import MaskSegmenter
from clouds.ops.semantic import semantic_scores

INPUT, OUTPUTS, BATCH = "images", ("scores", "labels"), "batch"
"""The names of what goes in and comes out, and of the free dimension."""

_TRACED_IMAGES = 2
"""As many images are looked at: of one, tracing would make a constant."""


class SegmenterGraph(nn.Module):
    """What is traced: the whole prediction, resizing excepted."""

    def __init__(self, segmenter: MaskSegmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, K, H, W) float32 in [0, 1] and labels (B, H, W) uint8 of uint8 RGB images (B, 3, H, W)."""
        class_logits_BQC, mask_logits_BQhw = self.segmenter.queries(images_BCHW)
        size = (images_BCHW.shape[-2], images_BCHW.shape[-1])
        scores_BKHW = semantic_scores(class_logits_BQC, mask_logits_BQhw, self.segmenter.mask_stride, size)
        return scores_BKHW, scores_BKHW.argmax(1).to(torch.uint8)


def trace(segmenter: MaskSegmenter, size: tuple[int, int]) -> ExportedProgram:
    """The graph for images of this (height, width), as many as you like; the segmenter is on the CPU."""
    # a graph with gradients switched off inside is one that cannot be read back from a file
    with torch.no_grad():
        return export(SegmenterGraph(segmenter.eval()), (trial_images(_TRACED_IMAGES, size),), dynamic_shapes=(_FREE,))


def trial_images(count: int, size: tuple[int, int]) -> Tensor:
    """uint8 (count, 3, height, width): coarse blotches, always the same, so that masks are neither empty nor noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (count, 3, *(max(1, side // 16) for side in size)), generator=generator)
    return nn.functional.interpolate(coarse.float(), size, mode="bilinear", align_corners=False).to(torch.uint8)


_FREE = {0: Dim(BATCH)}
