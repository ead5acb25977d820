"""The segmenter: a backbone, a Mask2Former head, and images of any size. It knows no data set, loss or file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clouds.models.backbones import Backbone, load_backbone
from clouds.models.heads import MaskHead, MaskOutput
from clouds.models.segmenter_config import HeadConfig, MaskLossConfig, SegmenterConfig
from clouds.ops.mask_loss import MaskLossSettings
from clouds.ops.semantic import semantic_scores

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


class MaskSegmenter(nn.Module):
    """Images to masks and classes, or to class scores of every pixel."""

    backbone: Backbone

    def __init__(self, backbone: Backbone, head: HeadConfig, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = MaskHead(head, backbone.channels, num_classes)
        self.head_config = head
        self.num_classes = num_classes

    def forward(self, images_BCHW: Tensor) -> MaskOutput:
        """Masks and classes of every decoder layer.

        Args:
            images_BCHW: RGB, uint8 or float in 0..255, of any size.

        Returns:
            Mask logits have ceil(H / 4) x ceil(W / 4) cells of 4 x 4 pixels, from the top left corner of the image.
        """
        output = self._decode(images_BCHW)
        stride = self.mask_stride
        height, width = (-(-size // stride) for size in images_BCHW.shape[-2:])
        return MaskOutput(output.class_logits, [mask[..., :height, :width] for mask in output.mask_logits])

    @torch.no_grad()
    def predict(self, images_BCHW: Tensor) -> Tensor:
        """Class scores (B, K, H, W) of images as in `forward`: float32 in [0, 1], as `semantic_scores` defines them.

        The largest is the published prediction. Whether layers such as dropout are active is the caller's choice
        (`eval`).
        """
        output = self._decode(images_BCHW)
        images = zip(output.class_logits[-1], output.mask_logits[-1], strict=True)
        size = (images_BCHW.shape[-2], images_BCHW.shape[-1])
        with torch.autocast(images_BCHW.device.type, enabled=False):
            return torch.stack([semantic_scores(classes, masks, self.mask_stride, size) for classes, masks in images])

    @property
    def mask_stride(self) -> int:
        """Pixels per mask cell."""
        return self.backbone.strides[0]

    def _decode(self, images_BCHW: Tensor) -> MaskOutput:
        output: MaskOutput = self.head(self.backbone(self._normalise(images_BCHW)))
        return output

    def _normalise(self, images_BCHW: Tensor) -> Tensor:
        """Images normalised, and padded at the right and the bottom with the mean colour, as published."""
        normal_BCHW = (images_BCHW.float() / 255 - self.backbone.mean) / self.backbone.std
        right, bottom = (-size % self.backbone.strides[-1] for size in (images_BCHW.shape[-1], images_BCHW.shape[-2]))
        return F.pad(normal_BCHW, (0, right, 0, bottom))


def build_segmenter(config: SegmenterConfig, num_classes: int, *, seed: int) -> MaskSegmenter:
    """A new segmenter on the CPU: the backbone's weights as configured, all others random from the seed.

    Raises as `load_backbone` does.
    """
    with _seeded(seed):
        backbone = load_backbone(config.backbone)
    # a seed of its own, so that the head is the same on a backbone that is loaded and on one that is drawn
    with _seeded(seed + 1):
        return MaskSegmenter(backbone, config.head, num_classes)


def loss_settings(config: MaskLossConfig, *, ignore: int, stride: int) -> MaskLossSettings:
    """The loss's numbers for labels with this `ignore` and masks of this stride (`MaskSegmenter.mask_stride`)."""
    return MaskLossSettings(**config.model_dump(), ignore=ignore, stride=stride)


def parameter_groups(
    model: MaskSegmenter, *, lr: float, weight_decay: float, backbone_lr_multiplier: float = 1.0
) -> list[dict[str, Any]]:
    """The trainable parameters as groups for an optimizer, each with its `name` and its `parameter_names`.

    As published, norms and embeddings have no weight decay and biases have. Order depends on the model alone.
    """
    undecayed = model.backbone.embeddings() | {
        parameter for module in model.modules() if isinstance(module, (*_NORMS, nn.Embedding))
        for parameter in module.parameters(recurse=False)
    }  # fmt: skip
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part = "backbone" if name.startswith("backbone.") else "head"
        decays = parameter not in undecayed
        group = groups.setdefault(
            f"{part}.{'decay' if decays else 'no_decay'}",
            {
                "params": [],
                "parameter_names": [],
                "lr": lr * backbone_lr_multiplier if part == "backbone" else lr,
                "weight_decay": weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
        group["parameter_names"].append(name)
    return [{"name": name, **group} for name, group in groups.items()]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from the seed; afterwards the process's generator is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
