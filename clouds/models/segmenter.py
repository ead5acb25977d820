"""The segmenter: a backbone, a Mask2Former head, and images of any size. It knows no data set, loss or file."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clouds.data.labels import LabelMap
from clouds.errors import UsageError, nearest
from clouds.models.backbones import Backbone, load_backbone
from clouds.models.class_texts import Naming, class_names
from clouds.models.heads import MaskHead, MaskOutput
from clouds.models.segmenter_config import HeadConfig, MaskLossConfig, SegmenterConfig, TextConfig
from clouds.models.text_tower import read_classes
from clouds.ops.mask_loss import MaskLossSettings
from clouds.ops.open_vocabulary import best_names, geometric_ensemble, name_logits, pool_masks
from clouds.ops.semantic import semantic_scores

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


class MaskSegmenter(nn.Module):
    """Images to masks and classes, or to class scores of every pixel."""

    backbone: Backbone

    def __init__(self, backbone: Backbone, head: HeadConfig, num_classes: int, naming: Naming | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        text_dim = None if naming is None else naming.text_dim
        self.head = MaskHead(head, backbone.channels, num_classes, text_dim)
        self.head_config = head
        self.num_classes = num_classes
        self.name(naming)

    def name(self, naming: Naming | None) -> None:
        """Take these names for the classes; with a text classifier there may be others, and another number of them."""
        self.naming = naming
        self.texts = None if naming is None else naming.texts
        if naming is not None and naming.classifier == "text":
            self.num_classes = len(naming.texts.names)

    def forward(self, images_BCHW: Tensor, features: Sequence[Tensor] | None = None) -> MaskOutput:
        """Masks and classes of every decoder layer.

        Args:
            images_BCHW: RGB, uint8 or float in 0..255, of any size.
            features: what `features` gave for these images, if it was asked before.

        Returns:
            Mask logits have ceil(H / 4) x ceil(W / 4) cells of 4 x 4 pixels, from the top left corner of the image;
            feature maps end with the image in the same way.
        """
        if features is None:
            features = self.features(images_BCHW)
        output: MaskOutput = self.head(features, self.texts)
        size = images_BCHW.shape[-2:]
        return MaskOutput(
            output.class_logits,
            [_within(size, mask, self.mask_stride) for mask in output.mask_logits],
            _within(size, output.fused_BChw, self.mask_stride),
            _within(size, output.coarse_BChw, self.backbone.strides[1]),
            _within(size, features[-1], self.backbone.strides[-1]),
        )

    def features(self, images_BCHW: Tensor) -> list[Tensor]:
        """The backbone's feature maps of images as in `forward`, which takes them in place of a second pass."""
        return self.backbone(self.normalise(images_BCHW))

    @torch.no_grad()
    def predict(self, images_BCHW: Tensor, features: Sequence[Tensor] | None = None) -> Tensor:
        """Class scores (B, K, H, W) of images as in `forward`: float32 in [0, 1], as `semantic_scores` defines them.

        The largest is the published prediction. Whether layers such as dropout are active is the caller's choice
        (`eval`).
        """
        images = zip(*self.queries(images_BCHW, features), strict=True)
        size = (images_BCHW.shape[-2], images_BCHW.shape[-1])
        with torch.autocast(images_BCHW.device.type, enabled=False):
            # image by image: all queries of a batch at the images' size would not fit
            return torch.stack([semantic_scores(classes, masks, self.mask_stride, size) for classes, masks in images])

    def queries(self, images_BCHW: Tensor, features: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """What the last layer says of images as in `forward`, before it is said of pixels: the input of a score.

        Class logits (B, Q, K + 1), CLIP's opinion included where it has a say, and mask logits (B, Q, h, w) that cover
        the padded images.
        """
        if features is None:
            features = self.features(images_BCHW)
        output = self.head(features, self.texts)
        return self._class_logits(output, features[-1]), output.mask_logits[-1]

    @property
    def mask_stride(self) -> int:
        """Pixels per mask cell."""
        return self.backbone.strides[0]

    def hold_backbone(self, held: bool) -> None:
        """Keep gradients from the tower of the backbone, and evaluation mode in it, or no longer.

        A neck and adapters, which begin at random, learn all the same. Unlike a frozen tower, one that is held remains
        among what is trained and what a checkpoint holds.
        """
        self.backbone.hold(held)
        self.train(self.training)

    def train(self, mode: bool = True) -> "MaskSegmenter":
        super().train(mode)
        self.backbone.train(mode)
        return self

    def _class_logits(self, output: MaskOutput, last_BChw: Tensor) -> Tensor:
        """The last layer's, joined with the frozen CLIP's own if the segmenter has an ensemble."""
        own_BQC = output.class_logits[-1]
        if self.naming is None or self.naming.ensemble is None:
            return own_BQC
        texts, exponents = self.naming.texts, self.naming.ensemble
        with torch.autocast(own_BQC.device.type, enabled=False):
            pooled_BQC = pool_masks(last_BChw.float(), output.mask_logits[-1].float())
            clip_BQS = name_logits(self.backbone.embed(pooled_BQC), texts.texts_SE, texts.log_scale)
            clip_BQK = best_names(clip_BQS, texts.counts)
            return geometric_ensemble(own_BQC.float(), clip_BQK, texts.seen_K, **exponents.model_dump())

    def normalise(self, images_BCHW: Tensor) -> Tensor:
        """What the backbone takes of images as in `forward`: normalised, and padded at the right and the bottom.

        The padding has the mean colour, as published, and goes up to a multiple of the largest stride, so that it
        depends on the image's own size alone: all images of a call have one size. As in the published code the head is
        not told of it: padded cells have positions, and attention reaches them.
        """
        normal_BCHW = (images_BCHW.float() / 255 - self.backbone.mean) / self.backbone.std
        right, bottom = (-size % self.backbone.strides[-1] for size in (images_BCHW.shape[-1], images_BCHW.shape[-2]))
        return F.pad(normal_BCHW, (0, right, 0, bottom))


def _within(size: Sequence[int], maps_BChw: Tensor, stride: int) -> Tensor:
    """Maps of an image that was padded, without the cells that hold nothing of it."""
    height, width = (-(-side // stride) for side in size)
    return maps_BChw[..., :height, :width]


def build_segmenter(config: SegmenterConfig, classes: int | LabelMap, *, seed: int) -> MaskSegmenter:
    """A new segmenter on the CPU: the backbone's weights as configured, all others random from the seed.

    `classes` are those it tells apart; their number is enough for a closed classifier without ensemble. Raises as
    `load_backbone` does, and `UsageError` where the text tower that the config asks for cannot be had.
    """
    if isinstance(classes, int) and config.reads_names:
        raise ValueError("`classifier: text` and `ensemble` need the classes' names, not their number")
    num_classes = classes if isinstance(classes, int) else classes.num_classes
    with _seeded(seed):
        backbone = load_backbone(config.backbone, keep_projection=config.ensemble is not None)
        naming = None if isinstance(classes, int) else read_classes(config, classes)
    # a seed of its own, so that the head is the same on a backbone that is loaded and on one that is drawn
    with _seeded(seed + 1):
        return MaskSegmenter(backbone, config.head, num_classes, naming)


def with_classes(model: MaskSegmenter, label_map: LabelMap, config: TextConfig | None = None) -> MaskSegmenter:
    """The model itself, which from now on tells these classes apart, whatever it was trained for.

    Its own text tower reads their names, in the sentences it was trained with; `config` may give classes other names
    than their own and their synonyms. A class counts as seen where it shares a name with a trained one. Raises
    `UsageError` for a model with a closed classifier.
    """
    naming = model.naming
    if naming is None or naming.classifier != "text":
        raise UsageError(
            "this segmenter has a closed classifier, which knows the classes it was trained for and no others",
            "leave out the classes, or train one with `segmenter: {classifier: text}`",
        )
    model.name(naming.of(class_names(label_map, config or TextConfig())))
    return model


def loss_settings(config: MaskLossConfig, *, ignore: int, stride: int) -> MaskLossSettings:
    """The loss's numbers for labels with this `ignore` and masks of this stride (`MaskSegmenter.mask_stride`)."""
    return MaskLossSettings(**config.model_dump(), ignore=ignore, stride=stride)


def parameter_groups(
    model: MaskSegmenter,
    *,
    lr: float,
    weight_decay: float,
    backbone_lr_multiplier: float = 1.0,
    lr_multipliers: Mapping[str, float] | None = None,
    no_decay: Collection[str] = (),
) -> list[dict[str, Any]]:
    """The trainable parameters as groups for an optimizer, each with its `name` and its `parameter_names`.

    As published, norms and embeddings have no weight decay and biases have. Order depends on the model alone.

    Args:
        lr_multipliers: further factors on the learning rate by the first parts of parameters' names, such as `head`
            or `head.pixel_decoder`; of several that fit, the longest counts.
        no_decay: further parameters without weight decay, by the last part of their names.

    Raises `UsageError` for a part or a name that no parameter of the model has, frozen or not.
    """
    multipliers = {"backbone": 1.0, "head": 1.0, **(lr_multipliers or {})}
    _check_names(model, multipliers, no_decay)
    undecayed = model.backbone.embeddings() | {
        parameter for module in model.modules() if isinstance(module, (*_NORMS, nn.Embedding))
        for parameter in module.parameters(recurse=False)
    }  # fmt: skip
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part = max((part for part in multipliers if f"{name}.".startswith(f"{part}.")), key=len)
        decays = parameter not in undecayed and name.rpartition(".")[2] not in no_decay
        share = backbone_lr_multiplier if name.startswith("backbone.") else 1.0
        group = groups.setdefault(
            f"{part}.{'decay' if decays else 'no_decay'}",
            {
                "params": [],
                "parameter_names": [],
                "lr": lr * share * multipliers[part],
                "weight_decay": weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
        group["parameter_names"].append(name)
    return [{"name": name, **group} for name, group in groups.items()]


def _check_names(model: MaskSegmenter, parts: Collection[str], last_parts: Collection[str]) -> None:
    names = [name.split(".") for name, _ in model.named_parameters()]
    prefixes = {".".join(pieces[:length]) for pieces in names for length in range(1, len(pieces) + 1)}
    for key, wanted, known in (
        ("lr_multipliers", parts, prefixes),
        ("no_decay", last_parts, {pieces[-1] for pieces in names}),
    ):
        for name in wanted:
            if name not in known:
                raise UsageError(f"`{key}` names {name!r}, which no parameter has", nearest(name, sorted(known)))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from the seed; afterwards the process's generator is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
