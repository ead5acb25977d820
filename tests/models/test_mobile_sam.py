"""MobileSAM: its image encoder against a recording of the published one, and the whole through the usual loader."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_sams import mobile_sam_state

from clouds.errors import CloudsError
from clouds.models.sam import SamRefiner
from clouds.models.sam_checkpoint import load_sam
from clouds.models.sam_source import load_promptable
from clouds.ops.refinement_settings import RefinementSettings

CPU = torch.device("cpu")
RECORDING = Path(__file__).parents[3] / "shared" / "oracle" / "mobile_sam_encoder.pth"


@pytest.fixture(scope="module")
def recording():
    if not RECORDING.exists():
        pytest.skip(f"the recording is not here: {RECORDING}")
    return torch.load(RECORDING, weights_only=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "mobile_sam.pt"
    torch.save(mobile_sam_state(tiny_encoder_state()), path)
    return path


def tiny_encoder_state(widths=(8, 16, 16, 16), depths=(1, 1, 2, 1), heads=(1, 2, 2, 1), windows=(7, 7, 14, 7), out=16):
    """Random weights under the published names: what a MobileSAM of small widths would be."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def add(name, *shape):
        state[f"image_encoder.{name}"] = torch.randn(shape, generator=generator) * 0.3

    def convolution(name, outs, ins, kernel):
        add(f"{name}.c.weight", outs, ins, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            add(f"{name}.bn.{part}", outs)
            if part.endswith("var") or part == "weight":
                state[f"image_encoder.{name}.bn.{part}"].abs_().add_(0.5)
        state[f"image_encoder.{name}.bn.num_batches_tracked"] = torch.tensor(1)

    def linear(name, outs, ins):
        add(f"{name}.weight", outs, ins)
        add(f"{name}.bias", outs)

    convolution("patch_embed.seq.0", widths[0] // 2, 3, 3)
    convolution("patch_embed.seq.2", widths[0], widths[0] // 2, 3)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for block in range(depth):
            at = f"layers.{stage}.blocks.{block}"
            if not stage:
                convolution(f"{at}.conv1", 4 * width, width, 1)
                convolution(f"{at}.conv2", 4 * width, 1, 3)
                convolution(f"{at}.conv3", width, 4 * width, 1)
                continue
            add(f"{at}.attn.attention_biases", heads[stage], windows[stage] ** 2)
            for part in ("attn.norm", "mlp.norm"):
                add(f"{at}.{part}.weight", width)
                add(f"{at}.{part}.bias", width)
            linear(f"{at}.attn.qkv", 3 * width, width)
            linear(f"{at}.attn.proj", width, width)
            linear(f"{at}.mlp.fc1", 4 * width, width)
            linear(f"{at}.mlp.fc2", width, 4 * width)
            convolution(f"{at}.local_conv", width, 1, 3)
        if stage + 1 < len(widths):
            convolution(f"layers.{stage}.downsample.conv1", widths[stage + 1], width, 1)
            convolution(f"layers.{stage}.downsample.conv2", widths[stage + 1], 1, 3)
            convolution(f"layers.{stage}.downsample.conv3", widths[stage + 1], widths[stage + 1], 1)
    for name in ("norm_head.weight", "norm_head.bias", "head.bias"):
        add(name, widths[-1])
    add("neck.0.weight", out, widths[-1], 1, 1)
    add("neck.2.weight", out, out, 3, 3)
    for name in ("neck.1.weight", "neck.1.bias", "neck.3.weight", "neck.3.bias"):
        add(name, out)
    return state


def test_the_encoder_equals_the_published_one(recording, tmp_path):
    path = tmp_path / "mobile_sam.pt"
    torch.save(mobile_sam_state(recording["model"]), path)
    model = load_promptable(str(path), None, CPU)
    image_HWC = recording["image"][0].permute(1, 2, 0).numpy()
    pixels = model.frame.pixels([image_HWC], CPU)
    with torch.inference_mode():
        [features] = model.encode(pixels)
    assert features.shape == recording["embedding"].shape
    # half precision, as it was recorded
    assert (features - recording["embedding"].float()).abs().max() <= 2e-3
    assert recording["embedding"].float().std() > 0.1


def test_its_keys_tell_and_it_refines_in_evaluation_mode(weights):
    sam = load_sam(weights)
    assert not any(module.training for module in sam.modules())
    assert not any(parameter.requires_grad for parameter in sam.parameters())
    model = load_promptable(str(weights), None, CPU)
    assert model.name == "MobileSAM, frame 1024"
    rng = np.random.default_rng(0)
    labels_HW = np.arange(8, dtype=np.uint8).reshape(2, 4).repeat(32, 0).repeat(32, 1)
    image_HWC = rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)
    result = SamRefiner(model, RefinementSettings(min_agreement=0.0, passes=1)).refine(image_HWC, labels_HW, None, 0)
    assert result.prompted == result.accepted == 8


def test_the_sizes_of_the_published_one_are_read_from_its_shapes():
    sizes = {"widths": (64, 128, 160, 320), "depths": (2, 2, 6, 2), "heads": (2, 4, 5, 10), "out": 256}
    state = mobile_sam_state(tiny_encoder_state(**sizes))
    from clouds.models.sam_checkpoint import build_mobile_sam

    encoder = build_mobile_sam({name: tuple(tensor.shape) for name, tensor in state.items()}).image_encoder
    assert [stage.depth for stage in encoder.stages] == [2, 2, 6, 2]
    attentions = [stage.blocks[0].attn for stage in list(encoder.stages)[1:]]
    assert [(one.num_heads, one.resolution) for one in attentions] == [(4, (7, 7)), (5, (14, 14)), (10, (7, 7))]


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("layers.2.blocks.1.mlp.fc1.bias", "missing: image_encoder.stages.2.blocks.1.mlp.fc1.bias"),
        ("layers.1.blocks.0.attn.attention_biases", "has no image_encoder.layers.1.blocks.0.attn.attention_biases"),
    ],
)
def test_what_it_lacks_is_named(weights, tmp_path, lost, told):
    state = torch.load(weights, weights_only=True)
    del state[f"image_encoder.{lost}"]
    torch.save(state, tmp_path / "mobile_sam.pt")
    with pytest.raises(CloudsError, match=told):
        load_sam(tmp_path / "mobile_sam.pt")
