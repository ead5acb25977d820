"""Published names of a mask head's weights and ours, in one table. It knows names, not tensors or files.

Left: detectron2's Mask2Former (facebookresearch/Mask2Former, `MSDeformAttnPixelDecoder` and
`MultiScaleMaskedTransformerDecoder`) and CLOUDS (yasserben/CLOUDS), which shares them, under `sem_seg_head.`; right:
transformers' modules as `MaskHead` holds them. `#` is a number that both sides share, in order.
"""

import re
from collections.abc import Iterable

HEAD = "sem_seg_head."
VOID = "void_embedding."
CLIP = "backbone.clip_model."

_PIXELS, _QUERIES = f"{HEAD}pixel_decoder.", f"{HEAD}predictor."
_ENCODER, _LAYER = "pixel_decoder.encoder.layers.#.", "transformer.decoder.layers.#."

SHARED_NAMES: tuple[tuple[str, str], ...] = (
    # the pixel decoder: projections of strides 32, 16, 8, in this order on both sides
    (f"{_PIXELS}input_proj.#.#.", "pixel_decoder.input_projections.#.#."),
    (f"{_PIXELS}transformer.level_embed", "pixel_decoder.level_embed"),
    (f"{_PIXELS}transformer.encoder.layers.#.self_attn.", f"{_ENCODER}self_attn."),
    (f"{_PIXELS}transformer.encoder.layers.#.norm1.", f"{_ENCODER}self_attn_layer_norm."),
    (f"{_PIXELS}transformer.encoder.layers.#.linear1.", f"{_ENCODER}fc1."),
    (f"{_PIXELS}transformer.encoder.layers.#.linear2.", f"{_ENCODER}fc2."),
    (f"{_PIXELS}transformer.encoder.layers.#.norm2.", f"{_ENCODER}final_layer_norm."),
    # stride 4: a convolution and its group norm are one module there, two here
    (f"{_PIXELS}adapter_1.weight", "pixel_decoder.adapter_1.0.weight"),
    (f"{_PIXELS}adapter_1.norm.", "pixel_decoder.adapter_1.1."),
    (f"{_PIXELS}layer_1.weight", "pixel_decoder.layer_1.0.weight"),
    (f"{_PIXELS}layer_1.norm.", "pixel_decoder.layer_1.1."),
    (f"{_PIXELS}mask_features.", "pixel_decoder.mask_projection."),
    # the query decoder; see PACKED for the self-attention's projections
    (f"{_QUERIES}query_feat.", "transformer.queries_features."),
    (f"{_QUERIES}static_query.", "transformer.queries_features."),
    (f"{_QUERIES}query_embed.", "transformer.queries_embedder."),
    (f"{_QUERIES}level_embed.", "transformer.level_embed."),
    (f"{_QUERIES}transformer_cross_attention_layers.#.multihead_attn.", f"{_LAYER}cross_attn."),
    (f"{_QUERIES}transformer_cross_attention_layers.#.norm.", f"{_LAYER}cross_attn_layer_norm."),
    (f"{_QUERIES}transformer_self_attention_layers.#.self_attn.", f"{_LAYER}self_attn."),
    (f"{_QUERIES}transformer_self_attention_layers.#.norm.", f"{_LAYER}self_attn_layer_norm."),
    (f"{_QUERIES}transformer_ffn_layers.#.linear1.", f"{_LAYER}fc1."),
    (f"{_QUERIES}transformer_ffn_layers.#.linear2.", f"{_LAYER}fc2."),
    (f"{_QUERIES}transformer_ffn_layers.#.norm.", f"{_LAYER}final_layer_norm."),
    (f"{_QUERIES}decoder_norm.", "transformer.decoder.layernorm."),
    (f"{_QUERIES}mask_embed.layers.#.", "transformer.decoder.mask_predictor.mask_embedder.#.0."),
)
"""What both classifiers have. `static_query` is the name of `query_feat` in Mask2Former's oldest checkpoints."""

CLOSED_NAMES: tuple[tuple[str, str], ...] = ((f"{_QUERIES}class_embed.", "class_predictor."),)
"""The linear classifier of Mask2Former and of every published config of CLOUDS."""

