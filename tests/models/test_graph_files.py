"""Graphs of segmenters: ONNX in onnxruntime and torch.export's archive compute what the segmenter does."""

import onnx
import onnxruntime
import pytest
import torch
from small_segmenters import NAMES, small_segmenter

from clouds.errors import CloudsError
from clouds.models.graph import SegmenterGraph, trial_images
from clouds.models.graph_files import OPSET, TOLERANCE, checked, open_onnx, open_pt2, write_onnx, write_pt2

SIZE = (40, 72)
WAYS = {"onnx": (write_onnx, open_onnx), "pt2": (write_pt2, open_pt2)}
SLOW = pytest.mark.slow


def noise(count):
    return torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("way", "kind", "classifier"),
    [
        ("onnx", "clip vit", "text"),
        pytest.param("pt2", "clip convnext", "closed", marks=SLOW),
        pytest.param("onnx", "clip convnext", "closed", marks=SLOW),
        pytest.param("onnx", "clip convnext", "text", marks=SLOW),
        pytest.param("onnx", "clip vit 14", "closed", marks=SLOW),
        pytest.param("onnx", "swin", "closed", marks=SLOW),
        pytest.param("pt2", "clip convnext", "text", marks=SLOW),
        pytest.param("pt2", "clip vit", "text", marks=SLOW),
        pytest.param("pt2", "clip vit 14", "closed", marks=SLOW),
    ],
)
def test_the_file_computes_what_the_segmenter_does(tmp_path, way, kind, classifier):
    model = small_segmenter(kind, classifier, tmp_path)
    file = tmp_path / f"model.{way}"
    write, read = WAYS[way]
    assert write(model, SIZE, file) < TOLERANCE
    run = read(file)
    for count in (1, 2, 5):
        images_BCHW = noise(count)
        expected_BKHW = model.predict(images_BCHW)
        assert expected_BKHW.std() > 1e-3, "nothing is told apart, so that nothing is compared"
        torch.testing.assert_close(run(images_BCHW), expected_BKHW, atol=TOLERANCE, rtol=0)
    if way == "onnx":
        _check_interface(file)


def _check_interface(file):
    """The names, shapes and types others rely on; and labels are those of the highest scores."""
    onnx.checker.check_model(str(file))
    model = onnx.load(str(file))
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == OPSET
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    told = {one.name: (one.type, one.shape) for one in (*session.get_inputs(), *session.get_outputs())}
    assert told == {
        "images": ("tensor(uint8)", ["batch", 3, *SIZE]),
        "scores": ("tensor(float)", ["batch", len(NAMES), *SIZE]),
        "labels": ("tensor(uint8)", ["batch", *SIZE]),
    }
    scores_BKHW, labels_BHW = session.run(["scores", "labels"], {"images": noise(2).numpy()})
    assert (labels_BHW == scores_BKHW.argmax(1)).all()


def test_the_graph_scores_a_batch_as_the_segmenter_does_image_by_image(tmp_path):
    model = small_segmenter("clip resnet", "closed", tmp_path)
    images_BCHW = noise(3)
    with torch.no_grad():
        scores_BKHW, labels_BHW = SegmenterGraph(model)(images_BCHW)
    torch.testing.assert_close(scores_BKHW, model.predict(images_BCHW), atol=1e-6, rtol=0)
    assert labels_BHW.dtype == torch.uint8 and torch.equal(labels_BHW.long(), scores_BKHW.argmax(1))


@pytest.mark.parametrize("off", [2 * TOLERANCE, float("nan")])
def test_a_file_that_computes_something_else_is_refused(tmp_path, off):
    model = small_segmenter("clip resnet", "closed", tmp_path)
    with pytest.raises(CloudsError, match=r"model\.onnx: its scores differ"):
        checked(lambda images: model.predict(images) + off, model, SIZE, tmp_path / "model.onnx")
    assert checked(model.predict, model, SIZE, tmp_path / "model.onnx") == 0


def test_images_to_compare_on_are_always_the_same_and_of_many_values():
    assert torch.equal(trial_images(2, (33, 65)), trial_images(2, (33, 65)))
    assert trial_images(1, (8, 8)).shape == (1, 3, 8, 8) and trial_images(2, (64, 64)).float().std() > 30
