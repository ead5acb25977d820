import pytest
import torch

from clouds.ops.mask_prompt import mask_prompt


def test_cells_tell_how_much_of_them_is_covered():
    frame_1HW = torch.zeros(1, 4, 8)
    frame_1HW[0, :, :3] = 1
    logits_1HW = mask_prompt(frame_1HW, (2, 4))
    assert logits_1HW.dtype == torch.float32
    assert logits_1HW[0].tolist() == [[8.0, 0.0, -8.0, -8.0]] * 2


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float64])
def test_any_kind_of_mask_will_do(dtype):
    masks_NHW = torch.ones(3, 6, 6, dtype=dtype)
    assert bool((mask_prompt(masks_NHW, (3, 3)) == 8).all())
