"""SAM, SAM-HQ and SAM 2 of transformers: found, loaded, and equal to what the library itself gives."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_sams import tiny_transformers_sam
from transformers import Sam2ImageProcessor, Sam2Processor, SamImageProcessor, SamProcessor

from clouds.config import validate
from clouds.errors import CloudsError
from clouds.models.sam import SamMaskModel, SamRefiner
from clouds.models.sam_cache import from_bytes, to_bytes
from clouds.models.sam_config import SamConfig
from clouds.models.sam_source import load_promptable, sam_path
from clouds.ops.components import connected_components
from clouds.ops.prompts import prompts_for, with_negatives
from clouds.ops.refinement_settings import RefinementSettings

CPU = torch.device("cpu")
KINDS = ("sam", "sam_hq", "sam2")


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / kind
    tiny_transformers_sam(kind).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return load_promptable(str(folder), None, CPU)


def scene(size=(40, 56), seed=0):
    rng = np.random.default_rng(seed)
    labels_HW = rng.integers(0, 3, (6, 8)).astype(np.uint8).repeat(16, 0).repeat(16, 1)[: size[0], : size[1]]
    return (labels_HW[..., None] * 80 + rng.integers(0, 40, (*size, 3))).astype(np.uint8), labels_HW


def processor(kind):
    if kind == "sam2":
        return Sam2Processor(Sam2ImageProcessor(size={"height": 64, "width": 64}), target_size=64)
    sides = {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
    return SamProcessor(SamImageProcessor(**sides))


@pytest.mark.parametrize("size", [(40, 56), (64, 31), (90, 120)])
def test_images_are_prepared_as_by_the_librarys_processor(kind, model, size):
    image_HWC, _ = scene(size)
    theirs = processor(kind)(images=image_HWC, return_tensors="pt")["pixel_values"]
    # one grey level of rounding in the resize
    assert (model.frame.pixels([image_HWC], CPU) - theirs).abs().max() <= 1.01 / 57


@pytest.mark.parametrize("box", [False, True])
def test_masks_are_those_of_the_librarys_own_forward(kind, folder, model, box):
    image_HWC, labels_HW = scene()
    regions = connected_components(labels_HW)
    rng = np.random.default_rng(1)
    prompts = with_negatives(prompts_for(regions, "random", 2, box, rng), regions, labels_HW, 1, rng)
    encoded = SamRefiner(model, RefinementSettings()).encode([image_HWC])
    mine = SamMaskModel(model, encoded, 3)
    candidates = mine.predict(prompts, None)
    theirs = tiny_transformers_sam(kind)
    for number, prompt in enumerate(prompts):
        points = np.concatenate([prompt.points_NXY, prompt.negatives_NXY]).tolist()
        inputs = processor(kind)(
            images=image_HWC,
            input_points=[[points]] if kind == "sam2" else [points],
            input_labels=[[[1, 1, 0]]] if kind == "sam2" else [[1, 1, 0]],
            input_boxes=[[list(map(float, prompt.box_XYXY))]] if box else None,
            return_tensors="pt",
        )
        inputs["pixel_values"] = model.frame.pixels([image_HWC], CPU)
        with torch.inference_mode():
            answer = theirs(**{k: v for k, v in inputs.items() if not k.endswith("sizes")})
        logits = answer.pred_masks[0, 0].clamp(-32, 32) if kind == "sam2" else answer.pred_masks[0, 0]
        np.testing.assert_allclose(candidates.logits_NCHW[number], logits, atol=2e-3, rtol=1e-3)
        np.testing.assert_allclose(candidates.quality_NC[number], answer.iou_scores[0, 0], atol=1e-3, rtol=1e-3)


def test_every_rule_refines(model):
    image_HWC, labels_HW = scene()
    settings = RefinementSettings(
        min_area=0.0, min_agreement=0.0, passes=3, settled=1.0, show_component=True, negative_points=1, box=True
    )
    refiner = SamRefiner(model, settings, 2, torch.float16)
    result = refiner.refine(image_HWC, labels_HW, None, seed=0)
    assert result.prompted == result.accepted > 3
    assert set(np.unique(result.labels_HW)) <= set(np.unique(labels_HW))


def test_an_encoded_image_survives_the_way_through_bytes(model):
    images = [scene()[0], scene((64, 31), 1)[0]]
    for encoded in SamRefiner(model, RefinementSettings(), rounded_to=torch.float16).encode(images):
        kept = from_bytes(to_bytes(encoded))
        assert kept.image_size == encoded.image_size
        assert all(torch.equal(one, two) for one, two in zip(kept.features, encoded.features, strict=True))


def test_shown_regions_come_back_as_masks(model):
    image_HWC, labels_HW = scene((64, 64))
    regions = connected_components(labels_HW)
    mine = SamMaskModel(model, SamRefiner(model, RefinementSettings()).encode([image_HWC]), 4)
    for region, mask_HW in zip(regions, mine.masks(mine.shown(regions)), strict=True):
        assert region.iou(mask_HW) > 0.8


def test_it_is_in_evaluation_mode_and_learns_nothing(model):
    assert not any(module.training for module in model._model.modules())
    assert not any(parameter.requires_grad for parameter in model._model.parameters())


def test_the_config_takes_a_folder(kind, folder):
    config = validate(SamConfig, {"weights": str(folder)}, "test")
    image_HWC, labels_HW = scene()
    refiner = config.build(CPU, RefinementSettings(min_area=0.0))
    assert refiner.refine(image_HWC, labels_HW, None, seed=0).prompted > 0
    assert "transformers" in refiner.model.name


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_encoder_sees_the_same(folder, model):
    refiner = validate(SamConfig, {"weights": str(folder), "compile": True}, "test").build(CPU, RefinementSettings())
    image_HWC, _ = scene()
    [compiled], [plain] = (
        refiner.encode([image_HWC]),
        SamRefiner(model, RefinementSettings(), rounded_to=torch.float16).encode([image_HWC]),
    )
    for one, other in zip(compiled.features, plain.features, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


def test_a_hub_id_is_found_in_the_cache_and_named_where_it_is_not(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--some--sam" / "snapshots" / ("a" * 40)
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(folder)
    (tmp_path / "models--some--sam" / "refs").mkdir()
    (tmp_path / "models--some--sam" / "refs" / "main").write_text("a" * 40)
    assert sam_path("some/sam") == snapshot
    with pytest.raises(CloudsError, match=r"'some/other', revision 'main'") as caught:
        load_promptable("some/other", None, CPU)
    assert "refine.sam.weights" in caught.value.mend


def test_sam2_published_for_videos_is_taken_for_images(tmp_path):
    tiny_transformers_sam("sam2").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "sam2_video"}))
    file = tmp_path / "model.safetensors"
    save_file({**load_file(file), "memory_encoder.projection.bias": torch.ones(3)}, file, metadata={"format": "pt"})
    assert load_promptable(str(tmp_path), None, CPU).frame.stretched


def without(name):
    return lambda state: {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("mask_decoder.iou_token.weight"), "missing: mask_decoder.iou_token.weight"),
        (lambda state: {**state, "extra": torch.ones(1)}, "not known: extra"),
        (
            lambda state: {**state, "mask_decoder.iou_token.weight": torch.ones(1, 3)},
            "of another shape: mask_decoder.iou_token.weight",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, told):
    tiny_transformers_sam("sam").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    with pytest.raises(CloudsError, match=told) as caught:
        load_promptable(str(tmp_path), None, CPU)
    assert str(tmp_path) in caught.value.message


@pytest.mark.parametrize(
    ("content", "told"),
    [("{}", "type None"), ('{"model_type": "bert"}', "'bert'"), ("no json", "config.json cannot be read")],
)
def test_a_folder_of_another_model_is_named(tmp_path, content, told):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CloudsError, match=told):
        load_promptable(str(tmp_path), None, CPU)


def test_a_folder_without_a_config_names_its_checkpoint(tmp_path):
    with pytest.raises(CloudsError, match="without config.json"):
        load_promptable(str(tmp_path), None, CPU)
    (tmp_path / "sam_vit_b.pth").write_bytes(b"")
    with pytest.raises(CloudsError) as caught:
        load_promptable(str(tmp_path), None, CPU)
    assert "sam_vit_b.pth" in caught.value.mend


def test_damaged_weights_are_named(tmp_path):
    tiny_transformers_sam("sam").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"<html>")
    with pytest.raises(CloudsError, match="cannot be loaded as SamModel"):
        load_promptable(str(tmp_path), None, CPU)
