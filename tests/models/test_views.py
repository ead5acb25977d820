"""The labels of an image in several views: each as the image alone would be predicted, turned back to how it lies."""

from contextlib import nullcontext

import numpy as np
import pytest

from clouds.models.inference import predict_scores
from clouds.models.judge_config import ViewsConfig
from clouds.models.protocol import ProtocolConfig
from clouds.models.segmenter import build_segmenter
from clouds.models.segmenter_config import BackboneConfig, HeadConfig, SegmenterConfig
from clouds.models.tiny_clip import build_tiny_clip
from clouds.models.views import View, labels_of_views, views_of

CLASSES = 5
HEAD = HeadConfig(
    channels=64, queries=10, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2, decoder_feedforward=32
)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    clip = build_tiny_clip(tmp_path_factory.mktemp("clip"), seed=1)
    config = SegmenterConfig(backbone=BackboneConfig(weights=str(clip)), head=HEAD)
    return build_segmenter(config, CLASSES, seed=0).eval()


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in ((32, 64), (40, 48))]


def labels(segmenter, image_HWC, **protocol):
    [(_, scores_KHW)] = predict_scores(segmenter, [image_HWC], nullcontext, ProtocolConfig(**protocol))
    return scores_KHW.argmax(0).numpy()


def alike(one_HW, other_HW):
    """But for stray pixels: sums in a batch differ by rounding."""
    return one_HW.shape == other_HW.shape and np.mean(one_HW != other_HW) < 0.01


def test_each_view_is_the_prediction_of_what_is_shown(segmenter, images):
    views = [View(), View(mirrored=True), View(0.75), View(1.25)]
    found = labels_of_views(segmenter, images, nullcontext, ProtocolConfig(), views)
    for image_HWC, (plain, mirrored, small, large) in zip(images, found, strict=True):
        assert alike(plain, labels(segmenter, image_HWC))
        assert alike(mirrored, labels(segmenter, image_HWC[:, ::-1])[:, ::-1])
        assert alike(small, labels(segmenter, image_HWC, scales=(0.75,)))
        assert alike(large, labels(segmenter, image_HWC, scales=(1.25,)))


def test_a_mirrored_image_gives_mirrored_views(segmenter, images):
    one, other = (
        labels_of_views(segmenter, [image_HWC], nullcontext, ProtocolConfig(), [View(), View(mirrored=True)])[0]
        for image_HWC in (images[0], np.ascontiguousarray(images[0][:, ::-1]))
    )
    assert alike(one[0], other[1][:, ::-1]) and alike(one[1], other[0][:, ::-1])


def test_views_are_shown_by_the_protocol_and_never_averaged_with_their_mirror_image(segmenter, images):
    protocol = ProtocolConfig(short_edge=48, scales=(1.0, 0.5), flip=True)
    [[found]] = labels_of_views(segmenter, images[:1], nullcontext, protocol, [View(1.5)])
    assert alike(found, labels(segmenter, images[0], short_edge=48, scales=(1.5, 0.75)))


def test_the_views_of_a_config():
    assert views_of(ViewsConfig()) == [View(), View(mirrored=True), View(0.75), View(1.25)]
    assert views_of(ViewsConfig(flip=False, scales=(2.0,))) == [View(), View(2.0)]
