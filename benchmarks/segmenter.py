"""Measures each recipe's segmenter at its full size, with random weights: parameters, time and memory of a step.

On the CPU with one image, as the recipe crops it; on a GPU, where there is one, with the recipe's whole batch too, and
once more in bf16 with `torch.compile`. Every row is measured in a process of its own. It prints a Markdown table:
parameters in millions (all, those that learn, those a checkpoint holds), seconds of a forward pass and of a training
step (forward, loss, backward, AdamW), the least of several, and the most memory that was held (of the process on the
CPU, of the device on a GPU).

    python benchmarks/segmenter.py
    python benchmarks/segmenter.py --recipes clouds_gta5_rn50 --steps 5
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from clouds.assembly import find_config
from clouds.config import apply_overrides, load_tree, validate
from clouds.models.segmenter import MaskSegmenter, build_segmenter, loss_settings, parameter_groups
from clouds.models.segmenter_config import TIMM_PREFIX
from clouds.models.segmenter_files import trainable_state
from clouds.ops.mask_loss import count_labelled, count_masks, mask_loss
from clouds.report.tables import markdown
from pipelines.train import TrainConfig

RECIPES = (
    "clouds_gta5",
    "clouds_gta5_rn50",
    "clouds_gta5_rn101",
    "vltseg_gta5",
    "vltseg_cityscapes",
    "dinov2_lora_gta5",
)
CLASSES = 19
WAYS = {"fp32": (torch.float32, False), "bf16, compiled": (torch.bfloat16, True)}
_HEADER = (
    "recipe",
    "way",
    "batch",
    "crop",
    "all (M)",
    "learn (M)",
    "stored (M)",
    "forward (s)",
    "step (s)",
    "memory (GB)",
)


def read_recipe(name: str) -> TrainConfig:
    """The recipe's training, with random weights in the place of published ones."""
    path = find_config(name)
    tree = apply_overrides(load_tree(path), ())["train"]
    backbone = tree["segmenter"]["backbone"]
    named = str(backbone["weights"])
    if "/" in named:
        # timm's hub ids are the name of the architecture and the tag of its weights
        backbone["weights"] = TIMM_PREFIX + named.rpartition("/")[2].partition(".")[0]
    backbone["pretrained"] = None
    return validate(TrainConfig, tree, str(path))


def million(tensors: Sequence[Tensor]) -> str:
    """How many numbers they hold, in millions."""
    return f"{sum(tensor.numel() for tensor in tensors) / 1e6:.1f}"


class Measured:
    """One recipe's segmenter on a device, ready to take steps."""

    def __init__(self, config: TrainConfig, device: torch.device, batch: int, way: str) -> None:
        dtype, compiled = WAYS[way]
        self.config, self.device, self.dtype = config, device, dtype
        self.model: MaskSegmenter = build_segmenter(config.segmenter, CLASSES, seed=0).to(device)
        groups = parameter_groups(self.model, lr=1e-4, weight_decay=0.05)
        keys = ("params", "lr", "weight_decay")
        self.optimizer = torch.optim.AdamW([{key: group[key] for key in keys} for group in groups])
        self.call = torch.compile(self.model) if compiled else self.model
        assert config.augment.crop is not None
        height, width = config.augment.crop
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(256, (batch, 3, height, width), generator=generator, dtype=torch.uint8).to(device)
        # blocks of 64 pixels: as many classes in a crop as a street has
        blocks = torch.randint(CLASSES, (batch, -(-height // 64), -(-width // 64)), generator=generator)
        self.labels = blocks.repeat_interleave(64, 1).repeat_interleave(64, 2)[:, :height, :width].to(torch.uint8)

    def autocast(self) -> AbstractContextManager[None]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def forward(self) -> None:
        with torch.no_grad(), self.autocast():
            self.call(self.images)

    def step(self) -> None:
        settings = loss_settings(self.config.loss, ignore=255, stride=self.model.mask_stride)
        self.model.train()
        self.model.backbone.seed_items(range(len(self.images)))
        with self.autocast():
            output = self.call(self.images)
        loss = mask_loss(
            output.class_logits,
            output.mask_logits,
            self.labels,
            num_masks=count_masks(self.labels),
            num_images=count_labelled(self.labels),
            generators=[torch.Generator().manual_seed(number) for number in range(len(self.images))],
            settings=settings,
        )["loss"]
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def seconds(self, work: Callable[[], None], repeats: int) -> float:
        """The least time of some runs, after one that is not counted."""
        times = []
        for _ in range(repeats + 1):
            begun = time.perf_counter()
            work()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begun)
        return min(times[1:])


def measure(recipe: str, way: str, device: str, batch: int, steps: int) -> list[str]:
    """One row of the table."""
    config = read_recipe(recipe)
    found = Measured(config, torch.device(device), batch, way)
    found.model.eval()
    forward = found.seconds(found.forward, steps)
    step = found.seconds(found.step, steps)
    if device == "cuda":
        memory = torch.cuda.max_memory_allocated()
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    parameters = list(found.model.parameters())
    assert config.augment.crop is not None
    return [
        f"`{recipe}`",
        way,
        str(batch),
        " x ".join(map(str, config.augment.crop)),
        million(parameters),
        million([one for one in parameters if one.requires_grad]),
        million(list(trainable_state(found.model).values())),
        f"{forward:.2f}",
        f"{step:.2f}",
        f"{memory / 1e9:.1f}",
    ]


def cases(recipe: str, device: str) -> list[tuple[str, int]]:
    """The ways and batches of a recipe on a device."""
    if device != "cuda":
        return [("fp32", 1)]
    return [("fp32", 1), *((way, read_recipe(recipe).batch_size) for way in WAYS)]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), metavar="NAME")
    parser.add_argument("--steps", type=int, default=2, help="runs of which the least time counts")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--case", nargs=2, metavar=("WAY", "BATCH"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure every case in a process of its own, and print the table."""
    options = parse()
    if options.case:
        [recipe] = options.recipes
        print(json.dumps(measure(recipe, options.case[0], options.device, int(options.case[1]), options.steps)))
        return
    rows = []
    for recipe in options.recipes:
        for way, batch in cases(recipe, options.device):
            command = [sys.executable, __file__, "--recipes", recipe, "--steps", str(options.steps)]
            case = ["--device", options.device, "--case", way, str(batch)]
            done = subprocess.run([*command, *case], stdout=subprocess.PIPE, text=True)
            if done.returncode:
                rows.append([f"`{recipe}`", way, str(batch), *["-"] * (len(_HEADER) - 3)])
                continue
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(" ".join(rows[-1]), file=sys.stderr)
    name = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    print(f"{name}; torch {torch.__version__}\n\n{markdown(_HEADER, rows)}")


if __name__ == "__main__":
    main()
