"""The config of the segmenter: backbone, head and loss. It imports no model library, so a plan reads it fast."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clouds.config import ConfigModel, Neutral, Share, SourceStr
from clouds.models.weights import HashCache, is_local, weight_identity

TIMM_PREFIX = "timm:"
_HUB_PREFIX = "hf-hub:"

PUBLISHED_TEMPLATES = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    *(f"a photo of a {size} {{}}." for size in ("small", "medium", "large")),
    *(f"This is a photo of a {size} {{}}." for size in ("small", "medium", "large")),
    *(f"There is a {size} {{}} in the scene." for size in ("small", "medium", "large")),
)
"""ViLD's prompts (arXiv 2104.13921), as CLOUDS averages over them."""


class LoraConfig(ConfigModel):
    """Low-rank adapters beside layers that stay as they are."""

    rank: int = Field(default=16, gt=0)
    """Width of an adapter."""
    alpha: int = Field(default=16, gt=0)
    """An adapter's output counts alpha / rank times."""
    targets: tuple[str, ...] | None = None
    """Layers that get one, by the ends of their names (`qkv`, `mlp.fc1`); null: every linear layer of the tower, or
    every convolution where it has none."""


class BackboneConfig(ConfigModel):
    """Which image tower reads the images, and what of it learns."""

    # weights are told apart by `backbone_identity`, not by where they lie
    weights: Neutral[SourceStr]
    """A hub id (`owner/name`), a folder in open_clip's or timm's format, or the name of an architecture: open_clip's
    (`EVA02-L-14`), `timm:NAME`, or a bare name of one of timm's ConvNeXts, which starts from random weights."""
    pretrained: Neutral[SourceStr | None] = None
    """For an architecture: the library's tag of its weights, or a file; null starts from random weights."""
    revision: Neutral[str | None] = None
    """Branch, tag or commit of the hub repository the weights come from; null is its main branch."""
    frozen: bool = True
    """Keep the tower as it is and train the head, and what the backbone adds to the tower: neck and adapters."""
    lr_multiplier: float = Field(default=1.0, ge=0)
    """The learning rate of the backbone, neck and adapters included, as a share of the head's."""
    lora: LoraConfig | None = None
    """Adapters that learn in the place of the frozen tower; null: none."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """How often a tower that learns leaves out its last residual branch for an image; less for earlier ones."""
    store: Literal["full", "trained"] = "full"
    """What a segmenter's folder holds: all weights, or those that learned, beside the name and hash of the others'."""

    @property
    def hub_id(self) -> str | None:
        """The hub id the weights come from; None for a folder or an architecture."""
        name = self.weights.removeprefix(_HUB_PREFIX)
        return name if not is_local(name) and "/" in name else None

    @property
    def timm_name(self) -> str | None:
        """The architecture that `timm:NAME` names."""
        return self.weights.removeprefix(TIMM_PREFIX) if self.weights.startswith(TIMM_PREFIX) else None

    @model_validator(mode="after")
    def _tag_belongs_to_architecture(self) -> "BackboneConfig":
        if self.pretrained is not None and (self.hub_id or is_local(self.weights)):
            raise ValueError("`pretrained` goes with the name of an architecture; here it must be null")
        return self

    @model_validator(mode="after")
    def _frozen_fits(self) -> "BackboneConfig":
        if self.lora is not None and not self.frozen:
            raise ValueError("`lora` adapts a tower that stays as it is; set `frozen: true`, or leave `lora` out")
        if self.store == "trained" and not self.frozen:
            raise ValueError("`store: trained` goes with `frozen: true`; a tower that learns is stored in full")
        if self.store == "trained" and not (self.hub_id or is_local(self.weights) or self.pretrained):
            raise ValueError("`store: trained` needs weights that can be loaded again; random ones are stored in full")
        if self.drop_path and self.frozen:
            raise ValueError("`drop_path` goes with `frozen: false`; a frozen tower leaves nothing out")
        return self


class HeadConfig(ConfigModel):
    """The sizes of the Mask2Former head; the defaults are the published ones."""

    channels: int = Field(default=256, gt=0, multiple_of=32)
    """Width of the pixel decoder, the queries and the mask features."""
    queries: int = Field(default=100, gt=0)
    """Number of masks an image can have."""
    heads: int = Field(default=8, gt=0)
    """Attention heads."""
    encoder_layers: int = Field(default=6, gt=0)
    """Deformable attention layers over strides 8, 16 and 32."""
    encoder_feedforward: int = Field(default=1024, gt=0)
    """Hidden width of an encoder layer."""
    decoder_layers: int = Field(default=10, gt=1)
    """Predictions that carry a loss: one from the bare queries and one from each transformer layer."""
    decoder_feedforward: int = Field(default=2048, gt=0)
    """Hidden width of a transformer decoder layer."""

    @model_validator(mode="after")
    def _heads_divide_channels(self) -> "HeadConfig":
        if self.channels % self.heads:
            raise ValueError(f"channels ({self.channels}) is not a multiple of heads ({self.heads})")
        return self


Template = Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$")]


class TextConfig(ConfigModel):
    """What a CLIP's text tower is asked to tell the classes apart; the defaults are the published ones."""

    templates: Annotated[tuple[Template, ...], Field(min_length=1)] = PUBLISHED_TEMPLATES
    """Sentences with {} for a name; what the text tower makes of them is averaged."""
    names: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Names to ask for, by class; a class that is not here has its own name and its synonyms."""


class EnsembleConfig(ConfigModel):
    """How much the frozen CLIP's own opinion of a mask counts; the defaults are the published ones."""

    seen: Share = 0.4
    """Exponent of CLIP's probability for classes the segmenter was trained on."""
    unseen: Share = 0.8
    """Exponent of CLIP's probability for other classes."""


