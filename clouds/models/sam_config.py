"""The config of the mask model that refines. It imports no model library, so a plan reads it fast."""

from typing import TYPE_CHECKING

from pydantic import Field

from clouds.config import ConfigModel, ConfigPath, Neutral
from clouds.ops.refinement import RefinementSettings

if TYPE_CHECKING:
    import torch

    from clouds.models.sam import SamRefiner


class SamConfig(ConfigModel):
    """Which segment-anything model refines, and how much it does at once."""

    weights: Neutral[ConfigPath]
    """An official checkpoint (sam_vit_b_01ec64.pth, ...) or a .safetensors file with the same keys."""
    prompts_per_call: Neutral[int] = Field(default=32, ge=1)
    """Components decoded at once: the more, the faster, until memory ends."""

    def build(self, device: "torch.device", settings: RefinementSettings) -> "SamRefiner":
        """The refiner with its weights loaded onto the device. Raises CloudsError for weights that do not load."""
        from clouds.models.sam import SamRefiner
        from clouds.models.sam_checkpoint import load_sam

        return SamRefiner(load_sam(self.weights), device, settings, self.prompts_per_call)
