"""segment-anything's `Sam` as a refiner of pseudo-labels. It knows no files but its weights, and no stage."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from clouds.ops.components import BoolArray, Region
from clouds.ops.mask_model import FloatArray, MaskCandidates
from clouds.ops.mask_prompt import mask_prompt
from clouds.ops.prompts import Prompt
from clouds.ops.refinement import RefinementResult, RefinementSettings, refine_labels


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """What the image encoder made of one image: all that is needed to ask for masks, and to keep for later rounds.

    `features_1CHW` lies on the model's device; sizes are (height, width) in pixels: `input_size` as the encoder saw the
    image before padding, `image_size` as it was.
    """

    features_1CHW: Tensor
    input_size: tuple[int, int]
    image_size: tuple[int, int]


class SamMaskModel:
    """A `Sam` that has seen one image: the `MaskModel` of the refinement."""

    def __init__(self, sam: Sam, encoded: EncodedImage, prompts_per_call: int) -> None:
        self._sam = sam
        self._encoded = encoded
        self._prompts_per_call = prompts_per_call
        self._frame = ResizeLongestSide(sam.image_encoder.img_size)

    @torch.inference_mode()
    def predict(self, prompts: Sequence[Prompt], previous_NHW: FloatArray | None) -> MaskCandidates:
        """Three candidates per prompt; the prompts must have equally many points, and all a box or none."""
        answers = []
        for start in range(0, len(prompts), self._prompts_per_call):
            chunk = slice(start, start + self._prompts_per_call)
            answers.append(self._decode(prompts[chunk], None if previous_NHW is None else previous_NHW[chunk]))
        logits, quality = zip(*answers, strict=True)
        return MaskCandidates(torch.cat(logits).cpu().numpy(), torch.cat(quality).cpu().numpy())

    def shown(self, regions: Sequence[Region]) -> FloatArray:
        """Regions of the image as mask prompts, made one after another: a large image may have hundreds."""
        return np.concatenate([self._shown(region) for region in regions])

    def masks(self, logits_NHW: FloatArray) -> Iterator[BoolArray]:
        """The masks at the image's size, upsampled in chunks as they are asked for."""
        for start in range(0, len(logits_NHW), self._prompts_per_call):
            chunk_NHW = logits_NHW[start : start + self._prompts_per_call]
            yield from self._at_image_size(chunk_NHW)

    def _shown(self, region: Region) -> FloatArray:
        mask_HW = torch.zeros(self._encoded.image_size)
        mask_HW[region.window] = torch.from_numpy(region.mask_HW).float()
        small_11HW = F.interpolate(mask_HW[None, None], self._encoded.input_size, mode="bilinear", antialias=True)
        side, (height, width) = self._sam.image_encoder.img_size, self._encoded.input_size
        frame_1HW = F.pad(small_11HW[0], (0, side - width, 0, side - height))
        logits_1HW: FloatArray = mask_prompt(frame_1HW, self._sam.prompt_encoder.mask_input_size).numpy()
        return logits_1HW

    @torch.inference_mode()
    def _at_image_size(self, logits_NHW: FloatArray) -> BoolArray:
        logits_N1HW = torch.from_numpy(logits_NHW)[:, None].to(self._sam.device)
        full_N1HW = self._sam.postprocess_masks(logits_N1HW, self._encoded.input_size, self._encoded.image_size)
        masks_NHW: BoolArray = (full_N1HW[:, 0] > self._sam.mask_threshold).cpu().numpy()
        return masks_NHW

    def _decode(self, prompts: Sequence[Prompt], previous_NHW: FloatArray | None) -> tuple[Tensor, Tensor]:
        points_NPX = self._to_frame([prompt.points_NXY for prompt in prompts])
        foreground_NP = torch.ones(points_NPX.shape[:2], dtype=torch.int, device=self._sam.device)
        boxes = [prompt.box_XYXY for prompt in prompts if prompt.box_XYXY is not None]
        sparse, dense = self._sam.prompt_encoder(
            points=(points_NPX, foreground_NP),
            boxes=self._to_frame([np.reshape(box, (2, 2)) for box in boxes]).flatten(1) if boxes else None,
            masks=None if previous_NHW is None else torch.from_numpy(previous_NHW)[:, None].to(self._sam.device),
        )
        logits_NCHW, quality_NC = self._sam.mask_decoder(
            image_embeddings=self._encoded.features_1CHW,
            image_pe=self._sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        return logits_NCHW, quality_NC

    def _to_frame(self, points: Sequence[NDArray[np.int64]]) -> Tensor:
        """Pixels of the image as float32 pixels of the encoder's frame."""
        moved = self._frame.apply_coords(np.stack(points), self._encoded.image_size)
        return torch.as_tensor(moved, dtype=torch.float32, device=self._sam.device)


class SamRefiner:
    """Refines the pseudo-labels of one image after another with a `Sam` in evaluation mode."""

    def __init__(
        self, sam: Sam, device: torch.device, settings: RefinementSettings, prompts_per_call: int = 32
    ) -> None:
        self._sam = sam.to(device).eval()
        self._settings = settings
        self._prompts_per_call = prompts_per_call

    def refine(
        self,
        image_HWC: NDArray[np.uint8],
        labels_HW: NDArray[np.uint8],
        confidence_HW: FloatArray | None,
        seed: int,
        ignore: int = 255,
    ) -> RefinementResult:
        """Refined labels of one image of any size; one pass of the image encoder.

        Args:
            image_HWC: uint8 RGB in [0, 255].
            labels_HW: uint8 class ids of the same size, `ignore` where there is none.
            confidence_HW: float32 in [0, 1], if the settings need it.
            seed: draws the points.

        Raises ValueError where the sizes differ.
        """
        if image_HWC.shape[:2] != labels_HW.shape:
            raise ValueError(f"the image has size {image_HWC.shape[:2]} (height, width), its labels {labels_HW.shape}")
        [encoded] = self.encode([image_HWC])
        return self.refine_encoded(encoded, labels_HW, confidence_HW, seed, ignore)

    @torch.inference_mode()
    def encode(self, images_HWC: Sequence[NDArray[np.uint8]]) -> list[EncodedImage]:
        """Images of any sizes through the image encoder as one batch."""
        frame = ResizeLongestSide(self._sam.image_encoder.img_size)
        resized = [torch.from_numpy(frame.apply_image(image)).permute(2, 0, 1) for image in images_HWC]
        batch_BCHW = torch.stack([self._sam.preprocess(image.to(self._sam.device)) for image in resized])
        features_BCHW = self._sam.image_encoder(batch_BCHW)
        return [
            EncodedImage(features[None], (small.shape[1], small.shape[2]), (image.shape[0], image.shape[1]))
            for features, small, image in zip(features_BCHW, resized, images_HWC, strict=True)
        ]

    def refine_encoded(
        self,
        encoded: EncodedImage,
        labels_HW: NDArray[np.uint8],
        confidence_HW: FloatArray | None,
        seed: int,
        ignore: int = 255,
    ) -> RefinementResult:
        """As `refine`, for an image that has been through the encoder already."""
        model = SamMaskModel(self._sam, encoded, self._prompts_per_call)
        rng = np.random.default_rng(seed)
        return refine_labels(labels_HW, confidence_HW, model, self._settings, rng, ignore)
