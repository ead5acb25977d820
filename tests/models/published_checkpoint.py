"""Checkpoints as CLOUDS publishes them, made from our own models: the way back from what `clouds convert` does.

The names here are written down from the published code, not derived from the table that is tested with them.
"""

import re

import open_clip
import torch

from clouds.data.labels import LabelMap
from clouds.models.backbones import clip_backbone
from clouds.models.clip_builder import Clip
from clouds.models.segmenter import MaskSegmenter
from clouds.models.segmenter_config import EnsembleConfig, HeadConfig, TextConfig
from clouds.models.text_tower import naming_of

HEAD = HeadConfig(
    channels=32, queries=6, heads=4, encoder_layers=2, encoder_feedforward=48, decoder_layers=4, decoder_feedforward=40
)
CLASSES = LabelMap.of(["road", "sky", "car"])
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
_PIXELS, _QUERIES = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
_LAYERS = r"^transformer\.decoder\.layers\.(\d+)\."
_WAY_BACK = (
    (r"^pixel_decoder\.input_projections\.", _PIXELS + "input_proj."),
    (r"^pixel_decoder\.mask_projection\.", _PIXELS + "mask_features."),
    (r"^pixel_decoder\.(adapter|layer)_1\.0\.", _PIXELS + r"\1_1."),
    (r"^pixel_decoder\.(adapter|layer)_1\.1\.", _PIXELS + r"\1_1.norm."),
    (r"^pixel_decoder\.level_embed", _PIXELS + "transformer.level_embed"),
    (r"^pixel_decoder\.(encoder\.layers\.\d+)\.self_attn_layer_norm", _PIXELS + r"transformer.\1.norm1"),
    (r"^pixel_decoder\.(encoder\.layers\.\d+)\.final_layer_norm", _PIXELS + r"transformer.\1.norm2"),
    (r"^pixel_decoder\.(encoder\.layers\.\d+)\.fc(\d)", _PIXELS + r"transformer.\1.linear\2"),
    (r"^pixel_decoder\.encoder", _PIXELS + "transformer.encoder"),
    (_LAYERS + "cross_attn_layer_norm", _QUERIES + r"transformer_cross_attention_layers.\1.norm"),
    (_LAYERS + "cross_attn", _QUERIES + r"transformer_cross_attention_layers.\1.multihead_attn"),
    (_LAYERS + "self_attn_layer_norm", _QUERIES + r"transformer_self_attention_layers.\1.norm"),
    (_LAYERS + "self_attn", _QUERIES + r"transformer_self_attention_layers.\1.self_attn"),
    (_LAYERS + "final_layer_norm", _QUERIES + r"transformer_ffn_layers.\1.norm"),
    (_LAYERS + r"fc(\d)", _QUERIES + r"transformer_ffn_layers.\1.linear\2"),
    (r"^transformer\.decoder\.layernorm", _QUERIES + "decoder_norm"),
    (r"^transformer\.decoder\.mask_predictor\.mask_embedder\.(\d)\.0", _QUERIES + r"mask_embed.layers.\1"),
    (r"^transformer\.queries_features", _QUERIES + "query_feat"),
    (r"^transformer\.queries_embedder", _QUERIES + "query_embed"),
    (r"^transformer\.level_embed", _QUERIES + "level_embed"),
    (r"^class_predictor\.pooled_projection", _QUERIES + "_mask_pooling_proj"),
    (r"^class_predictor\.embedder\.0", _QUERIES + "class_embed.layers.0"),
    (r"^class_predictor\.embedder\.2", _QUERIES + "class_embed.layers.1"),
    (r"^class_predictor\.embedder\.4", _QUERIES + "class_embed.layers.2"),
    (r"^class_predictor\.log_scale", _QUERIES + "logit_scale"),
    (r"^class_predictor\.no_object", "void_embedding"),
    (r"^class_predictor", _QUERIES + "class_embed"),
)


def clip_config(family):
    """open_clip's description of a tiny CLIP whose image tower is a `convnext` or a `resnet`."""
    if family == "convnext":
        vision = {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear", "image_size": 64}
    else:
        vision = {"layers": [1, 1, 2, 1], "width": 8, "image_size": 64, "patch_size": None}
    return {"embed_dim": 24, "vision_cfg": vision, "text_cfg": TEXT}


def small_clip(config, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith(".gamma"):
            parameter.data.fill_(0.1)
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    return Clip(model, None, {"model_cfg": config, "preprocess_cfg": preprocess})


def small_segmenter(config, *, text, ensemble=False, seed=0):
    """A segmenter with random weights, and all tensors of the CLIP under it by open_clip's names."""
    clip = small_clip(config, seed)
    tensors = {name: tensor.clone() for name, tensor in clip.model.state_dict().items()}
    backbone = clip_backbone(clip.model.visual, config, clip.config["preprocess_cfg"], keep_projection=ensemble)
    backbone.freeze(True)
    exponents = EnsembleConfig() if ensemble else None
    naming = naming_of(clip, CLASSES, TextConfig(), text, exponents) if text or ensemble else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MaskSegmenter(backbone, HEAD, CLASSES.num_classes, naming).eval()
    return model, tensors


def published_state(model, clip):
    """The checkpoint's `model`: CLIP, head, the void vector, and what only its training used."""
    state = {f"backbone.clip_model.{name}": tensor for name, tensor in clip.items()}
    head = model.head.state_dict()
    state["void_embedding.weight"] = torch.zeros(1, len(clip["text_projection"].T))
    state["criterion.empty_weight"] = torch.ones(CLASSES.num_classes + 1)
    for name, tensor in head.items():
        found = re.fullmatch(r"(.*\.self_attn\.)q_proj\.(weight|bias)", name)
        if found:
            packed = [head[f"{found[1]}{letter}_proj.{found[2]}"] for letter in "qkv"]
            state[_published(f"{found[1]}in_proj_{found[2]}")] = torch.cat(packed)
        elif not re.search(r"self_attn\.[kv]_proj\.", name):
            state[_published(name)] = tensor
    return state


def _published(name):
    for pattern, published in _WAY_BACK:
        changed, count = re.subn(pattern, published, name)
        if count:
            return changed
    raise AssertionError(name)
