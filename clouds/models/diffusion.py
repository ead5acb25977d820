"""Text to images with any diffusers text-to-image pipeline. It knows no file, no ledger and no stage.

torch and diffusers are imported when a pipeline is loaded, so reading a config stays fast.
"""

from __future__ import annotations

import inspect
import logging
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationInfo, field_validator

from clouds.config import ConfigModel, Neutral, SourceStr
from clouds.errors import CloudsError, InputError, UsageError, nearest
from clouds.models.diffusion_folder import pipeline_class_name, pipeline_folder, pipeline_problem
from clouds.models.hub import shortened
from clouds.models.vocabulary import unknown_words
from clouds.models.weights import is_local, weight_identity

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

_TRUNCATIONS_SAID = 3
_NEEDED_ARGUMENTS = {"prompt", "generator", "num_inference_steps", "output_type"}
# a tokenizer without a window of its own gives an astronomic number
_LONGEST_WINDOW = 100_000
_TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")
_OTHER_TASKS = {"mask_image", "control_image", "num_frames"}

Generated: TypeAlias = npt.NDArray[np.uint8] | InputError
"""An image_HWC (RGB, 0-255), or why this item has none."""


class ImageGenerator(Protocol):
    """Makes one image for each prompt; an image depends on its own prompt and seed, not on its neighbours."""

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Generated]: ...

    def describe(self) -> dict[str, Any]: ...


class DiffusionConfig(ConfigModel):
    """A text-to-image pipeline and how it samples."""

    # weights are told apart by `weight_identity`, not by where they lie
    weights: Neutral[SourceStr]
    """Hub id (`owner/name`) or local folder of a diffusers text-to-image pipeline."""
    revision: Neutral[str | None] = None
    """Branch, tag or commit of a hub id; None is its main branch."""
    variant: str | None = None
    """Which weight files to take where a repository holds several, such as `fp16`."""
    scheduler: str | None = None
    """Class name of a diffusers scheduler, such as `EulerDiscreteScheduler`; None is the pipeline's own."""
    steps: int = Field(50, ge=1)
    """Denoising steps."""
    guidance: float = Field(7.5, ge=0)
    """Classifier-free guidance scale; 1 or less turns it off."""
    height: int | None = Field(None, ge=1)
    """Image height in pixels; None, with `width`, is the model's own size."""
    width: int | None = Field(None, ge=1)
    """Image width in pixels; None, with `height`, is the model's own size."""
    negative_prompt: str | None = None
    """What the images should not show."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Number format; float16, as published, is for GPUs. It changes images by more than rounding."""
    vae_tiling: bool = False
    """Decode large images tile by tile: less memory, faint seams."""
    vae_slicing: Neutral[bool] = False
    """Decode the images of a batch one by one: less memory."""
    attention_slicing: Neutral[bool] = False
    """Compute attention in steps: less memory, slower."""
    channels_last: Neutral[bool] = False
    """Keep convolutions in channels-last layout: faster on most GPUs."""
    compile: Neutral[bool] = False
    """Compile the denoiser: a slow first batch, faster later ones."""

    @field_validator("width")
    @classmethod
    def _size_is_whole(cls, width: int | None, info: ValidationInfo) -> int | None:
        if (width is None) != (info.data.get("height") is None):
            raise ValueError("height and width go together: set both, or neither for the model's own size")
        return width


