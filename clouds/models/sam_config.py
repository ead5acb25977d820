"""The config of the mask model that refines. It imports no model library, so a plan reads it fast."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from clouds.config import ConfigModel, Neutral, SourceStr, absolute_path
from clouds.ops.refinement_settings import RefinementSettings

if TYPE_CHECKING:
    import torch

    from clouds.models.sam import SamRefiner

_FILES = (".pth", ".pt", ".safetensors")


def _path_if_named_as_a_file(value: Any) -> Any:
    """A checkpoint's name is a path, however it begins: no hub id ends like that."""
    if isinstance(value, Path):
        return str(value)
    return str(absolute_path(value)) if isinstance(value, str) and value.endswith(_FILES) else value


class SamConfig(ConfigModel):
    """Which segment-anything model refines, and how much it does at once."""

    weights: Neutral[Annotated[SourceStr, BeforeValidator(_path_if_named_as_a_file)]]
    """An official checkpoint (sam_vit_b_01ec64.pth, mobile_sam.pt, ...) or a .safetensors file with the same keys; or a
    SAM, SAM-HQ or SAM 2 of transformers by hub id or folder."""
    revision: Neutral[str | None] = None
    """Branch, tag or commit of a hub id."""
    prompts_per_call: Neutral[int] = Field(default=32, ge=1)
    """Components decoded at once, of one image or of several: the more, the faster, until memory ends."""
    compile: Neutral[bool] = False
    """Whether the image encoder is compiled: worth it for thousands of images on a GPU; the first batch waits."""
    features: Literal["float16", "float32"] = "float16"
    """What an encoded image is rounded to before it is asked anything, whether it is then kept or not."""
    cache: Neutral[bool] = True
    """Whether encoded images are kept in the run's folder where more than one round needs them."""
    cache_gb: Neutral[Annotated[float, Field(gt=0)]] = 20.0
    """Gigabytes they may take; what does not fit is encoded again in each round."""

    def build(self, device: "torch.device", settings: RefinementSettings) -> "SamRefiner":
        """The refiner with its weights loaded onto the device. Raises CloudsError for weights that do not load."""
        import torch

        from clouds.models.sam import SamRefiner
        from clouds.models.sam_source import load_promptable

        model = load_promptable(self.weights, self.revision, device)
        if self.compile:
            model.compile()
        return SamRefiner(model, settings, self.prompts_per_call, getattr(torch, self.features))
