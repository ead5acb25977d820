import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clouds.models.sam_checkpoint import load_sam
from clouds.models.tiny_sam import build_tiny_sam


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_global_generator_alone(tmp_path):
    before = torch.get_rng_state()
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        build_tiny_sam(tmp_path / name, seed)
    assert torch.equal(torch.get_rng_state(), before)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_bytes() != (tmp_path / "other").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one", "other", "two"]


@pytest.mark.parametrize(("image_size", "patch_size"), [(64, 8), (128, 8), (256, 16)])
def test_it_loads_as_any_other(tmp_path, image_size, patch_size):
    path = tmp_path / "weights" / "sam.safetensors"
    build_tiny_sam(path, 0, image_size, patch_size)
    sam = load_sam(path)
    assert sam.image_encoder.img_size == image_size
    state = load_file(path)
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_a_size_that_does_not_divide_is_refused(tmp_path):
    with pytest.raises(ValueError, match="multiple"):
        build_tiny_sam(tmp_path / "sam.safetensors", 0, image_size=100, patch_size=8)


def test_it_is_small_and_answers_differently_to_different_points(tmp_path):
    path = tmp_path / "sam.safetensors"
    build_tiny_sam(path, 0)
    assert path.stat().st_size < 1_000_000
    sam = load_sam(path)
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 64, 128), dtype=np.uint8))
    points = torch.tensor([[[10.0, 10.0]], [[100.0, 50.0]]])
    asked = {"image": image, "original_size": (64, 128), "point_coords": points, "point_labels": torch.ones(2, 1)}
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        [answer] = sam([asked], multimask_output=True)
        seconds.append(time.perf_counter() - start)
    assert not torch.allclose(answer["low_res_logits"][0], answer["low_res_logits"][1])
    # a wide margin over the 10 ms it takes, for busy machines
    assert min(seconds) < 0.2
