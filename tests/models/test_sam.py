import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from clouds.config import validate
from clouds.errors import CloudsError, UsageError
from clouds.models.sam import SamMaskModel, SamRefiner
from clouds.models.sam_cache import from_bytes, to_bytes
from clouds.models.sam_checkpoint import load_sam
from clouds.models.sam_config import SamConfig
from clouds.models.sam_original import OriginalSam
from clouds.models.tiny_sam import build_tiny_sam
from clouds.ops.components import connected_components
from clouds.ops.prompts import prompts_for, with_negatives
from clouds.ops.refinement import PseudoLabel
from clouds.ops.refinement_settings import RefinementSettings, published

CPU = torch.device("cpu")
SIZES = [(64, 128), (128, 64), (128, 128), (50, 77), (200, 333), (17, 16), (3, 40)]
ACCEPT_ALL = RefinementSettings(min_agreement=0.0, min_area=0.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "tiny.safetensors"
    build_tiny_sam(path, seed=0)
    return path


@pytest.fixture(scope="module")
def sam(weights):
    return load_sam(weights)


@pytest.fixture(scope="module")
def untouched(weights):
    """The same model for the stock predictor alone, as the library made it."""
    return load_sam(weights)


def scene(size, seed=0):
    """An image of noisy blocks, the labels of the blocks and a confidence."""
    rng = np.random.default_rng(seed)
    height, width = size
    blocks = rng.integers(0, 4, (-(-height // 16), -(-width // 16))).astype(np.uint8)
    labels_HW = blocks.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    image_HWC = (labels_HW[..., None] * 60 + rng.integers(0, 40, (height, width, 3))).astype(np.uint8)
    return image_HWC, labels_HW, rng.random(size, dtype=np.float32)


def refiner_of(sam, settings=ACCEPT_ALL, per_call=32, rounded_to=torch.float32):
    return SamRefiner(OriginalSam(sam, CPU), settings, per_call, rounded_to)


def ours(sam, image_HWC, prompts, previous_NHW=None, per_call=4):
    refiner = refiner_of(sam)
    model = SamMaskModel(refiner.model, refiner.encode([image_HWC]), per_call)
    candidates = model.predict(prompts, previous_NHW)
    low_res = candidates.logits_NCHW
    masks = np.stack(list(model.masks(low_res.reshape(-1, *low_res.shape[2:]))))
    return low_res, candidates.quality_NC, masks.reshape(*low_res.shape[:2], *image_HWC.shape[:2])


def stock(sam, image_HWC, prompts, previous_NHW=None):
    predictor = SamPredictor(sam)
    predictor.set_image(image_HWC)
    size = image_HWC.shape[:2]
    points = np.stack([np.concatenate([prompt.points_NXY, prompt.negatives_NXY]) for prompt in prompts])
    coords = torch.as_tensor(predictor.transform.apply_coords(points, size), dtype=torch.float)
    kinds = torch.tensor([[1] * len(p.points_NXY) + [0] * len(p.negatives_NXY) for p in prompts])
    boxes = None
    if prompts[0].box_XYXY is not None:
        corners = np.array([prompt.box_XYXY for prompt in prompts])
        boxes = torch.as_tensor(predictor.transform.apply_boxes(corners, size), dtype=torch.float)
    shown = None if previous_NHW is None else torch.from_numpy(previous_NHW)[:, None]
    masks, quality, low_res = predictor.predict_torch(coords, kinds, boxes, shown)
    return low_res.numpy(), quality.numpy(), masks.numpy()


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (128, 128), (256, 192)])
def test_a_region_shown_as_a_mask_is_that_region_again(sam, size):
    image_HWC, labels_HW, _ = scene(size)
    regions = [region for region in connected_components(labels_HW) if region.area > 100]
    refiner = refiner_of(sam)
    model = SamMaskModel(refiner.model, refiner.encode([image_HWC]), 4)
    shown_NHW = model.shown(regions)
    assert shown_NHW.shape == (len(regions), *sam.prompt_encoder.mask_input_size)
    for region, mask_HW in zip(regions, model.masks(shown_NHW), strict=True):
        assert region.iou(mask_HW) > 0.9
    rng = np.random.default_rng(1)
    answer = model.predict(prompts_for(regions, "random", 3, False, rng), shown_NHW)
    assert np.isfinite(answer.logits_NCHW).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("box", [False, True])
def test_masks_are_those_of_the_stock_predictor(sam, untouched, size, box):
    image_HWC, labels_HW, _ = scene(size)
    rng = np.random.default_rng(1)
    prompts = prompts_for(connected_components(labels_HW), "random", 3, box, rng)
    shown = None
    for _ in range(2):  # the second time each is shown its first mask
        mine, theirs = ours(sam, image_HWC, prompts, shown), stock(untouched, image_HWC, prompts, shown)
        np.testing.assert_allclose(mine[0], theirs[0], atol=1e-4)
        np.testing.assert_allclose(mine[1], theirs[1], atol=1e-5)
        assert (mine[2] & theirs[2]).sum() >= 0.999 * (mine[2] | theirs[2]).sum()
        shown = theirs[0][:, 0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("settings", [ACCEPT_ALL, published(), RefinementSettings(points="centre", box=True, passes=3)])
def test_any_size_is_refined_and_no_class_is_invented(sam, size, settings):
    image_HWC, labels_HW, confidence_HW = scene(size)
    result = refiner_of(sam, settings).refine(image_HWC, labels_HW, confidence_HW, seed=0)
    assert result.labels_HW.shape == size and result.labels_HW.dtype == np.uint8
    assert set(np.unique(result.labels_HW)) <= set(np.unique(labels_HW)) | {255}
    assert result.prompted > 0 and result.accepted + result.rejected == result.prompted


def test_prompts_per_call_changes_nothing(sam):
    image_HWC, labels_HW, _ = scene((64, 128))
    results = [
        refiner_of(sam, ACCEPT_ALL, per_call).refine(image_HWC, labels_HW, None, seed=5) for per_call in (1, 3, 99)
    ]
    assert results[0].prompted > 3
    for result in results[1:]:
        assert (result.labels_HW != results[0].labels_HW).mean() < 1e-3


def test_seed_and_nothing_else_decides(sam):
    image_HWC, labels_HW, _ = scene((64, 128))
    refiner = refiner_of(sam)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, other, again = (refiner.refine(image_HWC, labels_HW, None, seed) for seed in (1, 2, 1))
    np.testing.assert_array_equal(first.labels_HW, again.labels_HW)
    assert (first.labels_HW != other.labels_HW).any()
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_one_encoder_pass_per_image_whatever_the_passes(sam):
    calls = []
    hook = sam.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    image_HWC, labels_HW, _ = scene((64, 128))
    refiner_of(sam, RefinementSettings(passes=3, settled=1.0)).refine(image_HWC, labels_HW, None, seed=0)
    hook.remove()
    assert len(calls) == 1


def test_images_of_several_sizes_encode_as_one_batch(sam):
    refiner = refiner_of(sam)
    images = [scene(size, seed)[0] for seed, size in enumerate(SIZES)]
    together = refiner.encode(images)
    for encoded, image_HWC in zip(together, images, strict=True):
        [alone] = refiner.encode([image_HWC])
        assert encoded.image_size == alone.image_size == image_HWC.shape[:2]
        torch.testing.assert_close(encoded.features, alone.features, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("per_call", [1, 5, 99])
def test_several_images_at_once_refine_as_each_alone(sam, per_call):
    settings = RefinementSettings(min_area=0.0, min_agreement=0.0, negative_points=2, box=True, passes=2)
    refiner = refiner_of(sam, settings, per_call)
    scenes = [scene(size, seed) for seed, size in enumerate([(64, 128), (50, 77), (64, 128)])]
    scenes.insert(1, (scenes[0][0][:17, :16], np.full((17, 16), 255, np.uint8), None))  # nothing to ask about
    pseudo = [PseudoLabel(labels, None, np.random.default_rng(7)) for _, labels, _ in scenes]
    calls = []
    encode = lambda: calls.append(1) or [refiner.encode([image])[0] for image, _, _ in scenes]  # noqa: E731
    together = refiner.refine_all(encode, pseudo)
    assert calls == [1]
    for result, (image_HWC, labels_HW, _) in zip(together, scenes, strict=True):
        alone = refiner.refine(image_HWC, labels_HW, None, seed=7)
        assert (result.labels_HW != alone.labels_HW).mean() < 1e-3
        assert (result.components, result.prompted) == (alone.components, alone.prompted)
    assert together[1].prompted == 0


def test_negative_points_are_points_off_the_mask(sam, untouched):
    image_HWC, labels_HW, _ = scene((64, 128))
    regions = connected_components(labels_HW)
    rng = np.random.default_rng(1)
    prompts = with_negatives(prompts_for(regions, "random", 3, False, rng), regions, labels_HW, 2, rng)
    mine, theirs = ours(sam, image_HWC, prompts), stock(untouched, image_HWC, prompts)
    np.testing.assert_allclose(mine[0], theirs[0], atol=1e-4)
    np.testing.assert_allclose(mine[1], theirs[1], atol=1e-5)


def test_a_rounded_image_and_its_bytes_give_the_same_answer(sam):
    image_HWC, labels_HW, _ = scene((50, 77))
    refiner = refiner_of(sam, rounded_to=torch.float16)
    [fresh] = refiner.encode([image_HWC])
    assert {features.dtype for features in fresh.features} == {torch.float16}
    kept = from_bytes(to_bytes(fresh))
    assert to_bytes(kept) == to_bytes(fresh)
    pseudo = lambda: [PseudoLabel(labels_HW, None, np.random.default_rng(3))]  # noqa: E731
    [one], [two] = (refiner.refine_all(lambda image=image: [image], pseudo()) for image in (fresh, kept))
    np.testing.assert_array_equal(one.labels_HW, two.labels_HW)
    exact = refiner_of(sam).refine(image_HWC, labels_HW, None, seed=3)
    assert (one.labels_HW != exact.labels_HW).mean() < 0.02


def test_nothing_to_prompt_is_no_error_and_costs_no_encoder_pass(sam, monkeypatch):
    image_HWC, labels_HW, _ = scene((64, 128))
    monkeypatch.setattr(sam.image_encoder, "forward", lambda *_: pytest.fail("encoded"))
    result = refiner_of(sam, published()).refine(image_HWC, np.full_like(labels_HW, 255), None, seed=0)
    assert (result.labels_HW == 255).all() and result.prompted == 0


def test_a_model_left_in_training_mode_is_put_right(weights):
    sam = load_sam(weights).train()
    refiner_of(sam)
    assert not any(module.training for module in sam.modules())


def test_the_input_is_left_as_it_is(sam):
    image_HWC, labels_HW, confidence_HW = scene((64, 128))
    copies = image_HWC.copy(), labels_HW.copy(), confidence_HW.copy()
    refiner_of(sam).refine(image_HWC, labels_HW, confidence_HW, seed=0)
    for after, before in zip((image_HWC, labels_HW, confidence_HW), copies, strict=True):
        np.testing.assert_array_equal(after, before)


def test_labels_of_another_size_are_refused(sam):
    image_HWC, labels_HW, _ = scene((64, 128))
    with pytest.raises(ValueError, match=r"\(64, 128\).*\(32, 128\)"):
        refiner_of(sam).refine(image_HWC, labels_HW[:32], None, seed=0)


def test_the_config_builds_the_refiner(weights):
    config = validate(SamConfig, {"weights": str(weights), "prompts_per_call": 2}, "test")
    image_HWC, labels_HW, _ = scene((64, 128))
    assert config.build(CPU, ACCEPT_ALL).refine(image_HWC, labels_HW, None, seed=0).prompted > 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_encoder_sees_the_same(sam, weights):
    refiner = validate(SamConfig, {"weights": str(weights), "compile": True}, "test").build(CPU, ACCEPT_ALL)
    image_HWC, _, _ = scene((64, 128))
    [compiled], [plain] = refiner.encode([image_HWC]), refiner_of(sam).encode([image_HWC])
    torch.testing.assert_close(compiled.features[0].float(), plain.features[0].float(), atol=2e-3, rtol=2e-3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


def test_the_config_names_what_is_wrong(tmp_path):
    with pytest.raises(UsageError, match="prompts_per_call"):
        validate(SamConfig, {"weights": "sam.pth", "prompts_per_call": 0}, "test")
    with pytest.raises(CloudsError, match="no such file"):
        SamConfig(weights=tmp_path / "sam.pth").build(CPU, ACCEPT_ALL)


def test_reading_the_config_needs_no_model_library():
    code = "import sys, clouds.models.sam_config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
