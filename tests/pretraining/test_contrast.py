"""The CLIP learns to match pictures and captions, repeats itself for a seed, and its folder is the same model."""

import socket
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.multiprocessing
from accelerate import Accelerator
from drive import drive
from small_clip import CAPTIONS, CONFIG, SIZES, WORDS, Flags, gradients, learner, one_of_two

from clouds.errors import CloudsError
from clouds.models.backbones import load_backbone
from clouds.models.clip_builder import Clip, build_clip, load_clip
from clouds.models.segmenter_config import BackboneConfig
from clouds.pretraining.contrast import ContrastLearner, PairDraws
from clouds.pretraining.contrast_config import GENTLE
from clouds.training.loop import Step


@pytest.fixture(scope="module")
def trained() -> tuple[ContrastLearner, list[list[float]]]:
    model = learner()
    return model, drive(model, 60, 8, seed=7)


def found(clip: Clip) -> float:
    """The share of flags whose own caption is nearest."""
    clip.model.eval()
    with torch.no_grad():
        images = clip.images(np.stack([Flags().image(index) for index in range(len(CAPTIONS))]))
        texts = clip.texts(CAPTIONS)
    cosines = torch.nn.functional.normalize(images) @ torch.nn.functional.normalize(texts).T
    return float((cosines.argmax(1) == torch.arange(len(CAPTIONS))).float().mean())


def test_the_loss_falls_and_captions_are_found(trained: tuple[ContrastLearner, list[list[float]]]) -> None:
    model, losses = trained
    assert np.mean([loss for loss, _ in losses[-8:]]) < 0.6 * losses[0][0]
    assert found(model.clip) > 0.5 > 0.2 > found(learner().clip)


def test_a_seed_gives_its_weights_and_another_seed_others() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(states))
        again = ContrastLearner(build_clip(SIZES, WORDS, seed), Flags(), CONFIG, seed=seed)
        drive(again, 2, 4, seed=7)
        states.append(again.state())
    first, second, other = states
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_building_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    build_clip(SIZES, WORDS, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_its_folder_is_an_open_clip_model(trained: tuple[ContrastLearner, list[list[float]]], tmp_path: Path) -> None:
    clip = trained[0].clip
    trained[0].save(tmp_path)
    opened = open_clip.create_model(f"local-dir:{tmp_path}", require_pretrained=True).eval()
    assert {parameter.dtype for parameter in opened.parameters()} == {torch.float32}
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path}")(list(CAPTIONS))
    assert torch.equal(tokens, clip.tokens(CAPTIONS))
    images_BHWC = np.stack([Flags().image(index) for index in range(4)])
    clip.model.eval()
    with torch.no_grad():
        ours, theirs = clip.texts(CAPTIONS), opened.encode_text(tokens)
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)
        loaded = load_clip(tmp_path)
        torch.testing.assert_close(loaded.images(images_BHWC), clip.images(images_BHWC), rtol=0.02, atol=0.02)
        assert torch.equal(loaded.texts(CAPTIONS), theirs)


def test_its_folder_is_a_segmenters_backbone(
    trained: tuple[ContrastLearner, list[list[float]]], tmp_path: Path
) -> None:
    trained[0].save(tmp_path)
    backbone = load_backbone(BackboneConfig(weights=str(tmp_path)))
    opened = open_clip.create_model(f"local-dir:{tmp_path}", require_pretrained=True).eval()
    images = torch.randn(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    expected = opened.visual.forward_intermediates(images, intermediates_only=True)["image_intermediates"]
    for own, other in zip(backbone(images), expected, strict=True):
        torch.testing.assert_close(own, other)
    pixels = torch.full((1, 3, 1, 1), 0.25)
    torch.testing.assert_close(trained[0].clip.normalise(255 * pixels), (pixels - backbone.mean) / backbone.std)


def test_a_state_comes_back_and_another_models_is_refused(
    trained: tuple[ContrastLearner, list[list[float]]],
) -> None:
    fresh = learner()
    fresh.load_state(trained[0].state())
    assert all(torch.equal(tensor, fresh.state()[name]) for name, tensor in trained[0].state().items())
    other = build_clip(SIZES.model_copy(update={"embed_dim": 8}), WORDS, 1)
    with pytest.raises(CloudsError, match="here: the weights do not fit"):
        fresh.load_state(dict(other.model.state_dict()), "here")


def test_the_scale_stays_in_its_bounds(tmp_path: Path) -> None:
    model = learner(largest_scale=5.0)
    # it begins at 1 / 0.07, above this bound
    assert [scale for _, scale in drive(model, 1, 4, seed=7)] == pytest.approx([5.0])
    model.clip.model.logit_scale.data.fill_(9.0)
    model.save(tmp_path)
    assert float(load_clip(tmp_path).model.logit_scale.detach().exp()) == pytest.approx(5.0, rel=1e-2)


def test_pictures_change_a_little_and_keep_their_size_and_caption() -> None:
    draws = PairDraws(Flags(), GENTLE, seed=3)
    pairs = [draws[number] for number in range(2 * len(CAPTIONS))]
    assert sorted(pair.caption for pair in pairs[:16]) == sorted(CAPTIONS)
    assert {pair.image_HWC.shape for pair in pairs} == {(32, 64, 3)}
    for pair in pairs:
        original = Flags().image(CAPTIONS.index(pair.caption))
        assert not np.array_equal(pair.image_HWC, original)
        # near the edges it is still the colour the caption says
        assert np.abs(pair.image_HWC[:8].mean((0, 1)) - original[:8].mean((0, 1))).max() < 60
    assert np.array_equal(draws[5].image_HWC, PairDraws(Flags(), GENTLE, seed=3)[5].image_HWC)


def test_without_words_of_its_own_it_reads_as_published(tmp_path: Path) -> None:
    clip = build_clip(SIZES, None, seed=1)
    clip.save(tmp_path)
    assert torch.equal(clip.tokens(["a road"]), open_clip.tokenize(["a road"], context_length=8))
    assert torch.equal(load_clip(tmp_path).tokens(["a road"]), clip.tokens(["a road"]))


def test_a_trunk_timm_does_not_know_is_named() -> None:
    with pytest.raises(CloudsError, match="convnext_gigantic"):
        build_clip(SIZES.model_copy(update={"trunk": "convnext_gigantic"}), WORDS, 1)


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two, (port, str(tmp_path)), nprocs=2)
    loss, alone = gradients(Accelerator(cpu=True))
    for rank in "01":
        loss_shared, shared = torch.load(tmp_path / rank)
        torch.testing.assert_close(loss_shared, loss)
        for name, gradient in alone.items():
            torch.testing.assert_close(shared[name], gradient, rtol=1e-3, atol=1e-5)


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    class Three:
        num_processes, process_index, device = 3, 0, torch.device("cpu")

    model = learner()
    step = Step(number=0, seed=7, batch_size=8, parallel=model.model, accelerator=Three())  # type: ignore[arg-type]
    with pytest.raises(CloudsError, match="a batch of 8 pairs"):
        model.backward([model.draws[0]], step)
