"""The sizes of a `Sam` that learns in seconds."""

from clouds.models.sam_sizes import SamSizes

SIZES = SamSizes(
    patch_size=8,
    image_size=64,
    encoder_dim=32,
    encoder_depth=2,
    encoder_heads=2,
    encoder_mlp_ratio=2.0,
    global_blocks=(1,),
    window_size=4,
    prompt_dim=32,
    mask_channels=8,
    decoder_mlp_dim=64,
    quality_dim=32,
)
