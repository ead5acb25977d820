"""The promptable mask model learns, repeats itself for a seed, and is saved as the library has it."""

from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from drive import drive
from segment_anything import SamPredictor
from small_corpus import RenderedCorpus
from small_sam import SIZES

from clouds.errors import CloudsError
from clouds.models.miniature import SAM
from clouds.models.sam_checkpoint import load_sam, new_sam
from clouds.models.sam_dialogue import Question, SamDialogue
from clouds.pretraining.appraisal_promptable import appraise_sam
from clouds.pretraining.promptable import PromptableLearner
from clouds.pretraining.promptable_config import FrameConfig, MaskObjectiveConfig, PromptableConfig, PromptConfig
from clouds.training.loop import Step
from clouds.training.settings import OptimizerConfig

CONFIG = PromptableConfig(
    steps=20,
    batch_size=4,
    optimizer=OptimizerConfig(lr=3e-3, weight_decay=0.0),
    frame=FrameConfig(masks=4, crops=0.3, min_area=8),
    prompts=PromptConfig(rounds=2),
)
CORPUS = RenderedCorpus(4)


def learner(seed: int = 7, **changes: Any) -> PromptableLearner:
    return PromptableLearner(new_sam(SIZES, seed=1), CORPUS, CONFIG.model_copy(update=changes), seed=seed)


def step(trained: PromptableLearner, batch_size: int) -> Step:
    return Step(number=0, seed=7, batch_size=batch_size, parallel=trained.model, accelerator=Accelerator(cpu=True))


def test_the_loss_falls_and_the_masks_come_closer() -> None:
    # what a minute would teach in general, seconds teach of large objects
    trained = learner(
        frame=FrameConfig(masks=8, crops=0.0, groups=0.0, flip=0.0, jitter=None, min_area=150),
        prompts=PromptConfig(point=1, box=0, component=0, rounds=1),
        objective=MaskObjectiveConfig(cross=1.0, balance=1.0, balanced=1.0),
        steps=120,
    )
    before = appraise_sam(trained.sam.eval(), CORPUS, 4, min_area=600)
    losses = np.array(drive(trained, 60, 4, seed=7))
    assert losses[-10:, 0].mean() < 0.7 * losses[:10, 0].mean()
    after = appraise_sam(trained.sam.eval(), CORPUS, 4, min_area=600)
    for name in ("point", "points"):
        assert after[name] > before[name] + 0.1, name


def test_a_seed_gives_its_weights_and_another_seed_others() -> None:
    states = []
    for seed in (7, 7, 8):
        torch.manual_seed(len(states))
        trained = learner()
        drive(trained, 2, 2, seed=seed)
        states.append(trained.state())
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_shares_of_a_batch_add_up_to_the_batch() -> None:
    # one round: a second one depends on which pixels of the first answer are wrong, and so on rounding
    prompts = CONFIG.prompts.model_copy(update={"rounds": 1})
    whole, halved = learner(prompts=prompts), learner(prompts=prompts)
    drawn = [whole.draws[number] for number in range(4)]
    losses = whole.backward(drawn, step(whole, 4))
    halves = sum(halved.backward(share, step(halved, 4)) for share in (drawn[:1], drawn[1:]))
    torch.testing.assert_close(losses, halves, rtol=1e-4, atol=1e-5)
    gradients = ([parameter.grad for parameter in one.sam.parameters()] for one in (whole, halved))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_every_weight_learns() -> None:
    trained = learner(prompts=PromptConfig(rounds=3))
    trained.backward([trained.draws[number] for number in range(8)], step(trained, 8))
    idle = [name for name, parameter in trained.sam.named_parameters() if parameter.grad is None]
    assert idle == []


def test_what_is_saved_is_loaded_and_answers_the_same(tmp_path) -> None:
    trained = learner()
    drive(trained, 3, 2, seed=7)
    trained.save(tmp_path)
    loaded = load_sam(tmp_path / SAM)
    assert next(loaded.parameters()).dtype == torch.float32
    image_HWC = CORPUS.image(0)
    answers = []
    for sam in (trained.sam.eval(), loaded):
        predictor = SamPredictor(sam)
        predictor.set_image(image_HWC)
        answers.append(predictor.predict(np.array([[60, 40], [20, 50]]), np.array([1, 0]), return_logits=True))
    for mine, theirs in zip(*answers, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=0.02 * np.abs(mine).max())
    assert ((answers[0][0] > 0) == (answers[1][0] > 0)).mean() > 0.99


def test_a_state_goes_back_where_it_came_from_and_nowhere_else() -> None:
    trained, fresh = learner(), learner()
    drive(trained, 1, 2, seed=7)
    fresh.load_state({name: tensor.clone() for name, tensor in trained.state().items()})
    assert all(torch.equal(tensor, fresh.state()[name]) for name, tensor in trained.state().items())
    with pytest.raises(CloudsError, match="do not fit"):
        fresh.load_state({"strange": torch.zeros(1)})


def test_a_dialogue_answers_as_the_library_does_prompt_by_prompt() -> None:
    """Prompts about two images in one call against the library's decoder, one image and one prompt at a time."""
    sam = new_sam(SIZES, seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    frames_BCHW = torch.randn(2, 3, 64, 64, generator=generator)
    count, nan = 6, float("nan")
    boxes_NX = torch.tensor([[nan] * 4, [3, 4, 30, 40], [nan] * 4, [nan] * 4, [0, 0, 9, 9], [nan] * 4])
    question = Question(
        owners_N=torch.tensor([0, 0, 1, 1, 1, 0]),
        points_NPX=torch.rand(count, 4, 2, generator=generator) * 64,
        kinds_NP=torch.tensor([[1, 0, -1, -1]] * count),
        boxes_NX=boxes_NX,
        shown_NHW=torch.randn(count, 32, 32, generator=generator),
        shows_N=torch.tensor([False, True, True, False, False, True]),
    )
    questions = iter([question, None])
    with torch.no_grad():
        [answer] = SamDialogue(sam)(frames_BCHW, lambda before: next(questions))
        features_BCHW = sam.image_encoder(frames_BCHW)
        for number, owner in enumerate(question.owners_N.tolist()):
            boxed, shows = not boxes_NX[number].isnan().any(), bool(question.shows_N[number])
            sparse, dense = sam.prompt_encoder(
                points=(question.points_NPX[number : number + 1, :2], question.kinds_NP[number : number + 1, :2]),
                boxes=boxes_NX[number : number + 1] if boxed else None,
                masks=question.shown_NHW[number : number + 1, None] if shows else None,
            )
            logits, quality = sam.mask_decoder.predict_masks(
                features_BCHW[owner : owner + 1], sam.prompt_encoder.get_dense_pe(), sparse, dense
            )
            torch.testing.assert_close(answer.logits_NCHW[number], logits[0], rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(answer.quality_NC[number], quality[0], rtol=1e-3, atol=1e-4)
