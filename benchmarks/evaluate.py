"""Measures how fast predictions are counted, beside the way of detectron2's semantic segmentation evaluator.

That way, from its documented definition: prediction and truth as int64 arrays, ignored pixels one class more, and
`np.bincount((num_classes + 1) * prediction + truth)`. It begins, as ours does, with the bytes that files hold; a second
row says what is left of its time where the arrays are int64 already. All ways count the same pair of images in turn, so
that what else runs on the machine troubles all alike; the best of many rounds counts. Two pairs:

- streets: a scene of the procedural world and a prediction of it at a quarter of its size, moved a little, with blots.
- noise: every pixel random. No label is like this; it is the worst for a way that lives on runs.

    python benchmarks/evaluate.py
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from clouds.data.world import DOMAINS, render_scene
from clouds.ops.boundary import boundary_counts
from clouds.ops.confusion import confusion_matrix

Ids_HW = NDArray[np.uint8]
Way = Callable[[], NDArray[np.int64]]
IGNORE = 255


def detectron2_way(prediction_HW: NDArray[np.int64], truth_HW: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(K + 1, K + 1), rows prediction; the truth has K where it is ignored."""
    pairs = (classes + 1) * prediction_HW.reshape(-1) + truth_HW.reshape(-1)
    return np.bincount(pairs, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)


def as_int64(prediction_HW: Ids_HW, truth_HW: Ids_HW, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What the evaluator counts, from what files hold."""
    truth_64 = truth_HW.astype(np.int64)
    truth_64[truth_64 == IGNORE] = classes
    return prediction_HW.astype(np.int64), truth_64


def sixteen_bit_pairs(prediction_HW: Ids_HW, truth_HW: Ids_HW, classes: int) -> NDArray[np.int64]:
    """One pixel after the other, both ids in one 16-bit number."""
    pairs = truth_HW.astype(np.uint16) * np.uint16(256) + prediction_HW
    return np.bincount(pairs.ravel(), minlength=65536).reshape(256, 256)[:classes, :classes]


def torch_pairs(prediction_HW: Ids_HW, truth_HW: Ids_HW, classes: int) -> NDArray[np.int64]:
    """The same with torch.bincount."""
    pairs = torch.from_numpy(truth_HW).to(torch.int32) * 256 + torch.from_numpy(prediction_HW)
    return torch.bincount(pairs.view(-1), minlength=65536).view(256, 256)[:classes, :classes].numpy()


def streets(height: int, width: int, classes: int) -> tuple[Ids_HW, Ids_HW]:
    """Prediction and truth of a scene; the prediction's contours are coarse, and it has blots of any class."""
    rng = np.random.default_rng(0)
    truth_HW = render_scene(next(iter(DOMAINS)), 3, height=height, width=width).labels_HW.astype(np.uint8)
    prediction_HW = truth_HW[2::4, 1::4].repeat(4, 0).repeat(4, 1)[:height, :width].copy()
    rows, columns = np.ogrid[:height, :width]
    for _ in range(60):
        row, column, radius = rng.integers(height), rng.integers(width), rng.integers(10, 60)
        prediction_HW[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = rng.integers(classes)
    ignored = rng.random((height // 64, width // 64)) < 0.05
    truth_HW[ignored.repeat(64, 0).repeat(64, 1)] = IGNORE
    return prediction_HW, truth_HW


def noise(height: int, width: int, classes: int) -> tuple[Ids_HW, Ids_HW]:
    """Prediction and truth in which no pixel is like its neighbour."""
    rng = np.random.default_rng(0)
    prediction_HW, truth_HW = (rng.integers(0, classes, (height, width), dtype=np.uint8) for _ in range(2))
    return prediction_HW, truth_HW


def ways(prediction_HW: Ids_HW, truth_HW: Ids_HW, classes: int) -> dict[str, Way]:
    """Every way to count one pair of images, by name; the first is what the others are compared with."""
    pair, pair_64 = (prediction_HW, truth_HW), as_int64(prediction_HW, truth_HW, classes)
    return {
        "detectron2's way": lambda: detectron2_way(*as_int64(*pair, classes), classes),
        "detectron2's way, arrays int64 already": lambda: detectron2_way(*pair_64, classes),
        "16-bit pairs, np.bincount": lambda: sixteen_bit_pairs(*pair, classes),
        "16-bit pairs, torch.bincount": lambda: torch_pairs(*pair, classes),
        "`confusion_matrix`": lambda: confusion_matrix(*pair, classes),
        "`confusion_matrix`, prediction int64": lambda: confusion_matrix(pair_64[0], truth_HW, classes),
        "`boundary_counts`, for boundary IoU": lambda: boundary_counts(*pair, classes),
    }


def check(found: Mapping[str, Way], classes: int) -> None:
    """All ways but the last count the same."""
    first, second, sixteen, torchs, ours, wide, _ = (way() for way in found.values())
    expected = first.T[:classes, :classes]
    for other in (second.T[:classes, :classes], sixteen, torchs, ours[:, :classes], wide[:, :classes]):
        assert np.array_equal(other, expected)


def best_seconds(found: Mapping[str, Way], rounds: int) -> dict[str, float]:
    """The shortest time of each way, all taking turns."""
    best = dict.fromkeys(found, float("inf"))
    for _ in range(rounds):
        for name, way in found.items():
            begun = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - begun)
    return best


def main() -> None:
    """Print a table for each pair of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--rounds", type=int, default=100, help="how often each way has its turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"numpy {np.__version__}, torch {torch.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name, make in (("streets", streets), ("noise", noise)):
        found = ways(*make(options.height, options.width, options.classes), options.classes)
        check(found, options.classes)
        best = best_seconds(found, options.rounds)
        reference = next(iter(best.values()))
        print(f"\n| {name} | ms an image | images a second | times as fast |", "| --- | ---: | ---: | ---: |", sep="\n")
        for way, seconds in best.items():
            print(f"| {way} | {1000 * seconds:.2f} | {1 / seconds:.0f} | {reference / seconds:.1f} |")


if __name__ == "__main__":
    main()
