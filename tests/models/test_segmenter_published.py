"""The segmenter computes what the published CLOUDS model computes, on a recording of it with random weights."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from clouds.models.segmenter import build_segmenter
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, SegmenterConfig

ORACLE = Path(__file__).parents[3] / "shared" / "oracle"
RECORDING = ORACLE / "clouds_closed_vocabulary.pth"
HEAD = HeadConfig(
    channels=32,
    queries=12,
    heads=4,
    encoder_layers=2,
    encoder_feedforward=1024,
    decoder_layers=4,
    decoder_feedforward=64,
)
CLIP, PIXELS, QUERIES = "backbone.clip_model.", r"^sem_seg_head\.pixel_decoder\.", r"^sem_seg_head\.predictor\."
LAYER = r"transformer.decoder.layers.\1"
RENAMED = (
    (PIXELS + r"input_proj\.", "pixel_decoder.input_projections."),
    (PIXELS + r"transformer\.(level_embed|encoder)", r"pixel_decoder.\1"),
    (PIXELS + r"mask_features", "pixel_decoder.mask_projection"),
    (PIXELS + r"(adapter|layer)_1\.norm", r"pixel_decoder.\1_1.1"),
    (PIXELS + r"(adapter|layer)_1\.weight", r"pixel_decoder.\1_1.0.weight"),
    (QUERIES + r"transformer_self_attention_layers\.(\d+)\.norm", LAYER + ".self_attn_layer_norm"),
    (QUERIES + r"transformer_self_attention_layers\.(\d+)\.self_attn", LAYER + ".self_attn"),
    (QUERIES + r"transformer_cross_attention_layers\.(\d+)\.norm", LAYER + ".cross_attn_layer_norm"),
    (QUERIES + r"transformer_cross_attention_layers\.(\d+)\.multihead_attn", LAYER + ".cross_attn"),
    (QUERIES + r"transformer_ffn_layers\.(\d+)\.norm", LAYER + ".final_layer_norm"),
    (QUERIES + r"transformer_ffn_layers\.(\d+)", LAYER),
    (QUERIES + r"mask_embed\.layers\.(\d)", r"transformer.decoder.mask_predictor.mask_embedder.\1.0"),
    (QUERIES + r"decoder_norm", "transformer.decoder.layernorm"),
    (QUERIES + r"query_feat", "transformer.queries_features"),
    (QUERIES + r"query_embed", "transformer.queries_embedder"),
    (QUERIES + r"level_embed", "transformer.level_embed"),
    (QUERIES + r"class_embed", "class_predictor"),
    (r"\.norm1\.", ".self_attn_layer_norm."),
    (r"\.norm2\.", ".final_layer_norm."),
    (r"\.linear([12])\.", r".fc\1."),
)


def head_state(published):
    state = {}
    for name, tensor in published.items():
        if not name.startswith("sem_seg_head."):
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        if ".self_attn.in_proj_" in name:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                state[name.replace("in_proj_", f"{letter}_proj.")] = part
        else:
            state[name] = tensor
    return state


@pytest.mark.skipif(not RECORDING.is_file(), reason=f"the recording {RECORDING.name} is not beside this project")
def test_published_weights_give_the_published_output(tmp_path):
    recording = torch.load(RECORDING, weights_only=True)
    clip = {name.removeprefix(CLIP): t for name, t in recording["model"].items() if name.startswith(CLIP)}
    save_file(clip, tmp_path / "open_clip_model.safetensors")
    config = {"model_cfg": json.loads((ORACLE / "open_clip_mini.json").read_text()), "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    segmenter_config = SegmenterConfig(backbone=BackboneConfig(weights=str(tmp_path)), head=HEAD)
    segmenter = build_segmenter(segmenter_config, len(recording["class_names"]), seed=0).eval()
    segmenter.head.load_state_dict(head_state(recording["model"]))

    image = recording["image"][None]
    with torch.no_grad():
        output = segmenter(image)
    torch.testing.assert_close(output.class_logits[-1], recording["pred_logits"], rtol=0, atol=1e-5)
    torch.testing.assert_close(output.mask_logits[-1], recording["pred_masks"], rtol=0, atol=1e-5)
    published = recording["sem_seg"]
    scores = segmenter.predict(image)[0]
    torch.testing.assert_close(scores, published / published.sum(0), rtol=0, atol=1e-5)
    assert torch.equal(scores.argmax(0), published.argmax(0))
