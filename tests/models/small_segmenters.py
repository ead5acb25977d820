"""Segmenters as small as can be on real image towers, with a closed classifier or one that reads names."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from tiny_towers import CLIPS, EMBED_DIM, build_tower

from clouds.data.labels import LabelMap
from clouds.models.segmenter import MaskSegmenter, build_segmenter
from clouds.models.segmenter_config import BackboneConfig, EnsembleConfig, HeadConfig, SegmenterConfig

NAMES = ("road", "sky", "car")
HEAD = HeadConfig(
    channels=32, queries=4, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2, decoder_feedforward=32
)
# open_clip's own tokenizer has so many tokens
READABLE = {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}


def small_segmenter(kind: str, classifier: str, folder: Path) -> MaskSegmenter:
    """On a tower of `tiny_towers`, which is written to a folder; its first prediction is no tie."""
    if classifier == "closed":
        backbone = BackboneConfig(weights=str(build_tower(kind, folder / "tower")), frozen=False)
        return build_segmenter(SegmenterConfig(backbone=backbone, head=HEAD), LabelMap.of(NAMES), seed=0).eval()
    backbone = BackboneConfig(weights=str(_readable_clip(kind, folder / "clip")))
    config = SegmenterConfig(backbone=backbone, head=HEAD, classifier="text", ensemble=EnsembleConfig())
    return build_segmenter(config, LabelMap.of(NAMES), seed=0).eval()


def _readable_clip(kind: str, folder: Path) -> Path:
    """A CLIP in open_clip's format whose text tower takes the tokens of open_clip's tokenizer."""
    model = {"embed_dim": EMBED_DIM, "vision_cfg": CLIPS[kind], "text_cfg": READABLE}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = open_clip.CLIP(**model)
    folder.mkdir(parents=True)
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    tensors = {name: tensor.contiguous() for name, tensor in clip.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors", {"format": "pt"})
    return folder
