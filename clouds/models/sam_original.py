"""segment-anything's `Sam`, MobileSAM among them, as a `PromptableModel`. It does not know where its weights lie."""

import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn

from clouds.models.sam_checkpoint import OFFICIAL_WIDTHS
from clouds.models.sam_frame import Frame
from clouds.models.sam_promptable import PromptBatch


class OriginalSam:
    """A `Sam` of any size on a device; it is put into evaluation mode, and its decoder computes attention fused."""

    def __init__(self, sam: Sam, device: torch.device) -> None:
        self._sam = sam.to(device).eval()
        for module in list(sam.mask_decoder.modules()):
            for name, part in list(module.named_children()):
                if isinstance(part, Attention):
                    setattr(module, name, _FusedAttention(part))
        self.frame = Frame(int(sam.image_encoder.img_size))

    @property
    def name(self) -> str:
        return sam_name(self._sam)

    @property
    def cells(self) -> tuple[int, int]:
        height, width = self._sam.prompt_encoder.mask_input_size
        return height, width

    @property
    def device(self) -> torch.device:
        return torch.device(self._sam.device)

    def compile(self) -> None:
        self._sam.image_encoder.compile()

    def encode(self, pixels_BCHW: Tensor) -> tuple[Tensor, ...]:
        return (self._sam.image_encoder(pixels_BCHW),)

    def decode(self, features: tuple[Tensor, ...], prompts: PromptBatch) -> tuple[Tensor, Tensor]:
        shown = prompts.shown_NHW
        sparse_NPC, dense_NCHW = self._sam.prompt_encoder(
            points=(prompts.points_NPX, prompts.kinds_NP),
            boxes=prompts.boxes_NX,
            masks=None if shown is None else shown[:, None],
        )
        position_1CHW = self._sam.prompt_encoder.get_dense_pe()
        # the decoder takes one image and adds each prompt's dense part to it; so the images come in with that part,
        # and prompts about several images share a call
        logits_NCHW, quality_NC = self._sam.mask_decoder.predict_masks(
            image_embeddings=torch.zeros_like(position_1CHW),
            image_pe=position_1CHW,
            sparse_prompt_embeddings=sparse_NPC,
            dense_prompt_embeddings=features[0] + dense_NCHW,
        )
        # the first is the single mask, meant for prompts that leave no doubt
        return logits_NCHW[:, 1:], quality_NC[:, 1:]


class _FusedAttention(nn.Module):
    """The decoder's attention with its weights and their names, fused into one call."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.q_proj, self.k_proj, self.v_proj = attention.q_proj, attention.k_proj, attention.v_proj
        self.out_proj = attention.out_proj
        self.train(attention.training)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads = [
            projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projected in (self.q_proj(q), self.k_proj(k), self.v_proj(v))
        ]
        attended_NTC: Tensor = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        projected_NTC: Tensor = self.out_proj(attended_NTC)
        return projected_NTC


def sam_name(sam: Sam) -> str:
    """Which `Sam` it is, by the sizes of its image encoder."""
    encoder = sam.image_encoder
    width = encoder.pos_embed.shape[-1] if hasattr(encoder, "pos_embed") else None
    kind = "MobileSAM" if width is None else f"SAM {OFFICIAL_WIDTHS.get(width, f'of width {width}')}"
    return f"{kind}, frame {encoder.img_size}"