class SegmenterConfig(ConfigModel):
    """A backbone with a Mask2Former head."""

    backbone: BackboneConfig
    """The image tower."""
    head: HeadConfig = HeadConfig()
    """The pixel decoder and the query decoder."""
    classifier: Literal["closed", "text"] = "closed"
    """`closed`: a linear layer over the trained classes; `text`: nearness to the CLIP's text vectors of any classes."""
    text: TextConfig = TextConfig()
    """What the CLIP's text tower is asked, for `classifier: text` and for `ensemble`."""
    ensemble: EnsembleConfig | None = None
    """Classify together with the frozen CLIP itself when predicting; null does not."""

    @property
    def reads_names(self) -> bool:
        """Whether the CLIP's text tower is needed."""
        return self.classifier == "text" or self.ensemble is not None

    @model_validator(mode="after")
    def _clip_is_whole(self) -> "SegmenterConfig":
        if self.ensemble is not None and (not self.backbone.frozen or self.backbone.lora is not None):
            raise ValueError("`ensemble` asks the CLIP as it is: it goes with `backbone: {frozen: true, lora: null}`")
        return self


class MaskLossConfig(ConfigModel):
    """The weights and the sampling of the mask loss; the defaults are the published ones."""

    class_weight: float = Field(default=2.0, ge=0)
    """Weight of the cross-entropy over classes."""
    mask_weight: float = Field(default=5.0, ge=0)
    """Weight of the binary cross-entropy over points."""
    dice_weight: float = Field(default=5.0, ge=0)
    """Weight of the dice loss over points."""
    no_object_weight: float = Field(default=0.1, gt=0)
    """Weight of queries without a class in the cross-entropy."""
    num_points: int = Field(default=12544, gt=0)
    """Points at which a mask is compared with its label."""
    oversample_ratio: float = Field(default=3.0, ge=1)
    """Candidates per point, of which the most uncertain are taken."""
    importance_ratio: float = Field(default=0.75, ge=0, le=1)
    """Share of the points taken by uncertainty; the rest is uniform."""


def backbone_identity(
    config: BackboneConfig, cache: HashCache | None, key: str = "train.segmenter.backbone.weights"
) -> dict[str, str | bool | None]:
    """What a fingerprint needs to know of the backbone's weights, without loading any; `key` names them in errors.

    As `weight_identity` for folders, files and hub ids; for an architecture its library, its name and the tag.
    """
    source = config.hub_id or config.weights
    if config.hub_id or is_local(source):
        return dict(weight_identity(source, config.revision, cache=cache, key=key))
    library = "open_clip" if config.timm_name is None else "timm"
    name = config.timm_name or source
    named: dict[str, str | bool | None] = {"kind": library, "name": name, "pretrained": config.pretrained}
    if config.revision is not None:
        named["revision"] = config.revision
    if config.pretrained is not None and is_local(config.pretrained):
        return {
            **named,
            "pretrained": None,
            **weight_identity(config.pretrained, cache=cache, key="train.segmenter.backbone.pretrained"),
        }
    return named
