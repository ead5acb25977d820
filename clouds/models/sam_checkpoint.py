"""segment-anything's `Sam`, built to fit a checkpoint: every size is read from the shapes of its own tensors.

So the official ViT-B, ViT-L and ViT-H, any smaller one, and MobileSAM load through the same door. It does not know what
the model is used for.
"""

import pickle
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from clouds.errors import CloudsError
from clouds.models import mobile_sam
from clouds.models.misfits import misfits
from clouds.models.sam_sizes import DECODER_HEADS, SamSizes

OFFICIAL_WEIGHTS = ("sam_vit_b_01ec64.pth", "sam_vit_l_0b3195.pth", "sam_vit_h_4b8939.pth", "mobile_sam.pt")
OFFICIAL_WIDTHS = {768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H"}
"""The official image encoders by their channels."""

_OTHER_FAMILIES = (
    ("mask_decoder.hf_token.weight", "SAM-HQ's own", "syscv-community/sam-hq-vit-base"),
    ("image_encoder.trunk.", "SAM 2's own", "facebook/sam2.1-hiera-large"),
    ("vision_encoder.", "transformers'", "facebook/sam-vit-base"),
)
"""How keys of checkpoints that are no `Sam`'s begin, whose they are, and a hub id where such a model is found."""
_FIRST_GAIN = 3.0
_FIRST_SCALE = 0.3

Shapes = Mapping[str, Sequence[int]]


def sam_sizes(shapes: Shapes) -> SamSizes:
    """The sizes of the `Sam` whose state dict has these tensor shapes. Raises KeyError for the first one it lacks."""
    encoder = "image_encoder."
    encoder_dim, _, patch_size, _ = shapes[f"{encoder}patch_embed.proj.weight"]
    grid_size = shapes[f"{encoder}pos_embed"][1]
    depth = _count(shapes, rf"{encoder}blocks\.(\d+)\.")
    positions = [shapes[f"{encoder}blocks.{block}.attn.rel_pos_h"] for block in range(depth)]
    # relative positions of n tokens along a side are 2n - 1: a block that sees the whole grid is a global one
    spans = [(length + 1) // 2 for length, _ in positions]
    return SamSizes(
        image_size=grid_size * patch_size,
        patch_size=patch_size,
        encoder_dim=encoder_dim,
        encoder_depth=depth,
        encoder_heads=encoder_dim // positions[0][1],
        encoder_mlp_ratio=shapes[f"{encoder}blocks.0.mlp.lin1.weight"][0] / encoder_dim,
        global_blocks=tuple(block for block, span in enumerate(spans) if span == grid_size),
        window_size=_window(spans, grid_size),
        **_decoder_sizes(shapes),
    )


def build_sam(sizes: SamSizes) -> Sam:
    """A `Sam` of these sizes in evaluation mode, its tensors on the `meta` device: shapes without memory."""
    with torch.device("meta"):
        parts = _parts(sizes)
    # outside the block: the pixel mean and spread are no part of a checkpoint and need their values
    return Sam(*parts).eval()


def build_mobile_sam(shapes: Shapes) -> Sam:
    """As `build_sam` a MobileSAM whose published weights have these shapes; its image encoder lies on the CPU."""
    # the encoder's tables of positions are no part of a checkpoint and need their values
    encoder = mobile_sam.build_mobile_encoder(shapes)
    sizes = SamSizes(image_size=mobile_sam.SIDE, patch_size=mobile_sam.STRIDE, **_decoder_sizes(shapes))
    with torch.device("meta"):
        _, prompts, decoder = _parts(sizes)
    return Sam(encoder, prompts, decoder).eval()


def new_sam(sizes: SamSizes, seed: int) -> Sam:
    """A `Sam` of these sizes that has learned nothing, on the CPU; the process's generator stays as it is.

    It is built so that a prompt tells where it is from the start, which a short training would hardly find out: prompts
    and image look for each other by one and the same projection, in which places outweigh what the image shows there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        sam = Sam(*_parts(sizes))
        # the class leaves this one at zero
        nn.init.trunc_normal_(sam.image_encoder.pos_embed, std=0.02)
    with torch.no_grad():
        sam.image_encoder.neck[-1].weight.fill_(_FIRST_SCALE)
        for name, module in sam.mask_decoder.transformer.named_modules():
            if name.endswith(("attn_token_to_image", "attn_image_to_token")):
                module.q_proj.weight.mul_(_FIRST_GAIN)
                module.k_proj.load_state_dict(module.q_proj.state_dict())
    return sam


def save_sam(sam: Sam, path: Path) -> None:
    """Writes the weights under the official key names as half-precision `.safetensors`; see `load_sam`."""
    save_file({name: tensor.detach().cpu().half().contiguous() for name, tensor in sam.state_dict().items()}, path)


def load_sam(path: Path) -> Sam:
    """The `Sam` of a checkpoint (an official `.pth` or a `.safetensors` with the same keys), on the CPU.

    Float32, in evaluation mode, without gradients; its keys tell whether it is a MobileSAM. Raises CloudsError for a
    file that is missing, unreadable or holds something else.
    """
    state = _read(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    mobile = mobile_sam.MARK in shapes
    try:
        sam = build_mobile_sam(shapes) if mobile else build_sam(sam_sizes(shapes))
    except KeyError as error:
        raise _unfit(path, f"it has no {error.args[0]}", shapes) from error
    except (ValueError, IndexError, AssertionError, RuntimeError) as error:
        raise _unfit(path, f"its tensor shapes make no Sam: {error}", shapes) from error
    if mobile:
        renamed = {mobile_sam.our_name(name): tensor for name, tensor in state.items()}
        state = {own: tensor for own, tensor in renamed.items() if own is not None}
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    _check_fit(path, {name: tuple(tensor.shape) for name, tensor in sam.state_dict().items()}, shapes)
    sam.load_state_dict({name: _as_float(tensor) for name, tensor in state.items()}, assign=True)
    return sam.requires_grad_(False)


def _as_float(tensor: Tensor) -> Tensor:
    # a batch norm counts its batches
    return tensor.float() if tensor.is_floating_point() else tensor


def _decoder_sizes(shapes: Shapes) -> dict[str, int]:
    """What `SamSizes` says of prompts and mask decoder, which are alike in every `Sam`."""
    decoder = "mask_decoder."
    masks, prompt_dim = shapes[f"{decoder}mask_tokens.weight"]
    return {
        "prompt_dim": prompt_dim,
        "mask_channels": shapes["prompt_encoder.mask_downscaling.3.weight"][0],
        "decoder_depth": _count(shapes, rf"{decoder}transformer\.layers\.(\d+)\."),
        "decoder_mlp_dim": shapes[f"{decoder}transformer.layers.0.mlp.lin1.weight"][0],
        "masks_per_prompt": masks - 1,
        "quality_depth": _count(shapes, rf"{decoder}iou_prediction_head\.layers\.(\d+)\."),
        "quality_dim": shapes[f"{decoder}iou_prediction_head.layers.0.weight"][0],
    }


def _parts(sizes: SamSizes) -> tuple[ImageEncoderViT, PromptEncoder, MaskDecoder]:
    grid = (sizes.grid_size, sizes.grid_size)
    encoder = ImageEncoderViT(
        img_size=sizes.image_size,
        patch_size=sizes.patch_size,
        embed_dim=sizes.encoder_dim,
        depth=sizes.encoder_depth,
        num_heads=sizes.encoder_heads,
        mlp_ratio=sizes.encoder_mlp_ratio,
        out_chans=sizes.prompt_dim,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=sizes.window_size,
        global_attn_indexes=sizes.global_blocks,
    )
    prompts = PromptEncoder(
        embed_dim=sizes.prompt_dim,
        image_embedding_size=grid,
        input_image_size=(sizes.image_size, sizes.image_size),
        mask_in_chans=sizes.mask_channels,
    )
    decoder = MaskDecoder(
        transformer_dim=sizes.prompt_dim,
        transformer=TwoWayTransformer(
            depth=sizes.decoder_depth,
            embedding_dim=sizes.prompt_dim,
            num_heads=DECODER_HEADS,
            mlp_dim=sizes.decoder_mlp_dim,
        ),
        num_multimask_outputs=sizes.masks_per_prompt,
        iou_head_depth=sizes.quality_depth,
        iou_head_hidden_dim=sizes.quality_dim,
    )
    return encoder, prompts, decoder


def _count(shapes: Shapes, pattern: str) -> int:
    """How many blocks of a kind there are: one more than the highest number at the pattern's group."""
    found = [int(match[1]) for name in shapes if (match := re.match(pattern, name))]
    return max(found, default=-1) + 1


def _window(spans: Sequence[int], grid_size: int) -> int:
    """The one span of the blocks that do not see the whole grid; 0 if all see it."""
    others = sorted(set(spans) - {grid_size})
    if len(others) > 1:
        raise ValueError(f"blocks with windows of several sizes: {others}")
    return others[0] if others else 0


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        names = ", ".join(OFFICIAL_WEIGHTS)
        raise CloudsError(
            f"SAM weights {path}: no such file",
            f"put one of segment-anything's checkpoints there ({names}; its README has the links), or give the path "
            "of the one you have",
        )
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CloudsError(
            f"SAM weights {path} ({path.stat().st_size} bytes) cannot be read: {reason}",
            "the file is damaged or no checkpoint: fetch it again",
        ) from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        # SAM 2's own lie one level down
        state = state["model"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise _unfit(path, "it is not a dictionary of tensors")
    return state


def _check_fit(path: Path, wanted: Shapes, found: Shapes) -> None:
    faults = misfits(wanted, found)
    if faults:
        raise _unfit(path, faults, found)


def _unfit(path: Path, why: str, shapes: Shapes | None = None) -> CloudsError:
    what = f"SAM weights {path} do not fit segment-anything's Sam: {why}"
    for start, whose, hub_id in _OTHER_FAMILIES:
        if any(name.startswith(start) for name in shapes or ()):
            return CloudsError(
                f"{what}; these are {whose} weights",
                f"give the folder or the hub id of such a model in transformers' format, such as {hub_id}",
            )
    width = (shapes or {}).get("image_encoder.patch_embed.proj.weight", (0,))[0]
    size = f"; its image encoder is that of {OFFICIAL_WIDTHS[width]}" if width in OFFICIAL_WIDTHS else ""
    return CloudsError(what + size, f"use one of {', '.join(OFFICIAL_WEIGHTS)}, or another checkpoint with their keys")
