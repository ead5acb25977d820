"""The formats a segmenter is given away in: what each writes, what it fixes, and how it is used. It knows no run."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clouds.engine.atomic import write_json
from clouds.errors import CloudsError

if TYPE_CHECKING:  # models import torch, which listing formats does without
    from clouds.models.segmenter import MaskSegmenter
    from clouds.models.segmenter_files import SegmenterInfo

INTERFACE = "segmenter.json"
"""What goes into a graph and what comes out."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A segmenter in memory; `colors` (red, green, blue) by class, `size` (height, width) of a graph's images."""

    model: "MaskSegmenter"
    info: "SegmenterInfo"
    colors: tuple[tuple[int, int, int], ...]
    size: tuple[int, int]


class ModelFormat(Protocol):
    """A format; `sized` where it is for images of one size, `packages` what it needs besides the tool's own."""

    @property
    def name(self) -> str: ...
    @property
    def packages(self) -> tuple[str, ...]: ...
    @property
    def sized(self) -> bool: ...

    def write(self, segmenter: Loaded, folder: Path) -> str:
        """Write its files, compare what they hold with the segmenter, and say how they compare.

        Raises `CloudsError` where they are not the segmenter.
        """

    def use(self) -> str:
        """How its files are used, for the card."""

    def fixed(self, size: tuple[int, int]) -> str:
        """What the format fixes, for the card; empty for nothing."""


class Hub:
    """A folder as `load_segmenter` reads it, whole: a base that was left out is put back in."""

    name = "hub"
    packages = ("huggingface_hub",)
    sized = False

    def write(self, segmenter: Loaded, folder: Path) -> str:
        from clouds.models.segmenter_files import load_segmenter, save_segmenter

        segmenter.model.backbone.base = None
        save_segmenter(segmenter.model, folder, segmenter.info.class_names, segmenter.info.extra)
        again, _ = load_segmenter(folder)
        ours, theirs = segmenter.model.state_dict(), again.state_dict()
        changed = [name for name in ours if name not in theirs or not ours[name].equal(theirs[name])]
        if changed:
            raise CloudsError(
                f"{folder}: {len(changed)} of {len(ours)} tensors are not what was written, such as {changed[0]!r}",
                "look after the disk and give the same command again; if it stays so, please report it with the "
                "versions that `clouds doctor` prints",
            )
        return f"{len(ours)} tensors read back, each the same"

    def use(self) -> str:
        return (
            "```python\nfrom clouds import load_segmenter\n\n"
            'labels_HW = load_segmenter("OWNER/NAME").predict("photo.jpg")  # or this folder\n```\n\n'
            "`hf upload OWNER/NAME .` puts this folder on the hub.\n"
        )

    def fixed(self, size: tuple[int, int]) -> str:
        return ""


class Onnx:
    """One graph in ONNX, checked with onnxruntime."""

    name = "onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")
    sized = True

    def write(self, segmenter: Loaded, folder: Path) -> str:
        from clouds.models.graph_files import OPSET, write_onnx

        difference = write_onnx(segmenter.model, segmenter.size, folder / "model.onnx")
        _write_interface(segmenter, folder, {"opset": OPSET, "largest_difference": difference})
        return _compared("onnxruntime", difference)

    def use(self) -> str:
        return (
            "```python\nimport onnxruntime\n\n"
            'session = onnxruntime.InferenceSession("model.onnx")\n'
            'scores, labels = session.run(["scores", "labels"], {"images": images})  # uint8 (B, 3, H, W), RGB\n```\n'
        )

    def fixed(self, size: tuple[int, int]) -> str:
        return _fixed(size)


class Pt2:
    """One graph as torch.export keeps it."""

    name = "pt2"
    packages = ()
    sized = True

    def write(self, segmenter: Loaded, folder: Path) -> str:
        from clouds.models.graph_files import write_pt2

        difference = write_pt2(segmenter.model, segmenter.size, folder / "model.pt2")
        _write_interface(segmenter, folder, {"largest_difference": difference})
        return _compared("torch.export", difference)

    def use(self) -> str:
        return (
            "```python\nimport torch\n\n"
            'segmenter = torch.export.load("model.pt2").module()\n'
            "scores, labels = segmenter(images)  # uint8 (B, 3, H, W), RGB\n```\n"
        )

    def fixed(self, size: tuple[int, int]) -> str:
        return _fixed(size)


FORMATS: dict[str, ModelFormat] = {format_.name: format_ for format_ in (Hub(), Onnx(), Pt2())}
"""The formats of segmenters, by name."""


def _write_interface(segmenter: Loaded, folder: Path, facts: dict[str, Any]) -> None:
    height, width = segmenter.size
    names = segmenter.info.class_names
    content = {
        "input": {"images": {"type": "uint8", "shape": ["batch", 3, height, width], "channels": "RGB, 0 to 255"}},
        "outputs": {
            "scores": {"type": "float32", "shape": ["batch", len(names), height, width], "range": [0, 1]},
            "labels": {"type": "uint8", "shape": ["batch", height, width], "content": "the class of the highest score"},
        },
        "classes": list(names),
        "colors": [list(color) for color in segmenter.colors],
        **facts,
    }
    write_json(folder / INTERFACE, content)


def _fixed(size: tuple[int, int]) -> str:
    return (
        f"Images are uint8 RGB (batch, 3, {size[0]}, {size[1]}): any number, of this height and width. All that\n"
        "comes before the network is in the graph, but resizing. Out come scores in [0, 1] (batch, classes, height,\n"
        f"width) and labels, uint8 ids. `{INTERFACE}` says the same for programs.\n"
    )


def _compared(library: str, difference: float) -> str:
    return f"scores in {library} within {difference:.1g} of the segmenter's own"
