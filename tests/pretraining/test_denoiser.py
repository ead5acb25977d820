"""The denoiser learns with its text encoder, repeats itself for a seed, and its folder makes pictures."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from drive import drive
from numpy.typing import NDArray

from clouds.models.autoencoder import encode_latents, set_latent_scale
from clouds.models.diffusion import DiffusionConfig, DiffusionGenerator
from clouds.models.diffusion_builder import build_pipeline, noise_scheduler
from clouds.models.diffusion_sizes import AutoencoderSizes, DenoiserSizes, DiffusionSizes, TextSizes
from clouds.pretraining.denoiser import DenoiserLearner, LatentDraws
from clouds.pretraining.denoiser_config import DenoiserConfig
from clouds.training.settings import OptimizerConfig

SIZES = DiffusionSizes(
    height=32,
    width=64,
    autoencoder=AutoencoderSizes(channels=(8, 16, 16), groups=4),
    denoiser=DenoiserSizes(channels=(16, 32), attends=(False, True), heads=2, groups=4),
    text=TextSizes(width=16, hidden=32, layers=1, heads=2, context=12),
)
CONFIG = DenoiserConfig(steps=20, batch_size=4, optimizer=OptimizerConfig(lr=3e-3, weight_decay=0.0))
CAPTIONS = ("a city street", "a village at night", "fog", "snow in a city")


class TwoPlaces:
    """Latents that are all high or all low, by their caption."""

    ids = tuple(str(number) for number in range(40))

    def latent(self, index: int) -> NDArray[np.float16]:
        values = np.random.default_rng(index).normal(3.0 if index % 2 else -3.0, 0.1, (4, 8, 16))
        return values.astype(np.float16)

    def caption(self, index: int) -> str:
        return CAPTIONS[index % 2]


def learner(**changes: Any) -> DenoiserLearner:
    pipeline = build_pipeline(SIZES, sorted({word for text in CAPTIONS for word in text.split()}), seed=1)
    set_latent_scale(pipeline.vae, np.stack([TwoPlaces().latent(index) for index in range(10)]))
    return DenoiserLearner(pipeline, TwoPlaces(), CONFIG.model_copy(update=changes), seed=7)


def test_the_loss_falls() -> None:
    # with every caption told, the latents of a place hold no surprise
    losses = [loss for (loss,) in drive(learner(drop_caption=0.0), 40, 8, seed=7)]
    assert np.mean(losses[-8:]) < 0.6 * np.mean(losses[:4])


def test_the_first_step_reaches_every_part_of_both_models() -> None:
    trained = learner(drop_caption=0.0)
    drive(trained, 1, 2, seed=7)
    before = {name: tensor.clone() for name, tensor in trained.state().items()}
    drive(trained, 2, 4, seed=7)
    after = trained.state()
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert not {name for name in still if not name.endswith("position_ids")}
    assert any(name.startswith("text_encoder.") for name in after)


def test_a_seed_gives_its_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for number, seed in enumerate((7, 7, 8)):
        torch.manual_seed(number)
        trained = learner()
        drive(trained, 2, 4, seed=seed)
        trained.save(tmp_path / str(number))
    first, again, other = (
        {file.relative_to(root): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}
        for root in (tmp_path / "0", tmp_path / "1", tmp_path / "2")
    )
    assert first == again
    differing = {str(name) for name in first if first[name] != other[name]}
    # the autoencoder is not trained here
    assert differing == {
        os.path.join(part, name)
        for part, name in (("unet", "diffusion_pytorch_model.safetensors"), ("text_encoder", "model.safetensors"))
    }


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "sd"
    trained = learner()
    drive(trained, 50, 8, seed=7)
    trained.save(folder)
    return folder


def test_its_folder_paints_what_the_prompt_says(trained_folder: Path) -> None:
    pipeline = DiffusionPipeline.from_pretrained(trained_folder)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.config.rescale_betas_zero_snr
    assert pipeline.scheduler.config.timestep_spacing == "trailing"
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    latents = pipeline(list(CAPTIONS[:2]), generator=generators, num_inference_steps=10, output_type="latent").images
    # divided as the pipeline divides before it decodes: the two places are at -3 and 3
    low, high = (latents / pipeline.vae.config.scaling_factor).mean(dim=(1, 2, 3)).tolist()
    assert low < -1.5 and high > 1.5


@pytest.mark.parametrize("scheduler", [None, "DDIMScheduler", "EulerDiscreteScheduler"])
def test_its_folder_is_a_generator_of_ours(trained_folder: Path, scheduler: str | None) -> None:
    config = DiffusionConfig(weights=str(trained_folder), steps=3, guidance=2.0, scheduler=scheduler)
    images = DiffusionGenerator(config, "cpu").generate(["fog", "a village at night"], [1, 2])
    assert [getattr(image, "shape", image) for image in images] == [(32, 64, 3)] * 2


def test_captions_are_dropped_as_often_as_told() -> None:
    tokenizer = learner().pipeline.tokenizer
    none = tuple(tokenizer([""], padding="max_length", max_length=12).input_ids[0])
    draws = LatentDraws(TwoPlaces(), tokenizer, seed=7, drop_caption=0.25)
    dropped = sum(tuple(draws[number].tokens_N) == none for number in range(400))
    assert 70 < dropped < 130
    kept = LatentDraws(TwoPlaces(), tokenizer, seed=7, drop_caption=0.0)
    assert all(tuple(kept[number].tokens_N) != none for number in range(40))


def test_a_prompt_is_read_as_the_pipeline_reads_it() -> None:
    trained = learner(drop_caption=0.0)
    drawn = trained.draws[0]
    caption = next(text for text in CAPTIONS[:2] if (drawn.latent_CHW.mean() > 0) == (text == CAPTIONS[1]))
    expected, _ = trained.pipeline.encode_prompt(caption, "cpu", 1, do_classifier_free_guidance=False)
    read = trained.pipeline.text_encoder(torch.from_numpy(drawn.tokens_N)[None])[0]
    torch.testing.assert_close(read, expected)


def test_every_part_of_the_noise_schedule_gets_its_share() -> None:
    trained = learner()
    steps = [trained._timestep(number, 7) for number in range(64, 164)]
    assert np.histogram(steps, bins=10, range=(0, 1000))[0].tolist() == pytest.approx([10] * 10, abs=2)


def test_a_scheduler_of_another_prediction_is_refused() -> None:
    pipeline = build_pipeline(SIZES, ["fog"], seed=1, scheduler=noise_scheduler())
    with pytest.raises(ValueError, match="epsilon"):
        DenoiserLearner(pipeline, TwoPlaces(), CONFIG, seed=7)


def test_the_latents_of_a_picture_are_of_the_right_size_and_the_same_each_time() -> None:
    vae = build_pipeline(SIZES, ["fog"], seed=1).vae
    images_BHWC = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), dtype=np.uint8)
    latents_BCHW = encode_latents(vae, images_BHWC)
    assert latents_BCHW.shape == (2, 4, 8, 16) and latents_BCHW.dtype == np.float16
    assert np.array_equal(latents_BCHW, encode_latents(vae, images_BHWC))
