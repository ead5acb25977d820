"""Text to images on a tiny real Stable Diffusion: seeds, batches, schedulers, failed items, and every wrong input."""

import json
import logging
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from clouds.config import flatten, validate
from clouds.errors import CloudsError, InputError, UsageError
from clouds.models import hub
from clouds.models.diffusion import DiffusionConfig, DiffusionGenerator, Generated
from clouds.models.diffusion_folder import pipeline_folder, pipeline_problem
from clouds.models.tiny_diffusion import build_tiny_diffusion, tiny_pipeline

PROMPTS = ["a street at night", "cars in the fog", "a bicycle", "an empty road in rain"]
SEEDS = [1, 2, 3, 2**40]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_diffusion(tmp_path_factory.mktemp("models") / "tiny", seed=0, height=32, width=64)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def generator(weights: Path | str, **values: Any) -> DiffusionGenerator:
    config = validate(DiffusionConfig, {"weights": str(weights), "steps": 3, **values}, "test")
    return DiffusionGenerator(config, "cpu")


@pytest.fixture(scope="module")
def shared(folder: Path) -> DiffusionGenerator:
    return generator(folder)


def pixels(results: list[Generated]) -> np.ndarray[Any, Any]:
    assert not any(isinstance(result, InputError) for result in results)
    return np.stack(results).astype(int)  # type: ignore[arg-type]


def test_images_are_uint8_of_the_models_own_size(shared: DiffusionGenerator) -> None:
    images = shared.generate(PROMPTS, SEEDS)
    assert [(image.shape, image.dtype) for image in images] == [((32, 64, 3), np.uint8)] * 4  # type: ignore[union-attr]
    assert shared.generate([], []) == []


def test_the_same_seed_gives_the_same_bytes(folder: Path, shared: DiffusionGenerator) -> None:
    first = pixels(shared.generate(PROMPTS, SEEDS))
    assert np.array_equal(first, pixels(shared.generate(PROMPTS, SEEDS)))
    assert np.array_equal(first, pixels(generator(folder).generate(PROMPTS, SEEDS)))


@pytest.mark.parametrize("scheduler", [None, "EulerAncestralDiscreteScheduler"])
def test_the_batch_moves_an_image_by_rounding_only(folder: Path, scheduler: str | None) -> None:
    """Tolerance: one grey level, on at most one value in a hundred. Ancestral sampling draws noise at every step."""
    model = generator(folder, scheduler=scheduler)
    together = pixels(model.generate(PROMPTS, SEEDS))
    alone = pixels([model.generate([prompt], [seed])[0] for prompt, seed in zip(PROMPTS, SEEDS, strict=True)])
    other_way = pixels(model.generate(PROMPTS[::-1], SEEDS[::-1])[::-1])
    for images in (alone, other_way):
        difference = np.abs(images - together)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.01


def test_the_seed_and_the_prompt_matter(shared: DiffusionGenerator) -> None:
    seed_1, seed_2, prompt_2 = pixels(shared.generate([PROMPTS[0], PROMPTS[0], PROMPTS[1]], [1, 2, 1]))
    assert np.abs(seed_1 - seed_2).mean() > 5
    assert np.abs(seed_1 - prompt_2).mean() > 0.5


@pytest.mark.parametrize("scheduler", ["EulerDiscreteScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler"])
def test_the_scheduler_can_be_swapped(folder: Path, scheduler: str) -> None:
    model = generator(folder, scheduler=scheduler, steps=5)
    assert model.describe()["scheduler"] == scheduler
    own = model.pipeline.scheduler.config
    assert (own.beta_schedule, own.prediction_type) == ("scaled_linear", "epsilon")
    assert pixels(model.generate(PROMPTS[:1], [7])).std() > 1


def test_every_sampling_value_reaches_the_pipeline(folder: Path, shared: DiffusionGenerator) -> None:
    base = pixels(shared.generate(PROMPTS[:2], SEEDS[:2]))
    for values in ({"steps": 4}, {"guidance": 2.0}, {"negative_prompt": "dark wet snow"}):
        assert not np.array_equal(base, pixels(generator(folder, **values).generate(PROMPTS[:2], SEEDS[:2]))), values
    assert pixels(generator(folder, height=40, width=24).generate(PROMPTS[:1], [1])).shape == (1, 40, 24, 3)


