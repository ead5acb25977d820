"""Graphs of segmenters as files: ONNX and torch.export's `.pt2`. It knows no run and no card.

A file is opened again by what others will open it with, and compared with the segmenter it came from.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from clouds.errors import CloudsError
from clouds.models.graph import BATCH, INPUT, OUTPUTS, trace, trial_images
from clouds.models.segmenter import MaskSegmenter

OPSET = 20
"""The first of ONNX's operator sets with the GridSample that deformable attention is made of, in all its modes."""
TOLERANCE = 1e-3
"""How far a score may be from the segmenter's own."""

Run = Callable[[Tensor], Tensor]
"""uint8 images (B, 3, H, W) to float32 scores (B, K, H, W)."""


def write_onnx(segmenter: MaskSegmenter, size: tuple[int, int], file: Path) -> float:
    """Write the graph for images of (height, width); the largest difference of a score from the segmenter's own.

    Weights beyond 2 GB go to a file of the same name with `.data` beside it. Raises `CloudsError` where the file's
    scores are further than `TOLERANCE` from the segmenter's.
    """
    from onnxscript import optimizer

    program = trace(segmenter, size)
    for library in ("torch.onnx", "onnxscript"):
        logging.getLogger(library).setLevel(logging.ERROR)
    exported = torch.onnx.export(
        program,
        (trial_images(1, size),),
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        opset_version=OPSET,
        dynamic_shapes=({0: BATCH},),
        dynamo=True,
        verbose=False,
        # its rewriting takes minutes, and what runs the graph rewrites it anyway
        optimize=False,
    )
    assert exported is not None
    optimizer.fold_constants(exported.model)
    optimizer.remove_unused_nodes(exported.model)
    exported.save(str(file))
    return checked(open_onnx(file), segmenter, size, file)


def open_onnx(file: Path) -> Run:
    """The graph in onnxruntime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda images_BCHW: torch.from_numpy(session.run(["scores"], {INPUT: images_BCHW.numpy()})[0])


def write_pt2(segmenter: MaskSegmenter, size: tuple[int, int], file: Path) -> float:
    """As `write_onnx`, as torch.export's archive."""
    program: ExportedProgram = trace(segmenter, size)
    torch.export.save(program, file)
    return checked(open_pt2(file), segmenter, size, file)


def open_pt2(file: Path) -> Run:
    """The graph in PyTorch."""
    graph = torch.export.load(file).module()

    def run(images_BCHW: Tensor) -> Tensor:
        scores_BKHW: Tensor = graph(images_BCHW)[0]
        return scores_BKHW

    return run


@torch.no_grad()
def checked(run: Run, segmenter: MaskSegmenter, size: tuple[int, int], file: Path) -> float:
    """The largest difference of scores, of one image and of several. Raises `CloudsError` where it is too large."""
    found = [_difference(run, segmenter, trial_images(count, size)) for count in (1, 3)]
    # not `>`: a NaN is no agreement
    if not max(found) <= TOLERANCE:
        raise CloudsError(
            f"{file.name}: its scores differ from the segmenter's by up to {max(found):.2g}, more than {TOLERANCE:g}",
            "this is a fault of the export: please report it with the versions that `clouds doctor` prints",
        )
    return max(found)


def _difference(run: Run, segmenter: MaskSegmenter, images_BCHW: Tensor) -> float:
    return float((run(images_BCHW) - segmenter.predict(images_BCHW)).abs().max())
