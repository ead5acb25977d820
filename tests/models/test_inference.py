"""Scores of images of mixed sizes: as if each were alone, at its own resolution, in its own place."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds.models.inference import predict_scores
from clouds.models.protocol import ProtocolConfig
from clouds.models.segmenter import build_segmenter
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, SegmenterConfig
from clouds.models.tiny_clip import build_tiny_clip

CLASSES = 3
HEAD = HeadConfig(
    channels=32, queries=10, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2, decoder_feedforward=32
)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    clip = build_tiny_clip(tmp_path_factory.mktemp("clip"), seed=1)
    config = SegmenterConfig(backbone=BackboneConfig(weights=str(clip)), head=HEAD)
    return build_segmenter(config, CLASSES, seed=0).eval()


def images_of(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([(32, 64), (33, 47), (64, 32), (5, 40)]), max_size=5),
    short_edge=st.sampled_from([None, 34, 40]),
)
def test_images_of_mixed_sizes_score_as_alone(segmenter, sizes, short_edge):
    images = images_of(*sizes)
    together = dict(predict_scores(segmenter, images, nullcontext, ProtocolConfig(short_edge=short_edge)))
    assert sorted(together) == list(range(len(images)))
    for position, image_HWC in enumerate(images):
        [(place, alone)] = predict_scores(segmenter, [image_HWC], nullcontext, ProtocolConfig(short_edge=short_edge))
        assert place == 0
        assert alone.shape == (CLASSES, *image_HWC.shape[:2]) and alone.dtype == torch.float32
        # sums in a batch differ by rounding, which the layers carry on
        torch.testing.assert_close(together[position], alone, atol=1e-4, rtol=0)


def test_without_a_short_edge_it_is_what_the_segmenter_predicts(segmenter):
    [image_HWC] = images_of((32, 64))
    [(_, scores_KHW)] = predict_scores(segmenter, [image_HWC], nullcontext)
    expected = segmenter.predict(torch.from_numpy(image_HWC).permute(2, 0, 1)[None])[0]
    torch.testing.assert_close(scores_KHW, expected, atol=1e-5, rtol=0)


def test_an_image_that_has_the_short_edge_is_not_resized(segmenter):
    images = images_of((32, 64))
    [(_, as_it_is)] = predict_scores(segmenter, images, nullcontext)
    [(_, edged)] = predict_scores(segmenter, images, nullcontext, ProtocolConfig(short_edge=32))
    assert torch.equal(as_it_is, edged)


@pytest.mark.parametrize("short_edge", [20, 48])
def test_a_short_edge_changes_the_prediction_but_not_its_size(segmenter, short_edge):
    seen = []
    handle = segmenter.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    images = images_of((64, 32))
    [(_, scores_KHW)] = predict_scores(segmenter, images, nullcontext, ProtocolConfig(short_edge=short_edge))
    handle.remove()
    # the backbone sees the resized image, padded to its largest stride
    assert seen == [(-(-2 * short_edge // 32) * 32, -(-short_edge // 32) * 32)]
    assert scores_KHW.shape == (CLASSES, 64, 32)
    [(_, as_it_is)] = predict_scores(segmenter, images, nullcontext)
    assert not torch.allclose(scores_KHW, as_it_is, atol=1e-3)
    assert scores_KHW.min() >= 0 and scores_KHW.sum(0).max() <= 1 + 1e-5


def test_images_of_one_size_share_a_forward_pass_and_only_it_is_cast(segmenter):
    open_now, opened = [], []

    @contextmanager
    def watched():
        opened.append(True)
        open_now.append(True)
        yield
        open_now.pop()

    images = images_of((32, 64), (40, 40), (32, 64))
    order = []
    for position, _ in predict_scores(segmenter, images, watched):
        assert not open_now
        order.append(position)
    assert order == [0, 2, 1]
    assert len(opened) == 2