def test_neutral_switches_move_an_image_by_rounding_only(folder: Path, shared: DiffusionGenerator) -> None:
    base = pixels(shared.generate(PROMPTS, SEEDS))
    switched = generator(folder, vae_slicing=True, attention_slicing=True, channels_last=True)
    difference = np.abs(pixels(switched.generate(PROMPTS, SEEDS)) - base)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_only_what_changes_images_is_fingerprinted() -> None:
    keys = {key for key, _ in flatten(DiffusionConfig(weights="owner/name"))}
    assert keys == {
        *("variant", "scheduler", "steps", "guidance", "height", "width"),
        *("negative_prompt", "dtype", "vae_tiling"),
    }


def test_another_number_format_is_another_but_similar_image(folder: Path, shared: DiffusionGenerator) -> None:
    model = generator(folder, dtype="bfloat16")
    assert model.describe()["dtype"] == "bfloat16"
    difference = np.abs(pixels(model.generate(PROMPTS, SEEDS)) - pixels(shared.generate(PROMPTS, SEEDS)))
    assert 0 < difference.mean() < 10


def test_describe_is_provenance_without_paths(folder: Path) -> None:
    described = generator(folder, height=24, width=32).describe()
    assert described["model"] == "tiny"
    assert str(folder.parent) not in json.dumps(described)
    expected = {"scheduler": "EulerDiscreteScheduler", "steps": 3, "guidance": 7.5, "height": 24, "width": 32}
    assert expected.items() <= described.items()
    assert described["dtype"] == "float32"


def test_a_long_prompt_is_cut_and_named_once(shared: DiffusionGenerator, caplog: pytest.LogCaptureFixture) -> None:
    long = "a very long street " * 40
    library = logging.getLogger(type(shared.pipeline).__module__)
    library.addHandler(caplog.handler)
    for _ in range(2):
        assert len(pixels(shared.generate([long, "a car"], [1, 2]))) == 2
    library.removeHandler(caplog.handler)
    told = [record for record in caplog.records if long.strip() in record.getMessage() or "cut" in record.getMessage()]
    assert [record.args for record in told] == [(77, long)]
    assert not any(record.name == library.name for record in caplog.records)


def test_an_image_withheld_by_the_safety_checker_is_a_failed_item(folder: Path, tmp_path: Path) -> None:
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**sizes, "image_size": 32, "patch_size": 16}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, text_config=sizes, projection_dim=8))
    torch.nn.init.constant_(checker.concept_embeds_weights, -2.0)
    pipeline = tiny_pipeline(0, 32, 64)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pipeline.register_modules(safety_checker=checker, feature_extractor=processor)
    pipeline.register_to_config(requires_safety_checker=True)
    pipeline.save_pretrained(tmp_path / "checked")
    results = generator(tmp_path / "checked").generate(PROMPTS[:2], [1, 2])
    assert [isinstance(result, InputError) for result in results] == [True, True]
    assert "safety checker" in str(results[0])


def test_an_image_of_no_numbers_is_a_failed_item(tmp_path: Path) -> None:
    pipeline = tiny_pipeline(0, 32, 64)
    torch.nn.init.constant_(pipeline.vae.decoder.conv_out.bias, float("nan"))
    pipeline.save_pretrained(tmp_path / "broken")
    (result,) = generator(tmp_path / "broken").generate(["a street"], [1])
    assert isinstance(result, InputError)
    assert "dtype" in result.mend


def test_prompts_and_seeds_must_pair(shared: DiffusionGenerator) -> None:
    with pytest.raises(ValueError, match="2 prompts but 1 seeds"):
        shared.generate(["a", "b"], [1])


