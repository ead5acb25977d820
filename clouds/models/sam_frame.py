"""Where an image lies in the square frame that a mask model sees, and the way back. It knows no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor
from torchvision.transforms.functional import resize, to_pil_image

from clouds.ops.components import Region
from clouds.ops.mask_prompt import mask_prompt

# of ImageNet's colours in 0..255, the same in every SAM
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Frame:
    """A square of `side` pixels. An image is scaled to its longest side and padded; `stretched`, it fills it all."""

    side: int
    stretched: bool = False

    def inner_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) that an image of this (height, width) takes up, from the frame's upper left corner."""
        if self.stretched:
            return self.side, self.side
        height, width = ResizeLongestSide.get_preprocess_shape(*image_size, self.side)
        return height, width

    def pixels(self, images_HWC: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
        """uint8 RGB images of any sizes as one normalised batch, float32 (B, 3, side, side)."""
        return torch.stack([self._framed(image_HWC, device) for image_HWC in images_HWC])

    def points(self, points_NXY: NDArray[np.int64], image_size: tuple[int, int]) -> NDArray[np.float64]:
        """Pixels (..., 2) of an image as pixels of the frame."""
        (height, width), (inner_height, inner_width) = image_size, self.inner_size(image_size)
        return points_NXY.astype(float) * (inner_width / width, inner_height / height)

    def logits(self, region: Region, image_size: tuple[int, int], cells: tuple[int, int]) -> Tensor:
        """A region of an image as logits (1, *cells) of a mask of the whole frame."""
        mask_HW = torch.zeros(image_size)
        mask_HW[region.window] = torch.from_numpy(region.mask_HW).float()
        height, width = self.inner_size(image_size)
        small_11HW = F.interpolate(mask_HW[None, None], (height, width), mode="bilinear", antialias=True)
        framed_1HW = F.pad(small_11HW[0], (0, self.side - width, 0, self.side - height))
        return mask_prompt(framed_1HW, cells)

    def masks(self, logits_NHW: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Logits of the frame at a model's resolution as logits (N, *image_size) of the image."""
        logits_N1HW = logits_NHW[:, None]
        if not self.stretched:
            height, width = self.inner_size(image_size)
            logits_N1HW = F.interpolate(logits_N1HW, (self.side, self.side), mode="bilinear", align_corners=False)
            logits_N1HW = logits_N1HW[..., :height, :width]
        return F.interpolate(logits_N1HW, image_size, mode="bilinear", align_corners=False)[:, 0]

    def _framed(self, image_HWC: NDArray[np.uint8], device: torch.device) -> Tensor:
        height, width = self.inner_size((image_HWC.shape[0], image_HWC.shape[1]))
        small_HWC = np.array(resize(to_pil_image(image_HWC), [height, width]))
        small_CHW = torch.from_numpy(small_HWC).permute(2, 0, 1).to(device)
        mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))
        return F.pad((small_CHW - mean) / std, (0, self.side - width, 0, self.side - height))
