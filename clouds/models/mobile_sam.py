"""MobileSAM's image encoder, rebuilt from the shapes of its published weights. It knows no prompts and no masks.

It is timm's TinyViT behind other names, without classifier, with a last downsampling of stride 1 and with SAM's neck
(ChaoningZhang/MobileSAM, `mobile_sam.pt`). What no tensor tells is the frame: it was made for 1024 pixels.
"""

import re
from collections.abc import Mapping, Sequence
from math import isqrt

from segment_anything.modeling.common import LayerNorm2d
from timm.models.tiny_vit import TinyVit
from torch import Tensor, nn

PREFIX = "image_encoder."
MARK = f"{PREFIX}patch_embed.seq.0.c.weight"
"""The key by which its checkpoints are told from others."""
SIDE = 1024
STRIDE = 16

Shapes = Mapping[str, Sequence[int]]


class MobileEncoder(nn.Module):
    """Images (B, 3, 1024, 1024), normalised as every SAM's, to features (B, C, 64, 64)."""

    img_size = SIDE

    def __init__(self, trunk: TinyVit, width: int, channels: int) -> None:
        super().__init__()
        self.patch_embed, self.stages = trunk.patch_embed, trunk.stages
        self.neck = nn.Sequential(
            nn.Conv2d(width, channels, 1, bias=False),
            LayerNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            LayerNorm2d(channels),
        )

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        features_BCHW: Tensor = self.neck(self.stages(self.patch_embed(frames_BCHW)))
        return features_BCHW


def build_mobile_encoder(shapes: Shapes) -> MobileEncoder:
    """The encoder whose published weights have these shapes. Raises KeyError for the first one it lacks."""
    widths = [shapes[f"{PREFIX}patch_embed.seq.2.c.weight"][0]]
    stages = 1 + max(int(match[1]) for name in shapes if (match := re.match(rf"{PREFIX}layers\.(\d+)\.", name)))
    widths += [shapes[f"{PREFIX}layers.{stage - 1}.downsample.conv1.c.weight"][0] for stage in range(1, stages)]
    biases = [shapes[f"{PREFIX}layers.{stage}.blocks.0.attn.attention_biases"] for stage in range(1, stages)]
    trunk = TinyVit(
        num_classes=0,
        embed_dims=tuple(widths),
        depths=tuple(_depth(shapes, stage) for stage in range(stages)),
        # the first stage is of convolutions: its heads and window are not used
        num_heads=(1, *(heads for heads, _ in biases)),
        window_sizes=(1, *(isqrt(places) for _, places in biases)),
        mlp_ratio=shapes[f"{PREFIX}layers.1.blocks.0.mlp.fc1.weight"][0] / widths[1],
        mbconv_expand_ratio=shapes[f"{PREFIX}layers.0.blocks.0.conv1.c.weight"][0] / widths[0],
        local_conv_size=shapes[f"{PREFIX}layers.1.blocks.0.local_conv.c.weight"][2],
        drop_path_rate=0.0,
    )
    trunk.stages[-1].downsample.conv2.conv.stride = (1, 1)
    return MobileEncoder(trunk, widths[-1], shapes[f"{PREFIX}neck.0.weight"][0])


def our_name(name: str) -> str | None:
    """The name here of a tensor of a published checkpoint; None for one of the classifier, which is unused."""
    if name.startswith((f"{PREFIX}head.", f"{PREFIX}norm_head.")):
        return None
    name = re.sub(rf"^{PREFIX}patch_embed\.seq\.([02])\.", _stem, name)
    # published, a stage ends with the downsampling that the next one begins with here
    name = re.sub(rf"^{PREFIX}layers\.(\d+)\.downsample", _downsampling, name)
    name = re.sub(rf"^{PREFIX}layers\.", f"{PREFIX}stages.", name)
    return re.sub(rf"^({PREFIX}.*)\.c\.weight$", r"\1.conv.weight", name)


def _stem(match: re.Match[str]) -> str:
    return f"{PREFIX}patch_embed.conv{int(match[1]) // 2 + 1}."


def _downsampling(match: re.Match[str]) -> str:
    return f"{PREFIX}stages.{int(match[1]) + 1}.downsample"


def _depth(shapes: Shapes, stage: int) -> int:
    pattern = rf"{PREFIX}layers\.{stage}\.blocks\.(\d+)\."
    return 1 + max(int(match[1]) for name in shapes if (match := re.match(pattern, name)))
