import io

import pytest
import torch
from safetensors.torch import load_file, save_file
from segment_anything import sam_model_registry

from clouds.errors import CloudsError
from clouds.models.sam_checkpoint import build_sam, load_sam, sam_sizes
from clouds.models.tiny_sam import build_tiny_sam, tiny_sam_sizes


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "tiny.safetensors"
    build_tiny_sam(path, seed=0)
    return path


def shapes_of(sam):
    return {name: tuple(tensor.shape) for name, tensor in sam.state_dict().items()}


def parts_of(sam):
    """Every module with the numbers it was given: what the tensors' shapes do not show is in there."""
    numbers = (int, float, bool, tuple, list)
    return {
        name: (type(module), {k: v for k, v in vars(module).items() if isinstance(v, numbers) and k != "training"})
        for name, module in sam.named_modules()
    }


@pytest.mark.parametrize(("kind", "heads"), [("vit_b", 12), ("vit_l", 16), ("vit_h", 16)])
def test_the_official_models_are_rebuilt_from_their_shapes(kind, heads):
    with torch.device("meta"):
        official = sam_model_registry[kind]()
    sizes = sam_sizes(shapes_of(official))
    ours = build_sam(sizes)
    assert (sizes.image_size, sizes.window_size, sizes.encoder_heads) == (1024, 14, heads)
    assert shapes_of(ours) == shapes_of(official)
    assert parts_of(ours) == parts_of(official)
    assert torch.equal(ours.pixel_mean, official.pixel_mean.cpu())
    assert torch.equal(ours.pixel_std, official.pixel_std.cpu())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"global_blocks": (0, 1), "window_size": 0},
        {"global_blocks": (0,), "window_size": 14, "image_size": 64},  # a window wider than the grid of 8
        {"window_size": 4, "encoder_heads": 4, "encoder_mlp_ratio": 3.5, "masks_per_prompt": 2, "quality_depth": 2},
    ],
)
def test_sizes_survive_the_way_through_shapes(changes):
    sizes = tiny_sam_sizes().model_copy(update=changes)
    assert sam_sizes(shapes_of(build_sam(sizes))) == sizes


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_both_formats_load(tiny, tmp_path, suffix):
    state = load_file(tiny)
    path = tmp_path / f"sam{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    sam = load_sam(path)
    assert all(torch.equal(tensor, state[name]) for name, tensor in sam.state_dict().items())
    assert not sam.training and not any(module.training for module in sam.modules())
    assert not any(parameter.requires_grad for parameter in sam.parameters())


def test_half_precision_weights_load_as_float32(tiny, tmp_path):
    path = tmp_path / "half.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(tiny).items()}, path)
    assert {tensor.dtype for tensor in load_sam(path).state_dict().values()} == {torch.float32}


def test_a_missing_file_says_what_to_put_there(tmp_path):
    with pytest.raises(CloudsError) as caught:
        load_sam(tmp_path / "sam_vit_b_01ec64.pth")
    assert str(tmp_path / "sam_vit_b_01ec64.pth") in caught.value.message
    assert "sam_vit_h_4b8939.pth" in caught.value.mend


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "garbage", "text"])
def test_a_damaged_file_is_named(tiny, tmp_path, suffix, damage):
    whole = tiny.read_bytes()
    if suffix == ".pth":
        buffer = io.BytesIO()
        torch.save(load_file(tiny), buffer)
        whole = buffer.getvalue()
    path = tmp_path / f"sam{suffix}"
    path.write_bytes(
        {"empty": b"", "truncated": whole[:-5000], "garbage": bytes(range(256)) * 9, "text": b"<html>404"}[damage]
    )
    with pytest.raises(CloudsError, match="cannot be read") as caught:
        load_sam(path)
    assert str(path) in caught.value.message and "\n" not in caught.value.message


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    path = tmp_path / "sam.pth"
    torch.save({"model": torch.nn.Linear(1, 1)}, path)
    with pytest.raises(CloudsError, match="cannot be read"):
        load_sam(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: {}, "has no image_encoder.patch_embed.proj.weight"),
        (lambda state: {"vision_encoder.pos_embed": torch.ones(1)}, "has no image_encoder"),
        (lambda state: state | {"extra.weight": torch.ones(1)}, r"not known: extra.weight"),
        (lambda state: without(state, "image_encoder.neck.1.bias"), "missing: image_encoder.neck.1.bias"),
        (lambda state: state | {"image_encoder.neck.1.bias": torch.ones(3)}, "of another shape.*neck.1.bias"),
        (lambda state: state | {"image_encoder.pos_embed": torch.ones(1)}, "make no Sam"),
        (lambda state: state | {"mask_decoder.mask_tokens.weight": torch.ones(4, 20)}, "make no Sam|another shape"),
    ],
)
def test_keys_that_do_not_fit_are_named(tiny, tmp_path, change, told):
    path = tmp_path / "other.safetensors"
    save_file(change(load_file(tiny)), path)
    with pytest.raises(CloudsError, match=told) as caught:
        load_sam(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    ("state", "whose", "mend"),
    [
        ({"mask_decoder.hf_token.weight": torch.ones(1)}, "SAM-HQ's own", "syscv-community/sam-hq-vit-base"),
        ({"model": {"image_encoder.trunk.pos_embed": torch.ones(1)}}, "SAM 2's own", "facebook/sam2.1-hiera-large"),
        ({"vision_encoder.pos_embed": torch.ones(1)}, "transformers'", "transformers' format"),
    ],
)
def test_a_checkpoint_of_another_family_is_told_by_its_keys(tmp_path, state, whose, mend):
    torch.save(state, tmp_path / "sam.pth")
    with pytest.raises(CloudsError, match=f"these are {whose} weights") as caught:
        load_sam(tmp_path / "sam.pth")
    assert mend in caught.value.mend


@pytest.mark.parametrize(("width", "size"), [(768, "ViT-B"), (1024, "ViT-L"), (1280, "ViT-H")])
def test_a_checkpoint_that_does_not_fit_says_which_size_it_is(tmp_path, width, size):
    torch.save({"image_encoder.patch_embed.proj.weight": torch.ones(width, 3, 16, 16)}, tmp_path / "sam.pth")
    with pytest.raises(CloudsError, match=f"its image encoder is that of {size}"):
        load_sam(tmp_path / "sam.pth")


@pytest.mark.parametrize("content", [torch.ones(2), {"model": {"weight": 1}}, [1, 2]])
def test_what_is_no_dictionary_of_tensors_is_refused(tmp_path, content):
    path = tmp_path / "sam.pth"
    torch.save(content, path)
    with pytest.raises(CloudsError, match="not a dictionary of tensors"):
        load_sam(path)


def without(state, name):
    return {key: tensor for key, tensor in state.items() if key != name}
