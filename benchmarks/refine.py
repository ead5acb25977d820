"""Compares this tool's refinement with the stock way: segment-anything's `SamPredictor`, one component after another.

Both load the same weights, see the same scenes of the procedural world with the same damaged labels, and ask with the
same points in two passes; of the three masks the one that agrees best with its component is taken. Each way runs in a
process of its own; it prints, as a row of a Markdown table, images a second of processor time without loading, the most
memory the process held, and how the masks of each way agree with those of the first: the mean and the least IoU over
all components. Encoded images are rounded to half precision but where it says so, kept on disk where they are made in
batches, and found there in the next round. Give it one thread (OMP_NUM_THREADS=1): time is that of all threads.

    python benchmarks/refine.py                                        # the miniature SAM that ships
    python benchmarks/refine.py --vit-b --images 2 --height 512 --width 1024   # ViT-B's size, random weights
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clouds.config import shipped_assets
from clouds.data.world import render_scene
from clouds.ops.components import Region, connected_components, region_of
from clouds.ops.prompts import Prompt, prompts_for

WAYS = ("SamPredictor", "here, not rounded", "here", "here, in batches", "here, next round")
_PASSES = 2
_MIN_AREA = 0.003


@dataclass(frozen=True)
class Work:
    """One image with its components and what is asked about each."""

    image_HWC: NDArray[np.uint8]
    regions: list[Region]
    prompts: list[Prompt]


Way = Callable[[Sequence[Work]], Iterator[list[Region]]]
"""The masks of each image's components."""


def scenes(options: argparse.Namespace) -> list[Work]:
    """The images, with labels as a segmenter may see them: each taken from up to two pixels away."""
    works = []
    for number in range(options.images):
        scene = render_scene("web", number, height=options.height, width=options.width)
        rng = np.random.default_rng(number)
        grids = zip(np.indices(scene.labels_HW.shape), scene.labels_HW.shape, strict=True)
        rows, columns = (np.clip(grid + rng.integers(-2, 3, grid.shape), 0, side - 1) for grid, side in grids)
        labels_HW = scene.labels_HW[rows, columns]
        regions = [one for one in connected_components(labels_HW) if one.area > _MIN_AREA * labels_HW.size]
        works.append(Work(scene.image_HWC, regions, prompts_for(regions, "random", 5, False, rng)))
    return works


def stock(weights: Path) -> Way:
    """segment-anything's own predictor, asked about one component at a time."""
    from segment_anything import SamPredictor

    from clouds.models.sam_checkpoint import load_sam

    predictor = SamPredictor(load_sam(weights))

    def refine(works: Sequence[Work]) -> Iterator[list[Region]]:
        for work in works:
            predictor.set_image(work.image_HWC)
            yield [answer(prompt, region) for prompt, region in zip(work.prompts, work.regions, strict=True)]

    def answer(prompt: Prompt, region: Region) -> Region:
        shown = None
        for _ in range(_PASSES):
            kinds = np.ones(len(prompt.points_NXY))
            masks, _, logits = predictor.predict(prompt.points_NXY.astype(float), kinds, mask_input=shown)
            best = int(np.argmax([region.iou(mask_HW) for mask_HW in masks]))
            shown = logits[best : best + 1]
        return region_of(masks[best], region.class_id)

    return refine


