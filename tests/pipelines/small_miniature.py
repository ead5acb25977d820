"""The making of a miniature that is as small as it can be with the real classes: two steps of each training."""

from pathlib import Path
from typing import Any

STAGES = (
    "corpus",
    "autoencoder",
    "latents",
    "denoiser",
    "clip",
    "sam-encoder",
    "sam",
    "heldout",
    "judge",
    "samples",
    "appraise-autoencoder",
    "appraise-clip",
    "appraise-sam",
    "appraise-generator",
    "package",
)

SIZE = {"height": 32, "width": 64}


def miniature_config(run_dir: Path) -> dict[str, Any]:
    """The config as a tree."""
    training = {"steps": 2, "batch_size": 4, "checkpoint_every": 1, "optimizer": {"lr": 1e-3, "clip_norm": 1.0}}
    head = {"channels": 32, "queries": 12, "heads": 4, "encoder_layers": 1, "encoder_feedforward": 32}
    return {
        "name": "small-miniature",
        "pipeline": "pretrain_miniature",
        "run_dir": str(run_dir),
        "shard_items": 16,
        "max_failures": 0,
        "runtime": {"device": "cpu"},
        "corpus": {"count": 24, **SIZE},
        "diffusion": {
            **SIZE,
            "autoencoder": {"channels": [8, 16], "groups": 4},
            "denoiser": {"channels": [16, 32], "attends": [False, True], "heads": 2, "groups": 4},
            "text": {"width": 16, "hidden": 32, "layers": 1, "heads": 2, "context": 48},
        },
        "autoencoder": training,
        "denoiser": {**training, "ema": 0.9},
        "clip": {
            **training,
            "sizes": {
                "trunk": "test_convnext",
                **SIZE,
                "embed_dim": 16,
                "text": {"width": 16, "layers": 1, "heads": 2, "context": 48},
            },
        },
        "sam_encoder": training,
        "sam": {
            **training,
            "frame": {"masks": 2},
            "prompts": {"rounds": 2},
            "sizes": {
                "image_size": 64,
                "encoder_dim": 16,
                "encoder_depth": 1,
                "encoder_heads": 2,
                "global_blocks": [0],
                "prompt_dim": 16,
                "mask_channels": 4,
                "decoder_mlp_dim": 16,
                "quality_dim": 16,
            },
        },
        "heldout": {"first": 1000, "count": 9, **SIZE},
        "data": {
            "classes": "street11",
            "sets": {"web": {"type": "world", "domain": "web", "first": 2000, "count": 6, **SIZE}},
        },
        "judge": {
            **training,
            "data": {"web": 1.0},
            "loss": {"num_points": 64},
            "augment": {"crop": [32, 64]},
            "segmenter": {
                "backbone": {"weights": "test_convnext", "frozen": False},
                "head": {**head, "decoder_layers": 2, "decoder_feedforward": 32},
            },
        },
        "samples": {"count": 5, "steps": 2, "guidance": 2.0, "batch_size": 2},
        "appraisal": {
            "autoencoder": {"count": 4},
            "clip": {"count": 3},
            "sam": {"count": 2},
            "generator": {"columns": 2, "prompts": ["a street at night", "a street in fog with two cars"]},
        },
    }
