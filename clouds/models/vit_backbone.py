"""Vision transformers, open_clip's own and timm's (EVA02, DINOv2, DINOv3), in parts. It knows no head and no weights.

The image is resized so that its patches are H/16 x W/16, whatever the patch (14, 16, 32): patches are read as the tower
learned to, and the four maps have exactly the strides 4, 8, 16 and 32 of the image that came in. Position embeddings
are interpolated to that grid, bicubically and in both directions on their own; rotary ones are computed for it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from clouds.models.image_backbone import Tower
from clouds.models.multiscale_neck import MultiscaleNeck

_GRID_STRIDE = 16
_PUBLISHED_DEPTH, _PUBLISHED_TAPS = 24, (9, 14, 19, 23)
"""VLTSeg (arXiv 2312.02021): the blocks of EVA02-CLIP-L whose tokens it takes, counted from 0."""


def taps(depth: int) -> tuple[int, ...]:
    """The blocks, counted from 0, as deep in a transformer of `depth` blocks as the published ones are in theirs."""
    return tuple(
        max(0, (2 * (tap + 1) * depth + _PUBLISHED_DEPTH) // (2 * _PUBLISHED_DEPTH) - 1) for tap in _PUBLISHED_TAPS
    )


class ClipTokens(nn.Module):
    """open_clip's `VisionTransformer` on images of any size, up to its last block."""

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__()
        self.conv1, self.ln_pre, self.transformer = visual.conv1, visual.ln_pre, visual.transformer
        self.class_embedding, self.positional_embedding = visual.class_embedding, visual.positional_embedding
        self.patch_size, self.grid_size = visual.patch_size, visual.grid_size
        self.taps = taps(len(visual.transformer.resblocks))

    def no_weight_decay(self) -> set[str]:
        return {"class_embedding", "positional_embedding"}

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """The tokens after each tap, as maps at stride 16."""
        patches_BCHW = self.conv1(_on_grid(images_BCHW, self.patch_size))
        grid = patches_BCHW.shape[-2:]
        tokens_BNC = patches_BCHW.flatten(2).transpose(1, 2)
        class_B1C = self.class_embedding.to(tokens_BNC.dtype).expand(tokens_BNC.shape[0], 1, -1)
        positions_1NC = resample_abs_pos_embed(self.positional_embedding[None], list(grid), list(self.grid_size))
        tokens_BNC = torch.cat([class_B1C, tokens_BNC], dim=1) + positions_1NC.to(tokens_BNC.dtype)
        found = sorted(set(self.taps))
        _, tapped = self.transformer.forward_intermediates(self.ln_pre(tokens_BNC), indices=found)
        maps = [tokens_BNC[:, 1:].transpose(1, 2).unflatten(2, grid) for tokens_BNC in tapped]
        return [maps[found.index(tap)] for tap in self.taps]


class TimmTokens(nn.Module):
    """A transformer of timm that takes images of any size, up to its last block."""

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        [patch] = {stage["reduction"] for stage in trunk.feature_info}
        self.patch_size = (patch, patch)
        self.taps = taps(len(trunk.blocks))
        trunk.prune_intermediate_layers(sorted(set(self.taps)), prune_norm=True, prune_head=True)
        self.trunk = trunk

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """The tokens after each tap, as maps at stride 16."""
        found = sorted(set(self.taps))
        images_BCHW = _on_grid(images_BCHW, self.patch_size)
        maps: list[Tensor] = self.trunk.forward_intermediates(images_BCHW, indices=found, intermediates_only=True)
        return [maps[found.index(tap)] for tap in self.taps]


class ClipTokenProjection(nn.Module):
    """The head of open_clip's `VisionTransformer` on single vectors: its last norm and its projection."""

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__()
        self.attn_pool, self.ln_post, self.proj = visual.attn_pool, visual.ln_post, visual.proj

    def forward(self, vectors_NC: Tensor) -> Tensor:
        """Projected vectors (N, E); an attention pool sees each vector as an image of one token."""
        if self.attn_pool is not None:
            vectors_NC = self.attn_pool(vectors_NC[:, None])[:, 0]
        embedded_NE: Tensor = self.ln_post(vectors_NC) @ self.proj
        return embedded_NE


class TimmTokenProjection(nn.Module):
    """The head of an open_clip model with a transformer of timm, on single vectors."""

    def __init__(self, visual: TimmModel) -> None:
        super().__init__()
        trunk = visual.trunk
        self.norm, self.attn_pool, self.fc_norm = trunk.norm, trunk.attn_pool, trunk.fc_norm
        self.trunk_head, self.head = trunk.head, visual.head

    def forward(self, vectors_NC: Tensor) -> Tensor:
        """Projected vectors (N, E); an attention pool sees each vector as an image of one token."""
        vectors_NC = self.norm(vectors_NC)
        if self.attn_pool is not None:
            vectors_NC = self.attn_pool(vectors_NC[:, None])
        embedded_NE: Tensor = self.head(self.trunk_head(self.fc_norm(vectors_NC)))
        return embedded_NE


def clip_vit_tower(visual: VisionTransformer, projection_dim: int | None) -> Tower:
    """The tower of open_clip's own vision transformer.

    `projection_dim` is the length of CLIP's vectors where the projection is wanted.
    """
    projection = ClipTokenProjection(visual) if projection_dim else None
    return _with_neck(ClipTokens(visual), visual.conv1.out_channels, projection, projection_dim)


def timm_vit_tower(trunk: Any, projection: nn.Module | None = None, projection_dim: int | None = None) -> Tower:
    """The tower of a transformer of timm; its norm and head are taken off."""
    return _with_neck(TimmTokens(trunk), trunk.feature_info[0]["num_chs"], projection, projection_dim)


def _with_neck(tokens: nn.Module, width: int, projection: nn.Module | None, projection_dim: int | None) -> Tower:
    return Tower(
        parts={"tower": tokens},
        channels=(width, width, width, width),
        neck=MultiscaleNeck(width),
        projection=projection,
        embedding_dim=projection_dim,
    )


def _on_grid(images_BCHW: Tensor, patch: tuple[int, int]) -> Tensor:
    """The images, resized so that there is one patch for each 16 x 16 pixels."""
    height, width = (side // _GRID_STRIDE * own for side, own in zip(images_BCHW.shape[-2:], patch, strict=True))
    if (height, width) == tuple(images_BCHW.shape[-2:]):
        return images_BCHW
    return F.interpolate(images_BCHW, (height, width), mode="bicubic", align_corners=False, antialias=True)
