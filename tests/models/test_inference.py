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
# a group of the norms needs two values: 32 channels would be too few for images of one cell at the largest stride
HEAD = HeadConfig(
    channels=64, queries=10, heads=4, encoder_layers=1, encoder_feedforward=32, decoder_layers=2, decoder_feedforward=32
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


def scores_of(segmenter, images, **protocol):
    return dict(predict_scores(segmenter, images, nullcontext, ProtocolConfig(**protocol)))


def alone(segmenter, image_HWC):
    """The plain scores (K, H, W) of one array of any size, straight from the segmenter."""
    return segmenter.predict(torch.from_numpy(np.ascontiguousarray(image_HWC)).permute(2, 0, 1)[None])[0]


@settings(max_examples=10, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 90), taller=st.integers(0, 40), wider=st.integers(1, 40))
def test_a_larger_image_beside_it_does_not_change_an_image(segmenter, height, width, taller, wider):
    small, large = images_of((height, width), (height + taller, width + wider))
    together = scores_of(segmenter, [large, small])
    assert torch.equal(together[1], scores_of(segmenter, [small])[0])
    assert torch.equal(together[0], scores_of(segmenter, [large])[0])


@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 70))
def test_a_window_that_covers_the_image_is_the_whole_image(segmenter, height, width):
    images = images_of((height, width), (height, width))
    whole, covered = scores_of(segmenter, images), scores_of(segmenter, images, window=(height, width + 7))
    assert all(torch.equal(whole[place], covered[place]) for place in range(2))


@settings(max_examples=6, deadline=None)
@given(
    size=st.tuples(st.integers(20, 60), st.integers(20, 90)),
    window=st.tuples(st.integers(12, 40), st.integers(20, 50)),
    down=st.floats(0.5, 1),
    right=st.floats(0.5, 1),
    count=st.integers(1, 3),
)
def test_overlapping_windows_are_averaged(segmenter, size, window, down, right, count):
    stride = (max(1, int(down * window[0])), max(1, int(right * window[1])))
    images = images_of(*[size] * count)
    together = scores_of(segmenter, images, window=window, stride=stride)
    tall, wide = min(window[0], size[0]), min(window[1], size[1])
    for place, image_HWC in enumerate(images):
        total, times = torch.zeros(CLASSES, *size), torch.zeros(size)
        row = 0
        while True:
            top = min(row, size[0] - tall)
            column = 0
            while True:
                left = min(column, size[1] - wide)
                area = (slice(top, top + tall), slice(left, left + wide))
                total[:, area[0], area[1]] += alone(segmenter, image_HWC[area])
                times[area] += 1
                if left == size[1] - wide:
                    break
                column += stride[1]
            if top == size[0] - tall:
                break
            row += stride[0]
        torch.testing.assert_close(together[place], total / times, atol=1e-4, rtol=0)


def test_a_mirrored_view_is_turned_back_and_averaged(segmenter):
    images = images_of((40, 70), (40, 70))
    together = scores_of(segmenter, images, flip=True)
    for place, image_HWC in enumerate(images):
        mean_KHW = (alone(segmenter, image_HWC) + alone(segmenter, image_HWC[:, ::-1]).flip(-1)) / 2
        torch.testing.assert_close(together[place], mean_KHW, atol=1e-4, rtol=0)


def test_scales_and_mirrored_views_are_averaged_at_the_image_size(segmenter):
    [image_HWC] = images_of((40, 70))
    single = [
        scores_of(segmenter, [image], size=size)[0]
        for size in ((20, 35), (40, 70), (60, 105))
        for image in (image_HWC, np.ascontiguousarray(image_HWC[:, ::-1]))
    ]
    turned = [scores.flip(-1) if number % 2 else scores for number, scores in enumerate(single)]
    mean_KHW = torch.stack(turned).mean(0)
    [scores_KHW] = scores_of(segmenter, [image_HWC], scales=(0.5, 1, 1.5), flip=True).values()
    torch.testing.assert_close(scores_KHW, mean_KHW, atol=1e-4, rtol=0)
    assert scores_KHW.min() >= 0 and scores_KHW.sum(0).max() <= 1 + 1e-5


def test_the_published_protocol_of_a_fixed_size_and_windows(segmenter):
    """1024x512 images in windows of 512 every 426 pixels (VLTSeg, synthetic source), at a sixteenth of the size."""
    seen = []
    handle = segmenter.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    [scores_KHW] = scores_of(
        segmenter, images_of((45, 80)), size=(32, 64), window=(32, 34), stride=(27, 27)
    ).values()  # fmt: skip
    handle.remove()
    # three windows over the width of 64: from 0, 27 and, moved back to the border, 30; one image, so one at a time
    assert seen == [(1, 3, 32, 64)] * 3
    assert scores_KHW.shape == (CLASSES, 45, 80)


@settings(max_examples=4, deadline=None)
@given(sizes=st.lists(st.sampled_from([(32, 64), (33, 47), (64, 40)]), min_size=1, max_size=3), flip=st.booleans())
def test_images_in_windows_and_scales_score_as_alone(segmenter, sizes, flip):
    images = images_of(*sizes)
    protocol = {"short_edge": 40, "window": (30, 44), "scales": (0.75, 1.25), "flip": flip}
    together = scores_of(segmenter, images, **protocol)
    for place, image_HWC in enumerate(images):
        single = scores_of(segmenter, [image_HWC], **protocol)[0]
        torch.testing.assert_close(together[place], single, atol=1e-4, rtol=0)


def test_no_more_windows_than_images_go_through_the_model_at_a_time(segmenter):
    batches = []
    handle = segmenter.backbone.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    scores_of(segmenter, images_of(*[(40, 80)] * 3), window=(40, 50), stride=(40, 15))
    handle.remove()
    # 3 windows of each image; a batch may hold windows of two images
    assert batches == [3, 3, 3]
    batches.clear()
    handle = segmenter.backbone.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    scores_of(segmenter, images_of(*[(40, 80)] * 4), window=(40, 50), stride=(40, 15))
    handle.remove()
    assert batches == [4, 4, 4]
