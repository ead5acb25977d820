"""Low-rank adapters beside the layers of an image tower, by peft. It knows no backbone and trains nothing.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". No dropout: its noise would come from the process.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig as PeftConfig
from peft import inject_adapter_in_model
from torch import Tensor, nn

from clouds.errors import UsageError, nearest
from clouds.models.segmenter_config import LoraConfig

_PROBE_SIDE = 64


class SplitAttention(nn.Module):
    """`nn.MultiheadAttention` of a sequence on itself, with linear layers that adapters can stand beside.

    peft's own adapter of it adds its weights to the fixed ones and takes them off again at each step, which leaves the
    fixed ones changed by rounding.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        width, self.heads = attention.embed_dim, attention.num_heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.qkv.weight, self.qkv.bias = attention.in_proj_weight, attention.in_proj_bias
        self.proj.weight, self.proj.bias = attention.out_proj.weight, attention.out_proj.bias

    def forward(self, tokens_BNC: Tensor, *_: object, **__: object) -> tuple[Tensor, None]:
        """As `nn.MultiheadAttention` without a mask and with the batch first; no weights are returned."""
        qkv_3BHNC = self.qkv(tokens_BNC).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended_BHNC = F.scaled_dot_product_attention(*qkv_3BHNC)
        return self.proj(attended_BHNC.transpose(1, 2).flatten(2)), None


def add_adapters(model: nn.Module, parts: Sequence[nn.Module], config: LoraConfig) -> None:
    """Put adapters beside layers of the `parts` of a model, which start as zero; the model changes in place.

    Without `config.targets` these are all linear layers that a forward pass calls, or, where there are none, all
    convolutions of one group. Raises `UsageError` for a target that no such layer bears.
    """
    for part in parts:
        _open_attention(part)
    called = _called(model, parts)
    linear = [name for name, layer in called.items() if isinstance(layer, nn.Linear)]
    layers = linear or list(called)
    names = sorted(layers) if config.targets is None else _named(layers, config.targets)
    adapters = PeftConfig(r=config.rank, lora_alpha=config.alpha, target_modules=names, lora_dropout=0.0, bias="none")
    inject_adapter_in_model(adapters, model)


def _open_attention(part: nn.Module) -> None:
    module: Any
    for module in list(part.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MultiheadAttention):
                setattr(module, name, SplitAttention(child))
        if hasattr(module, "qkv_bias_separate"):
            # or else timm reads the layer's weight past the layer
            module.qkv_bias_separate = True


@torch.no_grad()
def _called(model: nn.Module, parts: Sequence[nn.Module]) -> dict[str, nn.Module]:
    """The linear layers and convolutions of the parts that a forward pass calls, by their name in the model."""
    seen: set[nn.Module] = set()
    kinds = (nn.Linear, nn.Conv2d)
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, kinds)]
    hooks = [layer.register_forward_pre_hook(lambda layer, _: seen.add(layer)) for layer in layers]
    training = model.training
    features = next(model.parameters()).new_zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE)
    model.eval()
    for part in parts:
        features = part(features)
    model.train(training)
    for hook in hooks:
        hook.remove()
    return {name: layer for name, layer in model.named_modules() if layer in seen and getattr(layer, "groups", 1) == 1}


def _named(known: Sequence[str], targets: Sequence[str]) -> list[str]:
    """The layers whose names end in one of the targets."""
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in known):
            ends = sorted({name.rpartition(".")[2] for name in known})
            raise UsageError(
                f"'train.segmenter.backbone.lora.targets': no layer of this image tower is called {target!r}",
                nearest(target, ends),
            )
    return sorted(name for name in known if any(f".{name}".endswith(f".{target}") for target in targets))