def ours(weights: Path, batch_size: int, kept: Path | None = None, rounded_to: str = "float16") -> Way:
    """The refinement of this tool; `kept` is where encoded images lie, if it is to use such."""
    import torch

    from clouds.engine.file_cache import FileCache
    from clouds.models.sam import SamMaskModel, SamRefiner
    from clouds.models.sam_cache import encoded_by_key
    from clouds.models.sam_source import load_promptable
    from clouds.ops.mask_model import ask
    from clouds.ops.refinement_settings import RefinementSettings

    model = load_promptable(str(weights), None, torch.device("cpu"))
    refiner = SamRefiner(model, RefinementSettings(), rounded_to=getattr(torch, rounded_to))
    store = FileCache(kept, {}, 1e12) if kept else None

    def refine(works: Sequence[Work]) -> Iterator[list[Region]]:
        for start in range(0, len(works), batch_size):
            batch = works[start : start + batch_size]
            keys = [f"{start + number:06d}" for number in range(len(batch))]
            encoded = encoded_by_key(keys, lambda batch=batch: [one.image_HWC for one in batch], refiner.encode, store)
            prompts = [
                Prompt(prompt.points_NXY, image=number) for number, one in enumerate(batch) for prompt in one.prompts
            ]
            regions = [region for one in batch for region in one.regions]
            masks = iter(ask(SamMaskModel(model, encoded, 32), prompts, regions, "agreement", _PASSES, 1.0).masks)
            for one in batch:
                yield [next(masks) for _ in one.regions]

    return refine


def measure(way: str, weights: Path, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """One way in this process: images a second, the most memory held in MB; its masks go into the folder."""
    kept = folder / "kept"
    builders = {
        "SamPredictor": lambda: stock(weights),
        "here, not rounded": lambda: ours(weights, 1, rounded_to="float32"),
        "here": lambda: ours(weights, 1),
        "here, in batches": lambda: ours(weights, options.batch_size, kept),
        "here, next round": lambda: ours(weights, options.batch_size, kept),
    }
    refine, works = builders[way](), scenes(options)
    begun = time.process_time()
    found = list(refine(works))
    seconds = time.process_time() - begun
    np.savez(
        folder / f"{WAYS.index(way)}.npz",
        *[full(one, work) for work, of in zip(works, found, strict=True) for one in of],
    )
    return {
        "pace": len(works) / seconds,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "components": sum(len(work.regions) for work in works) / len(works),
    }


def full(region: Region, work: Work) -> NDArray[np.bool_]:
    """A region as a mask of its whole image."""
    mask_HW = np.zeros(work.image_HWC.shape[:2], dtype=np.bool_)
    mask_HW[region.window] = region.mask_HW
    return mask_HW


def agreement(folder: Path, way: str) -> list[float]:
    """The IoU of each mask of a way with that of the first."""
    one, other = (np.load(folder / f"{number}.npz") for number in (0, WAYS.index(way)))
    return [region_of(one[name], 0).iou(other[name]) for name in one.files]


def row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def table(weights: Path, folder: Path, arguments: Sequence[str]) -> None:
    """Run each way in a process of its own and print what it took."""
    titles = ["way", "images/s", "components an image", "MB", "mean IoU", "least IoU"]
    print(row(titles), row(["---", *["---:"] * (len(titles) - 1)]), sep="\n")
    for way in WAYS:
        command = [sys.executable, __file__, *arguments, "--child", way, str(weights), str(folder)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        result, ious = json.loads(output), agreement(folder, way)
        cells = [f"{result['pace']:.3g}", f"{result['components']:.1f}", f"{result['megabytes']:.0f}"]
        print(row([way, *cells, f"{np.mean(ious):.4f}", f"{min(ious):.4f}"]), flush=True)


def main() -> None:
    """Print the table, or, as the child of another, go one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=4, help="images at once, where in batches")
    parser.add_argument("--vit-b", action="store_true", help="a SAM of ViT-B's size with random weights")
    parser.add_argument("--child", nargs=3, metavar=("WAY", "WEIGHTS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        way, weights, folder = options.child
        print(json.dumps(measure(way, Path(weights), Path(folder), options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        weights = shipped_assets() / "miniature" / "sam.safetensors"
        if options.vit_b:
            weights = Path(folder) / "vit_b.safetensors"
            save_random_vit_b(weights)
        table(weights, Path(folder), sys.argv[1:])


def save_random_vit_b(path: Path) -> None:
    """Writes a ViT-B of segment-anything's own making; its masks mean nothing, and cost what trained ones do."""
    import torch
    from segment_anything import sam_model_registry

    from clouds.models.sam_checkpoint import save_sam

    torch.manual_seed(0)
    save_sam(sam_model_registry["vit_b"](), path)


if __name__ == "__main__":
    main()
