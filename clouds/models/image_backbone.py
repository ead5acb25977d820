"""An image tower behind `Backbone`: what every kind of tower shares. It builds no tower and reads no file.

What the shared rules are: a fixed tower stays in evaluation mode; a neck always learns; CLIP's own projection never
does. Batch norms use the statistics they came with, trained or not: statistics of a batch would make the result depend
on how many images go through at a time and on the number of processes. Nothing inside draws from the process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from clouds.models.segmenter_config import BackboneConfig
from clouds.models.stochastic_depth import StochasticDepth

STRIDES = (4, 8, 16, 32)
_ADAPTER = ".lora_"
_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_DROPOUT = nn.modules.dropout._DropoutNd


@dataclass(frozen=True, kw_only=True)
class Tower:
    """An image tower in parts: normalised images go through them one after another.

    The last part gives four maps, at `STRIDES` and with `channels`, or else what the `neck` makes these of. The
    `projection` takes vectors (N, C), pooled from the tower's last map, to the `embedding_dim` of CLIP's texts.
    """

    parts: Mapping[str, nn.Module]
    channels: tuple[int, int, int, int]
    neck: nn.Module | None = None
    projection: nn.Module | None = None
    embedding_dim: int | None = None


class ImageBackbone(nn.Module):
    """A tower that can be fixed; see `clouds.models.backbones.Backbone`."""

    mean: Tensor
    std: Tensor
    strides = STRIDES

    def __init__(self, tower: Tower, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.channels, self.embedding_dim = tower.channels, tower.embedding_dim
        self.architecture = architecture
        self.base: BackboneConfig | None = None
        self._parts = tuple(tower.parts)
        for name, part in tower.parts.items():
            self.add_module(name, part)
        self.neck, self.projection = tower.neck, tower.projection
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(architecture[name]).view(1, -1, 1, 1), persistent=False)
        self._constants = {name for name, parameter in self.named_parameters() if not parameter.requires_grad}
        self._silence()
        self._depth = StochasticDepth(self, architecture.get("drop_path", 0.0))
        self._held = False
        self.freeze(False)

    @property
    def frozen(self) -> bool:
        return self._frozen

    @property
    def parts(self) -> list[nn.Module]:
        """The modules of the tower itself."""
        return [self.get_submodule(name) for name in self._parts]

    def freeze(self, frozen: bool) -> None:
        """Fix the tower's own weights, and keep its evaluation mode whatever `train` says; or undo both.

        A neck and adapters learn all the same, the projection and constants never do.
        """
        self._frozen = frozen
        for name, parameter in self.named_parameters():
            learns = name.startswith("neck.") or _ADAPTER in name or not frozen
            parameter.requires_grad_(learns and name not in self._constants and not name.startswith("projection."))
        self.train(self.training)

    def hold(self, held: bool) -> None:
        """Keep gradients from the tower's own weights until this is undone; `train` says when its mode follows.

        Unlike frozen ones, weights that are held remain among what is trained and what a checkpoint holds.
        """
        self._held = held

    def train(self, mode: bool = True) -> "ImageBackbone":
        super().train(mode and not self._frozen and not self._held)
        if self.neck is not None:
            self.neck.train(mode)
        if self.projection is not None:
            self.projection.eval()
        for module in self.modules():
            if isinstance(module, _BATCH_NORM):
                module.eval()
        return self

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Feature maps at `strides` of normalised float images whose sides are multiples of the largest stride."""
        features: Any = images_BCHW
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._tower_learns()):
            for part in self.parts:
                features = part(features)
        maps: list[Tensor] = features if self.neck is None else self.neck(features)
        return maps

    def embed(self, pooled_BQC: Tensor) -> Tensor:
        """Vectors (B, Q, E) in the space of CLIP's texts, of vectors pooled from the tower's last own map.

        Raises `ValueError` where the projection was not kept.
        """
        if self.projection is None:
            raise ValueError("this backbone has no CLIP projection: load it with keep_projection=True")
        embedded_NE: Tensor = self.projection(pooled_BQC.flatten(0, 1))
        return embedded_NE.unflatten(0, pooled_BQC.shape[:2])

    def seed_items(self, seeds: Sequence[int]) -> None:
        """Draw what the next forward pass leaves out of each image, from the image's seed. No drop path: no effect."""
        self._depth.seed_items(seeds)

    def checkpoint_activations(self, on: bool) -> None:
        """Keep fewer activations for the backward pass and compute them again in it; results stay the same."""
        module: Any
        for module in self.modules():
            if hasattr(module, "grad_checkpointing"):
                module.grad_checkpointing = on

    def embeddings(self) -> set[nn.Parameter]:
        """Parameters that stand for positions and special tokens, which weight decay leaves alone."""
        found = set()
        for module in self.modules():
            own = dict(module.named_parameters())
            # timm's and open_clip's own list; it may name what this instance has not
            found |= {own[name] for name in getattr(module, "no_weight_decay", set)() if name in own}
        return found

    def _tower_learns(self) -> bool:
        return not (self._frozen or self._held) or "lora" in self.architecture

    def _silence(self) -> None:
        """Nothing draws from the process: a resumed run could not repeat it."""
        module: Any
        for module in self.modules():
            if isinstance(module, DropPath):
                module.drop_prob = 0.0
            elif isinstance(module, _DROPOUT):
                module.p = 0.0
            elif hasattr(module, "aug_active"):
                # rotary embeddings that shift their coordinates at random in training
                module.aug_active = False
