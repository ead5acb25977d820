"""The autoencoder learns, repeats itself for a seed, and is judged fairly."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from drive import drive
from small_corpus import RenderedCorpus
from torch import Tensor

from clouds.errors import CloudsError
from clouds.models.diffusion_builder import build_autoencoder
from clouds.models.diffusion_sizes import AutoencoderSizes, DiffusionSizes
from clouds.pretraining.autoencoder import AutoencoderLearner, PictureDraws, appraise_autoencoder
from clouds.pretraining.autoencoder_config import AutoencoderConfig
from clouds.training.settings import OptimizerConfig

SIZES = DiffusionSizes(height=32, width=64, autoencoder=AutoencoderSizes(channels=(8, 16), groups=4))
CONFIG = AutoencoderConfig(steps=20, batch_size=4, optimizer=OptimizerConfig(lr=3e-3, weight_decay=0.0))
CORPUS = RenderedCorpus(12, height=32, width=64)


def learner(**changes: Any) -> AutoencoderLearner:
    config = CONFIG.model_copy(update=changes)
    return AutoencoderLearner(build_autoencoder(SIZES, seed=1), CORPUS, config, seed=7)


class Exact:
    """Returns what it is given, plus a constant."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def encode(self, images_BCHW: Tensor) -> Any:
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=images_BCHW))

    def decode(self, latents_BCHW: Tensor) -> Any:
        # towards the middle, so that nothing is clipped
        return SimpleNamespace(sample=latents_BCHW - self.shift * latents_BCHW.sign())


def test_the_loss_falls_and_the_pictures_come_closer() -> None:
    trained = learner()
    before = appraise_autoencoder(trained.vae, CORPUS, 4)["psnr_db"]
    losses = drive(trained, 30, 4, seed=7)
    assert losses[-1][0] < 0.7 * losses[0][0]
    assert appraise_autoencoder(trained.vae, CORPUS, 4)["psnr_db"] > before + 2


def test_a_seed_gives_its_weights_and_another_seed_others() -> None:
    states = []
    for seed in (7, 7, 8):
        torch.manual_seed(len(states))
        trained = learner()
        drive(trained, 2, 4, seed=seed)
        states.append(trained.state())
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_shares_of_a_batch_add_up_to_the_batch() -> None:
    whole, halved = learner(), learner()
    drawn = [whole.draws[number] for number in range(4)]
    gradients = []
    for model, shares in ((whole, [drawn]), (halved, [drawn[:1], drawn[1:]])):
        from accelerate import Accelerator

        from clouds.training.loop import Step

        step = Step(number=0, seed=7, batch_size=4, parallel=model.model, accelerator=Accelerator(cpu=True))
        losses = sum(model.backward(share, step) for share in shares)
        gradients.append((losses, next(model.model.parameters()).grad))
    (loss, gradient), (loss_halves, gradient_halves) = gradients
    torch.testing.assert_close(loss, loss_halves)
    torch.testing.assert_close(gradient, gradient_halves, rtol=1e-3, atol=1e-6)


def test_it_comes_back_from_its_folder_and_from_its_state(tmp_path: Path) -> None:
    trained, fresh = learner(), learner()
    drive(trained, 2, 4, seed=7)
    trained.save(tmp_path)
    loaded = AutoencoderKL.from_pretrained(tmp_path)
    fresh.load_state(trained.state())
    for name, tensor in trained.state().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
        assert torch.equal(fresh.state()[name], tensor)


def test_weights_of_another_size_are_refused() -> None:
    other = build_autoencoder(SIZES.model_copy(update={"autoencoder": AutoencoderSizes(channels=(8, 8), groups=4)}), 1)
    with pytest.raises(CloudsError, match=r"here: the weights do not fit"):
        learner().load_state(other.state_dict(), "here")


def test_half_of_the_pictures_are_mirrored_and_each_comes_once_a_round() -> None:
    plain, mirrored = PictureDraws(CORPUS, 7, flip=False), PictureDraws(CORPUS, 7, flip=True)
    flipped = 0
    for number in range(24):
        left, right = plain[number].image_HWC, mirrored[number].image_HWC
        flipped += not np.array_equal(left, right)
        assert np.array_equal(left, right) or np.array_equal(left[:, ::-1], right)
    assert 4 < flipped < 20
    assert len({plain[number].image_HWC.tobytes() for number in range(12)}) == 12


@pytest.mark.parametrize(("shift", "psnr"), [(0.0, 70.0), (0.02, 40.0), (0.2, 20.0)])
def test_the_appraisal_knows_good_from_bad(shift: float, psnr: float) -> None:
    bright = RenderedCorpus(2, height=32, width=64)
    assert appraise_autoencoder(Exact(shift), bright, 2)["psnr_db"] == pytest.approx(psnr, abs=0.5)


def test_an_appraisal_needs_a_picture() -> None:
    with pytest.raises(ValueError, match="no picture"):
        appraise_autoencoder(Exact(0.0), CORPUS, 0)