class DiffusionGenerator:
    """An `ImageGenerator` over a real diffusers pipeline, loaded from disk or downloaded on creation.

    Raises `CloudsError` when the weights are missing, broken, no text-to-image pipeline, or do not fit the config.
    """

    def __init__(self, config: DiffusionConfig, device: torch.device | str) -> None:
        self._config = config
        # everything that can be refused is refused before gigabytes are read
        scheduler = _scheduler_class(config.scheduler) if config.scheduler else None
        folder = pipeline_folder(config.weights, config.revision, config.variant)
        kind = _pipeline_class(folder, config)
        self._arguments = call_arguments(kind, config)
        self.pipeline = _load(kind, folder, config, device)
        """The diffusers pipeline, ready to be called."""
        if scheduler is not None:
            _replace_scheduler(self.pipeline, scheduler)
        self.size = _image_size(self.pipeline, config)
        """(height, width) of its images in pixels; None where only the pipeline knows."""
        _tune(self.pipeline, config)
        self.pipeline.set_progress_bar_config(disable=True)
        logging.getLogger(kind.__module__).addFilter(_not_about_truncation)
        self._truncated: set[str] = set()

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Generated]:
        """One image_HWC (uint8, RGB) for each prompt and seed, as one batch.

        Item i starts from noise drawn on the CPU from seeds[i] alone, so neither the batch nor the device changes it;
        the images agree to rounding. An item the model refused (its safety checker) or spoiled (values that are not
        numbers) is an `InputError` in its place. Raises what torch raises when memory runs out.
        """
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds")
        if not prompts:
            return []
        self.note_truncation(prompts)
        return call_pipeline(self.pipeline, prompts, seeds, self._arguments)

    def unknown_words(self, prompts: Iterable[str]) -> list[str]:
        """The words of prompts that no text encoder of the pipeline knows; see `clouds.models.vocabulary`."""
        named = (getattr(self.pipeline, name, None) for name in _TOKENIZERS)
        return unknown_words([tokenizer for tokenizer in named if tokenizer is not None], prompts)

    def describe(self) -> dict[str, Any]:
        """What provenance names, JSON-ready: the model (id and commit, or folder name), its sampler and its size."""
        config = self._config
        local = is_local(config.weights)
        # loading left a hub id in the cache, where its commit stands
        revision = None if local else weight_identity(config.weights, config.revision, cache=None)["revision"]
        height, width = self.size or (None, None)
        return {
            "model": Path(config.weights).name if local else config.weights,
            "revision": revision,
            "pipeline": type(self.pipeline).__name__,
            "scheduler": type(self.pipeline.scheduler).__name__,
            "steps": config.steps,
            "guidance": config.guidance,
            "negative_prompt": config.negative_prompt,
            "height": height,
            "width": width,
            "dtype": str(self.pipeline.dtype).removeprefix("torch."),
        }

    def note_truncation(self, prompts: Sequence[str]) -> None:
        """Say of the first few such prompts that the text encoder cannot read all of them."""
        tokenizer = getattr(self.pipeline, "tokenizer", None)
        limit = getattr(tokenizer, "model_max_length", None)
        if tokenizer is None or limit is None or limit > _LONGEST_WINDOW:
            return
        for prompt in sorted(set(prompts) - self._truncated):
            if len(self._truncated) >= _TRUNCATIONS_SAID:
                return
            pieces = tokenizer([prompt], truncation=True, max_length=limit, return_overflowing_tokens=True).input_ids
            if len(pieces) > 1:
                self._truncated.add(prompt)
                _log.warning("prompt is cut after %d tokens: %r", limit, prompt)


def _pipeline_class(folder: Path, config: DiffusionConfig) -> Any:
    import diffusers

    name = pipeline_class_name(folder)
    kind = getattr(diffusers, name, None) if name else None
    if kind is None:
        unknown = f"diffusers {diffusers.__version__} has no pipeline {name!r}"
        raise _unloadable(config, pipeline_problem(folder, config.variant) or unknown)
    return kind


def _load(kind: Any, folder: Path, config: DiffusionConfig, device: torch.device | str) -> Any:
    """The pipeline on its device, in evaluation mode, read from safetensors only."""
    import torch

    dtype = getattr(torch, config.dtype)
    try:
        with warnings.catch_warnings():
            # the newer name of this argument is silently dropped by older releases, and float32 loaded instead
            warnings.simplefilter("ignore", FutureWarning)
            pipeline = kind.from_pretrained(folder, torch_dtype=dtype, variant=config.variant, use_safetensors=True)
    except Exception as error:  # each library reports a broken component by a class of its own
        raise _unloadable(config, pipeline_problem(folder, config.variant) or shortened(error)) from error
    return pipeline.to(device)


def _unloadable(config: DiffusionConfig, problem: str) -> CloudsError:
    return CloudsError(
        f"{config.weights} cannot be loaded as a diffusers pipeline: {problem}",
        "give a hub id, or a folder as written by a pipeline's save_pretrained: model_index.json and one folder "
        "per component, weights as .safetensors; if it was copied or downloaded, do that again",
    )


def _scheduler_class(name: str) -> Any:
    import diffusers

    known = [known for known in dir(diffusers) if known.endswith("Scheduler")]
    if name not in known:
        said = f"scheduler = {name!r} is no scheduler of diffusers {diffusers.__version__}"
        raise UsageError(said, nearest(name, known, shown=len(known)))
    return getattr(diffusers, name)


def _replace_scheduler(pipeline: Any, scheduler: Any) -> None:
    """Swap the scheduler, keeping the noise schedule and prediction type the model was trained with."""
    own, asked = type(pipeline.scheduler), scheduler.__name__
    fitting = {own.__name__, *own._compatibles}
    # a scheduler of another family runs without an error and gives noise: refuse it
    if asked not in fitting and own.__name__ not in getattr(scheduler, "_compatibles", []):
        raise UsageError(
            f"scheduler = {asked!r} does not fit this model, made for {own.__name__}",
            f"leave it out, or one of: {', '.join(sorted(fitting))}",
        )
    try:
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    except ImportError as error:
        raise UsageError(f"scheduler = {asked!r}: {shortened(error)}", "install that package") from error


