"""Tiny instances of transformers' SAM, SAM-HQ and SAM 2 with random weights, and of MobileSAM, in official formats."""

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from transformers import Sam2Config, Sam2Model, SamConfig, SamHQConfig, SamHQModel, SamModel

_PROMPTS = {"hidden_size": 32, "image_size": 64, "patch_size": 8, "mask_input_channels": 4}
_DECODER = {
    "hidden_size": 32,
    "mlp_dim": 32,
    "num_attention_heads": 4,
    "num_hidden_layers": 1,
    "iou_head_hidden_dim": 16,
}
_VIT = {
    "hidden_size": 16,
    "output_channels": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 8,
    "window_size": 4,
    "global_attn_indexes": [1],
    "num_pos_feats": 16,
    "mlp_dim": 32,
}
_HIERA = {
    "model_type": "sam2_hiera_det_model",
    "hidden_size": 8,
    "num_attention_heads": 1,
    "image_size": [64, 64],
    "blocks_per_stage": [1, 1, 2, 1],
    "embed_dim_per_stage": [8, 16, 32, 64],
    "num_attention_heads_per_stage": [1, 1, 1, 1],
    "window_size_per_stage": [4, 4, 4, 2],
    "global_attention_blocks": [3],
    "window_positional_embedding_background_size": [4, 4],
}


def tiny_transformers_sam(kind):
    """A model of transformers with random weights: `sam`, `sam_hq` or `sam2`."""
    torch.manual_seed(0)
    prompts = {**_PROMPTS, "image_embedding_size": 8}
    if kind == "sam":
        model = SamModel(SamConfig(vision_config=_VIT, prompt_encoder_config=prompts, mask_decoder_config=_DECODER))
    elif kind == "sam_hq":
        decoder = {**_DECODER, "vit_dim": 16}
        model = SamHQModel(SamHQConfig(vision_config=_VIT, prompt_encoder_config=prompts, mask_decoder_config=decoder))
    else:
        vision = {
            "backbone_config": _HIERA,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        }
        prompts = {**_PROMPTS, "patch_size": 16}
        model = Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=_DECODER))
    # as drawn by the class the weights are so small that prompts hardly matter
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def mobile_sam_state(encoder):
    """The encoder's published weights with a decoder for them, as one checkpoint of MobileSAM."""
    torch.manual_seed(0)
    channels = encoder["image_encoder.neck.0.weight"].shape[0]
    grid = (64, 64)
    prompts = PromptEncoder(channels, grid, (1024, 1024), 16)
    decoder = MaskDecoder(
        transformer_dim=channels,
        transformer=TwoWayTransformer(depth=1, embedding_dim=channels, num_heads=8, mlp_dim=32),
    )
    parts = {"prompt_encoder": prompts, "mask_decoder": decoder}
    state = {f"{part}.{name}": t for part, module in parts.items() for name, t in module.state_dict().items()}
    return {**encoder, **state}