@pytest.mark.parametrize(
    ("values", "problem", "mend"),
    [
        ({"scheduler": "EulerDiscretScheduler"}, "scheduler = 'EulerDiscretScheduler'", "EulerDiscreteScheduler"),
        ({"scheduler": "FlowMatchEulerDiscreteScheduler"}, "does not fit this model", "DDIMScheduler"),
        ({"height": 30, "width": 64}, "height = 30 is not a multiple of 8", "24 or 32"),
        ({"height": 64, "width": 3}, "width = 3 is not a multiple of 8", "8"),
        ({"variant": "fp16"}, "no .safetensors weights of variant 'fp16'", "save_pretrained"),
    ],
)
def test_values_that_do_not_fit_the_model(folder: Path, values: dict[str, Any], problem: str, mend: str) -> None:
    with pytest.raises(CloudsError) as caught:
        generator(folder, **values)
    assert problem in caught.value.message
    assert mend in caught.value.mend


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"height": 64}, "height and width go together"),
        ({"width": 64}, "height and width go together"),
        ({"steps": 0}, "'steps' = 0"),
        ({"dtype": "half"}, "'dtype' = 'half'"),
        ({"schedular": None}, "did you mean 'scheduler'"),
    ],
)
def test_values_no_model_could_take(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        validate(DiffusionConfig, {"weights": "owner/name", **values}, "test")


def damage_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def damage_json(folder: Path) -> None:
    (folder / "model_index.json").write_text("{}")


def damage_component(folder: Path) -> None:
    shutil.rmtree(folder / "unet")


def damage_format(folder: Path) -> None:
    (folder / "vae" / "diffusion_pytorch_model.safetensors").rename(folder / "vae" / "diffusion_pytorch_model.bin")


def damage_bytes(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def damage_variant(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))


def damage_class(folder: Path) -> None:
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "StableDaydreamPipeline"))


def damage_task(folder: Path) -> None:
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "StableDiffusionInpaintPipeline"))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (damage_index, "no model_index.json"),
        (damage_json, "names no pipeline"),
        (damage_component, "'unet' is missing"),
        (damage_format, "'vae' has no .safetensors weights but pickled ones"),
        (damage_bytes, "cannot be loaded"),
        (damage_variant, "'unet' has weights only as a variant"),
        (damage_class, "has no pipeline 'StableDaydreamPipeline'"),
        (damage_task, "StableDiffusionInpaintPipeline, which makes no image from text alone"),
    ],
)
def test_a_folder_that_is_no_usable_pipeline_says_why(copy: Path, damage: Any, problem: str) -> None:
    damage(copy)
    with pytest.raises(CloudsError, match=problem) as caught:
        generator(copy)
    assert str(copy) in caught.value.message


def test_a_variant_is_taken_where_it_exists(copy: Path) -> None:
    damage_variant(copy)
    assert pixels(generator(copy, variant="fp16").generate(PROMPTS[:1], [1])).shape == (1, 32, 64, 3)


def test_a_missing_shard_is_seen(copy: Path) -> None:
    assert pipeline_problem(copy) == ""
    index = copy / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "diffusion_pytorch_model.safetensors", "b": "part2.safetensors"}}))
    assert pipeline_problem(copy) == "its component 'unet' lacks part2.safetensors"


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(CloudsError, match="absent does not exist"):
        generator(tmp_path / "absent")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_cached_hub_id_needs_no_network(hub_cache: Path, folder: Path, shared: DiffusionGenerator) -> None:
    snapshot = hub_cache / "models--owner--tiny" / "snapshots" / ("a" * 40)
    shutil.copytree(folder, snapshot)
    (hub_cache / "models--owner--tiny" / "refs").mkdir()
    (hub_cache / "models--owner--tiny" / "refs" / "main").write_text("a" * 40)
    assert pipeline_folder("owner/tiny") == snapshot
    model = generator("owner/tiny")
    assert (model.describe()["model"], model.describe()["revision"]) == ("owner/tiny", "a" * 40)
    assert np.array_equal(pixels(model.generate(PROMPTS, SEEDS)), pixels(shared.generate(PROMPTS, SEEDS)))
    shutil.rmtree(snapshot / "vae")
    with pytest.raises(CloudsError, match="neither on this machine nor reachable"):
        generator("owner/tiny")


@pytest.mark.parametrize("weights", ["nobody/no-such-model", "stabilityai/stable-diffusion-2"])
def test_weights_nowhere_to_be_found_offline(hub_cache: Path, weights: str) -> None:
    began = time.monotonic()
    with pytest.raises(CloudsError, match=f"'{weights}', revision 'v1', are neither on this machine nor reachable"):
        generator(weights, revision="v1")
    assert time.monotonic() - began < 5


@pytest.fixture
def silent_server() -> Iterator[str]:
    """An address that takes connections and never answers, as a network that swallows packets seems to do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_network_that_never_answers_is_given_up_soon(
    hub_cache: Path, silent_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", silent_server)
    monkeypatch.setattr(hub, "REACH_TIMEOUT_S", 0.3)
    began = time.monotonic()
    with pytest.raises(CloudsError, match="nor reachable"):
        generator("nobody/no-such-model")
    assert time.monotonic() - began < 5
