"""The Mask2Former head on four feature maps, from transformers' own modules. It knows no backbone and no image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerMaskedAttentionDecoderLayer,
    Mask2FormerPixelDecoder,
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)

from clouds.models.class_texts import ClassTexts
from clouds.models.classifiers import Classifier, ClosedClassifier, Queries, TextClassifier
from clouds.models.segmenter_config import HeadConfig


@dataclass(frozen=True)
class MaskOutput:
    """Per decoder layer, the last one last: class logits (B, Q, K + 1), the last column being "no object", and mask
    logits (B, Q, h, w) at stride 4.

    `fused_BChw` is the pixel decoder's map of features that masks are read from, at the masks' stride; `coarse_BChw` is
    its map at twice that stride. `deepest_BChw` is the backbone's last map, where a segmenter gives it.
    """

    class_logits: list[Tensor]
    mask_logits: list[Tensor]
    fused_BChw: Tensor
    coarse_BChw: Tensor
    deepest_BChw: Tensor | None = None


class MaskHead(nn.Module):
    """Pixel decoder, query decoder and a classifier (arXiv 2112.01527), initialised as published.

    The classifier knows `num_classes`, or with `text_dim` compares with text vectors of this length.
    """

    def __init__(
        self, config: HeadConfig, in_channels: Sequence[int], num_classes: int, text_dim: int | None = None
    ) -> None:
        super().__init__()
        sizes = _transformers_config(config)
        self.pixel_decoder = Mask2FormerPixelDecoder(sizes, feature_channels=list(in_channels))
        self.transformer = Mask2FormerTransformerModule(in_features=config.channels, config=sizes)
        self.class_predictor: Classifier = (
            ClosedClassifier(config.channels, num_classes)
            if text_dim is None
            else TextClassifier(config.channels, text_dim)
        )
        _initialise(self, sizes)

    def forward(self, features: Sequence[Tensor], texts: ClassTexts | None = None) -> MaskOutput:
        """Masks and classes from feature maps (B, C, H, W) at strides 4, 8, 16 and 32, and texts to compare with."""
        # position embeddings take the type of the features, and half precision cannot count rows
        pixels = self.pixel_decoder([feature.float() for feature in features])
        decoded = self.transformer(pixels.multi_scale_features, pixels.mask_features)
        states_BQC = [state_QBC.transpose(0, 1) for state_QBC in decoded.intermediate_hidden_states]
        masks = list(decoded.masks_queries_logits)
        queries = [Queries(*layer, pixels.mask_features) for layer in zip(states_BQC, masks, strict=True)]
        return MaskOutput(
            [self.class_predictor(layer, texts) for layer in queries],
            masks,
            pixels.mask_features,
            pixels.multi_scale_features[-1],
        )


def _transformers_config(config: HeadConfig) -> Mask2FormerConfig:
    return Mask2FormerConfig(
        feature_size=config.channels,
        mask_feature_size=config.channels,
        hidden_dim=config.channels,
        num_queries=config.queries,
        num_attention_heads=config.heads,
        encoder_layers=config.encoder_layers,
        encoder_feedforward_dim=config.encoder_feedforward,
        decoder_layers=config.decoder_layers,
        dim_feedforward=config.decoder_feedforward,
    )


def _initialise(head: MaskHead, sizes: Mask2FormerConfig) -> None:
    """Random weights as the published code draws them.

    What is not touched keeps torch's own initialisation, as there: the classifier, the mask MLP, the queries and all
    biases that are not named. transformers initialises a whole model only, and draws some of these differently.
    """
    published = Mask2FormerPreTrainedModel(sizes)
    decoder = head.pixel_decoder
    nn.init.normal_(decoder.level_embed)
    _xavier(decoder.encoder)
    for module in decoder.modules():
        if isinstance(module, Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention):
            published._init_weights(module)
    for projection in decoder.input_projections:
        nn.init.xavier_uniform_(projection[0].weight)
        nn.init.zeros_(projection[0].bias)
    for convolution in (*(layer[0] for layer in _fpn_layers(decoder)), decoder.mask_projection):
        nn.init.kaiming_uniform_(convolution.weight, a=1)
        if convolution.bias is not None:
            nn.init.zeros_(convolution.bias)
    for layer in head.transformer.decoder.layers:
        _initialise_decoder_layer(layer)


def _initialise_decoder_layer(layer: Mask2FormerMaskedAttentionDecoderLayer) -> None:
    _xavier(layer)
    attention = layer.self_attn
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        # published as one matrix of three times the height, which halves the variance
        nn.init.xavier_uniform_(projection.weight, gain=math.sqrt(0.5))
        nn.init.zeros_(projection.bias)
    for output in (attention.out_proj, layer.cross_attn.out_proj):
        nn.init.zeros_(output.bias)
    nn.init.zeros_(layer.cross_attn.in_proj_bias)


def _fpn_layers(decoder: Mask2FormerPixelDecoder) -> list[nn.Sequential]:
    return [*decoder.lateral_convolutions, *decoder.output_convolutions]


def _xavier(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