def _image_size(pipeline: Any, config: DiffusionConfig) -> tuple[int, int] | None:
    """(height, width) in pixels as asked for, or as the U-Net was made for; None where only the pipeline knows."""
    cell = getattr(pipeline, "vae_scale_factor", 8)
    if config.height is None or config.width is None:
        unet = getattr(pipeline, "unet", None)
        own = unet.config.sample_size if unet is not None else None
        if own is None:
            return None
        rows, columns = (own, own) if isinstance(own, int) else own
        return rows * cell, columns * cell
    # pipelines over transformers pack latent cells in patches, and say so in one of these two places
    processor = getattr(pipeline, "image_processor", None)
    packed = processor.config.vae_scale_factor if processor is not None else cell
    factor = math.lcm(packed, cell * getattr(pipeline, "patch_size", 1))
    for name, value in (("height", config.height), ("width", config.width)):
        if value % factor:
            near = sorted({max(value // factor, 1) * factor, (value // factor + 1) * factor})
            raise UsageError(
                f"{name} = {value} is not a multiple of {factor}, as this model needs",
                f"nearest: {' or '.join(str(size) for size in near)}",
            )
    return config.height, config.width


def _tune(pipeline: Any, config: DiffusionConfig) -> None:
    """Apply the switches that trade memory and speed; one that the pipeline lacks is left out."""
    denoiser: Any = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    vae: Any = getattr(pipeline, "vae", None)
    if config.vae_tiling and hasattr(vae, "enable_tiling"):
        vae.enable_tiling()
    if config.vae_slicing and hasattr(vae, "enable_slicing"):
        vae.enable_slicing()
    if config.attention_slicing:
        pipeline.enable_attention_slicing()
    if config.channels_last:
        import torch

        for module in filter(None, (denoiser, vae)):
            module.to(memory_format=torch.channels_last)
    if config.compile and denoiser is not None:
        denoiser.compile()


def call_arguments(kind: Any, config: DiffusionConfig) -> dict[str, Any]:
    """The arguments every call shares; raises when the pipeline is for another task or takes no such value."""
    accepted = inspect.signature(kind.__call__).parameters
    if not accepted.keys() >= _NEEDED_ARGUMENTS or _OTHER_TASKS & accepted.keys():
        raise CloudsError(
            f"{config.weights} is a {kind.__name__}, which makes no image from text alone", "give another model"
        )
    asked = {"guidance": "guidance_scale", "height": "height", "width": "width", "negative_prompt": "negative_prompt"}
    arguments: dict[str, Any] = {"num_inference_steps": config.steps}
    for field, argument in asked.items():
        value = getattr(config, field)
        if argument in accepted and value is not None:
            arguments[argument] = value
        elif value is not None and field in config.model_fields_set:
            raise UsageError(f"{field} = {value!r} means nothing to a {kind.__name__}", f"leave {field} out")
    return arguments


def call_pipeline(
    pipeline: Any, prompts: Sequence[str], seeds: Sequence[int], arguments: Mapping[str, Any]
) -> list[Generated]:
    """What a diffusers pipeline makes of a batch, each item from its own seed; `arguments` are its others."""
    import torch

    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    if "negative_prompt" in arguments:
        arguments = {**arguments, "negative_prompt": [arguments["negative_prompt"]] * len(prompts)}
    output = pipeline(prompt=list(prompts), generator=generators, output_type="np", **arguments)
    flagged = getattr(output, "nsfw_content_detected", None) or [False] * len(prompts)
    return [_finished(image, unsafe) for image, unsafe in zip(output.images, flagged, strict=True)]


def _finished(image_HWC: npt.NDArray[np.float32], flagged: bool) -> Generated:
    """One pipeline output in [0, 1] as uint8, or the reason it is none."""
    if flagged:
        return InputError("the model's safety checker withheld the image", "reword the prompt, or change the seed")
    if not np.isfinite(image_HWC).all():
        return InputError("the image holds values that are not numbers", "set dtype to bfloat16 or float32")
    return np.round(image_HWC * 255).astype(np.uint8)


def _not_about_truncation(record: logging.LogRecord) -> bool:
    # the pipeline repeats it in every batch; the generator says it once per prompt
    return "truncated" not in record.getMessage()
