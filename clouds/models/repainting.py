"""Images painted anew with any diffusers pipeline: another look on the same layout. It knows no label and no stage.

Source: Meng et al. 2022, "SDEdit": an image is noised part of the way and denoised under a prompt.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clouds.errors import CloudsError
from clouds.models.diffusion import DiffusionConfig, DiffusionGenerator, Generated, call_arguments, call_pipeline

if TYPE_CHECKING:
    import torch


class DiffusionRepainter:
    """Repaints images with the image-to-image pipeline that belongs to a text-to-image pipeline's weights.

    `strength` in (0, 1]: how much noise an image begins with, and the share of the sampler's steps that are taken.
    Raises `CloudsError` as `DiffusionGenerator` does, and where diffusers has no such pipeline for these weights.
    """

    def __init__(self, config: DiffusionConfig, device: torch.device | str, strength: float) -> None:
        self._generator = DiffusionGenerator(config, device)
        self._pipeline = _image_to_image(self._generator.pipeline, config)
        # the size of the result is the image's own, which `repaint` sees to
        sizeless = config.model_copy(update={"height": None, "width": None})
        self._arguments = {**call_arguments(type(self._pipeline), sizeless), "strength": strength}
        if self._generator.size and "height" in inspect.signature(type(self._pipeline).__call__).parameters:
            self._arguments["height"], self._arguments["width"] = self._generator.size
        self._pipeline.set_progress_bar_config(disable=True)

    def repaint(
        self, images_HWC: Sequence[NDArray[np.uint8]], prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[Generated]:
        """Each image (uint8, RGB) as its prompt says, at the generator's size; else at its own, rounded as it must.

        As with `DiffusionGenerator.generate`, an item depends on its own image, prompt and seed alone, and one that
        the model refused or spoiled is an `InputError` in its place.
        """
        if not len(images_HWC) == len(prompts) == len(seeds):
            raise ValueError(f"{len(images_HWC)} images, {len(prompts)} prompts and {len(seeds)} seeds")
        if not prompts:
            return []
        if len({image_HWC.shape for image_HWC in images_HWC}) > 1 and self._generator.size is None:
            each = zip(images_HWC, prompts, seeds, strict=True)
            return [self.repaint([image_HWC], [prompt], [seed])[0] for image_HWC, prompt, seed in each]
        self._generator.note_truncation(prompts)
        canvases = [self._canvas(image_HWC) for image_HWC in images_HWC]
        return call_pipeline(self._pipeline, prompts, seeds, {**self._arguments, "image": canvases})

    def unknown_words(self, prompts: Iterable[str]) -> list[str]:
        """As the generator's."""
        return self._generator.unknown_words(prompts)

    def describe(self) -> dict[str, Any]:
        """What provenance names: as the generator's, with the pipeline that repaints."""
        own = {"pipeline": type(self._pipeline).__name__, "strength": self._arguments["strength"]}
        return {**self._generator.describe(), **own}

    def _canvas(self, image_HWC: NDArray[np.uint8]) -> Image.Image:
        image = Image.fromarray(image_HWC)
        if self._generator.size is None:
            return image
        height, width = self._generator.size
        return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def _image_to_image(pipeline: Any, config: DiffusionConfig) -> Any:
    from diffusers import AutoPipelineForImage2Image

    unet = getattr(pipeline, "unet", None)
    if unet is not None and not isinstance(unet.config.sample_size, int | None):
        # this pipeline compares the number with 64; (height, width), as for images that are not square, it cannot
        unet.register_to_config(sample_size=max(unet.config.sample_size))
    try:
        return AutoPipelineForImage2Image.from_pipe(pipeline)
    except ValueError as error:
        raise CloudsError(
            f"{config.weights} is a {type(pipeline).__name__}, for which diffusers has no image-to-image pipeline",
            "give the weights of another model, or set `repaint` to null",
        ) from error
