"""CLIP models of any size from open_clip's real classes, written as its own loaders read them. It trains nothing.

Architectures: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision"; Liu et al.
2022, "A ConvNet for the 2020s".
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.loss import ClipLoss
from safetensors.torch import save_file
from torch import Tensor

from clouds.errors import UsageError
from clouds.models.clip_sizes import ClipSizes
from clouds.models.word_tokenizer import word_tokenizer

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"

_PUBLISHED_VOCABULARY = 49408
_LAYER_SCALE = 0.1


@dataclass(frozen=True)
class Clip:
    """A CLIP with what belongs to it; `words` is its own tokenizer, None where it has open_clip's published one."""

    model: open_clip.CLIP
    words: "CLIPTokenizer | None"
    config: dict[str, Any]
    """The content of open_clip's config file: `model_cfg`, `preprocess_cfg`."""

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """int64 (B, L): captions as `encode_text` reads them, cut to the context or padded."""
        length = self.config["model_cfg"]["text_cfg"]["context_length"]
        if self.words is None:
            published: Tensor = open_clip.tokenize(list(captions), context_length=length)
            return published
        options: dict[str, Any] = {"max_length": length, "padding": "max_length", "truncation": True}
        ids: Tensor = self.words(list(captions), return_tensors="pt", **options).input_ids
        return ids

    def normalise(self, images_BCHW: Tensor) -> Tensor:
        """Float images as `encode_image` reads them, from uint8."""
        preprocess = self.config["preprocess_cfg"]
        mean, std = (torch.tensor(preprocess[key], device=images_BCHW.device) for key in ("mean", "std"))
        return (images_BCHW / 255 - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)

    def images(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """Vectors (B, D) of uint8 pictures of the model's own size."""
        images_BCHW = torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).to(self.model.logit_scale.device)
        features_BD: Tensor = self.model.encode_image(self.normalise(images_BCHW))
        return features_BD

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors (B, D) of texts."""
        features_BD: Tensor = self.model.encode_text(self.tokens(texts).to(self.model.logit_scale.device))
        return features_BD

    def loss(self, rank: int, processes: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """The contrastive loss of image features, text features and scale, over the examples of all processes."""
        loss: ClipLoss = ClipLoss(gather_with_grad=True, rank=rank, world_size=processes)
        return loss

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write a folder that `open_clip.create_model("local-dir:FOLDER")` opens, its tokenizer included.

        `dtype` is that of the file; loaders give float32 all the same.
        """
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().to(dtype) for name, tensor in self.model.state_dict().items()}
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS_FILE, {"format": "pt"}
        )
        (folder / CONFIG_FILE).write_text(json.dumps(self.config, indent=2) + "\n", encoding="utf-8")
        if self.words is not None:
            self.words.save_pretrained(folder)


def build_clip(sizes: ClipSizes, words: Sequence[str] | None, seed: int) -> Clip:
    """A float32 CLIP on the CPU that has learned nothing; the global random state is left as it was.

    It knows each of `words` as one token; None gives it open_clip's published tokenizer, with 49408 tokens. Raises
    `UsageError` for a trunk that timm does not know.
    """
    tokenizer = word_tokenizer(words, sizes.text.context) if words is not None else None
    config = _config(sizes, len(tokenizer) if tokenizer is not None else None)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            model = open_clip.CLIP(**config["model_cfg"])
        except RuntimeError as error:
            raise UsageError(f"trunk = {sizes.trunk!r}: {error}", "give the name of one of timm's ConvNeXts") from error
    for name, parameter in model.named_parameters():
        if name.endswith(".gamma"):
            # at its published 1e-6 a block does next to nothing: a short training leaves it out, and no test
            # could tell a wrong block from a right one
            parameter.data.fill_(_LAYER_SCALE)
    return Clip(model, tokenizer, config)


def load_clip(folder: Path) -> Clip:
    """The CLIP that `Clip.save` wrote, float32 on the CPU, in evaluation mode."""
    from transformers import CLIPTokenizer

    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    model = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True).eval()
    has_words = "hf_tokenizer_name" in config["model_cfg"]["text_cfg"]
    return Clip(model, CLIPTokenizer.from_pretrained(folder) if has_words else None, config)


def _config(sizes: ClipSizes, vocabulary: int | None) -> dict[str, Any]:
    vision = {
        "timm_model_name": sizes.trunk,
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "timm_drop": 0.0,
        "timm_drop_path": 0.0,
        "image_size": [sizes.height, sizes.width],
    }
    text: dict[str, Any] = {
        "context_length": sizes.text.context,
        "vocab_size": vocabulary or _PUBLISHED_VOCABULARY,
        "width": sizes.text.width,
        "heads": sizes.text.heads,
        "layers": sizes.text.layers,
    }
    if vocabulary is not None:
        # any name makes open_clip read the tokenizer that lies beside the config
        text["hf_tokenizer_name"] = "words"
    normalisation = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    return {
        "model_cfg": {"embed_dim": sizes.embed_dim, "vision_cfg": vision, "text_cfg": text},
        "preprocess_cfg": {**normalisation, "interpolation": "bicubic", "resize_mode": "shortest"},
    }
