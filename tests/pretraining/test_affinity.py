"""The image encoder learns which places belong together, repeats itself for a seed, and is saved whole."""

from pathlib import Path

import numpy as np
import pytest
import torch
from drive import drive
from hypothesis import given
from hypothesis import strategies as st
from small_corpus import RenderedCorpus
from small_sam import SIZES

from clouds.errors import CloudsError
from clouds.models.miniature import SAM
from clouds.models.sam_checkpoint import load_sam, new_sam
from clouds.pretraining.affinity import AffinityLearner, object_shares
from clouds.pretraining.affinity_config import AffinityConfig
from clouds.training.settings import OptimizerConfig

CORPUS = RenderedCorpus(4)


def learner(seed: int = 7) -> AffinityLearner:
    config = AffinityConfig(steps=40, batch_size=4, optimizer=OptimizerConfig(lr=3e-3, weight_decay=0.0))
    return AffinityLearner(new_sam(SIZES, seed=1), CORPUS, config, seed=seed)


def test_the_loss_falls() -> None:
    losses = np.array(drive(learner(), 60, 4, seed=7))[:, 0]
    assert losses[-10:].mean() < 0.85 * losses[:3].mean()


def test_a_seed_gives_the_same_weights_and_another_seed_others() -> None:
    trained = [learner(seed) for seed in (7, 7, 8)]
    for one, seed in zip(trained, (7, 7, 8), strict=True):
        drive(one, 3, 2, seed=seed)
    first, again, other = (one.state()["encoder.patch_embed.proj.weight"] for one in trained)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_only_the_encoder_learns_and_the_file_holds_the_whole(tmp_path: Path) -> None:
    trained, untrained = learner(), new_sam(SIZES, seed=1)
    drive(trained, 3, 2, seed=7)
    trained.save(tmp_path)
    saved = load_sam(tmp_path / SAM)
    frames = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(saved.image_encoder(frames), trained.sam.image_encoder(frames), atol=2e-2, rtol=2e-2)
    for name, tensor in untrained.mask_decoder.state_dict().items():
        torch.testing.assert_close(saved.mask_decoder.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(saved.image_encoder.pos_embed, untrained.image_encoder.pos_embed, atol=1e-3)


def test_a_checkpoint_of_another_model_is_refused() -> None:
    with pytest.raises(CloudsError, match="do not fit"):
        learner().load_state({"encoder.pos_embed": torch.zeros(1)})


@given(objects=st.lists(st.integers(0, 3), min_size=32, max_size=32), rows=st.sampled_from([4, 8]))
def test_shares_count_pixels(objects: list[int], rows: int) -> None:
    objects_HW = np.array(objects, np.int32).reshape(rows, -1)
    shares_TK = object_shares(objects_HW, side=8, cells=2)
    numbers = np.unique(objects_HW[objects_HW > 0])
    assert shares_TK.shape == (4, len(numbers))
    np.testing.assert_allclose(shares_TK.sum(0) * 16, [(objects_HW == number).sum() for number in numbers])
    assert (shares_TK.sum(1) <= 1 + 1e-6).all()