TEXT_NAMES: tuple[tuple[str, str], ...] = (
    (f"{_QUERIES}_mask_pooling_proj.#.", "class_predictor.pooled_projection.#."),
    # a ReLU stands between the layers here
    (f"{_QUERIES}class_embed.layers.0.", "class_predictor.embedder.0."),
    (f"{_QUERIES}class_embed.layers.1.", "class_predictor.embedder.2."),
    (f"{_QUERIES}class_embed.layers.2.", "class_predictor.embedder.4."),
    (f"{_QUERIES}logit_scale", "class_predictor.log_scale"),
    (VOID, "class_predictor.no_object."),
)
"""The text classifier of CLOUDS."""

PACKED = re.compile(r"(.*\.self_attn\.)in_proj_(weight|bias)")
"""Our names of the self-attention's query, key and value projections: published as one matrix, ours as three."""

UNUSED = {
    "criterion.": "the class weights of the loss",
    VOID: 'the text classifier\'s "no object"',
    "sem_seg_head_ema.": "the teacher's copy of the head",
    "sam.": "the mask model of the self-training",
    "pixel_mean": "the normalisation",
    "pixel_std": "the normalisation",
}
"""What a checkpoint may hold besides the segmenter, by the beginning of its names."""


CITYSCAPES_NAMES: dict[str, tuple[str, ...]] = {
    "road": ("road", "railroad"),
    "sidewalk": ("sidewalk", "pavement"),
    "building": ("building", "buildings", "edifice", "edifices", "house", "ceiling"),
    "wall": ("wall", "walls", "brick wall", "stone wall", "tile wall", "wood wall"),
    "fence": ("fence", "fences"),
    "pole": ("pole", "poles"),
    "traffic light": ("traffic light", "traffic lights"),
    "traffic sign": ("traffic sign", "stop sign"),
    "vegetation": ("vegetation", "tree", "trees", "palm tree", "bushes"),
    "terrain": ("terrain", "river", "sand", "sea", "snow", "water", "mountain", "grass", "dirt", "rock"),
    "sky": ("sky", "clouds"),
    "person": ("person",),
    "rider": ("rider",),
    "car": ("car", "cars"),
    "truck": ("truck", "trucks"),
    "bus": ("bus", "buses"),
    "train": ("train", "trains", "locomotive", "locomotives", "freight train"),
    "motorcycle": ("motorcycle", "motorcycles"),
    "bicycle": ("bicycle", "bicycles", "bike", "bikes"),
}
"""The names CLOUDS asks CLIP for (its `openseg_classes.py`, after arXiv 2112.12143). They serve to ask, not to match
data sets: a river is no terrain there."""


def our_names(published: Iterable[str], *, text: bool) -> dict[str, str]:
    """Published name -> ours for those that the head has; `text`: of the text classifier."""
    rows = [_row(*row) for row in (*SHARED_NAMES, *(TEXT_NAMES if text else CLOSED_NAMES))]
    named: dict[str, str] = {}
    for name in published:
        for pattern, template in rows:
            found = pattern.fullmatch(name)
            if found:
                named[name] = found.expand(template)
                break
    return named


def unused(name: str) -> str | None:
    """What a published name stands for that a segmenter does not need; None for any other."""
    return next((what for prefix, what in UNUSED.items() if name.startswith(prefix)), None)


def count_blocks(names: Iterable[str], pattern: str) -> int:
    """How many numbered parts there are: one more than the highest number at the pattern's group."""
    return 1 + max((int(found[1]) for name in names if (found := re.match(pattern, name))), default=-1)


def _row(published: str, ours: str) -> tuple[re.Pattern[str], str]:
    """A row of the table as a pattern and what to put in its place; a name that ends in a dot goes for all below it."""
    groups = iter(range(1, published.count("#") + 2))
    template = re.sub("#", lambda _: rf"\g<{next(groups)}>", ours)
    pattern = re.escape(published).replace(r"\#", "#").replace("#", r"(\d+)")
    if published.endswith("."):
        return re.compile(pattern + "(.+)"), template + rf"\g<{next(groups)}>"
    return re.compile(pattern), template
