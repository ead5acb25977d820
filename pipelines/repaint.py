"""The stage `repaint`: the diffusion model paints labelled images anew, whose labels stay. It labels nothing itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from clouds.data.images import write_image, write_labels
from clouds.data.labels import LabelMap
from clouds.data.prompts import PromptSource, prompt_source
from clouds.data.samples import Dataset, data_stamp
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic
from clouds.engine.seeding import item_seed
from clouds.engine.shard import Item, Shard, digest, numbered_shards
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.errors import InputError
from clouds.models.diffusion import Generated
from clouds.models.diffusion_folder import pipeline_folder
from clouds.models.generation import GenerateConfig, warn_of_unknown_words
from clouds.models.weights import HashCache, weight_identity
from clouds.report.cards import repainted_card

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime


class RepaintConfig(GenerateConfig):
    """Which labelled images to paint anew, how many times, and how freely; the rest is as in `generate`."""

    data: str
    """The labelled data set."""
    strength: Annotated[float, Field(gt=0, le=1)] = 0.65
    """How freely: near 0 an image stays as it is, at 1 nothing is left of it and its labels are no longer true."""

    @model_validator(mode="after")
    def _takes_a_step(self) -> "RepaintConfig":
        if int(self.steps * self.strength) < 1:
            raise ValueError(f"strength ({self.strength}) of {self.steps} steps is no step: raise one of them")
        return self


@dataclass(frozen=True)
class Repaint:
    """`count` images, each a labelled image under a prompt of its own, with that image's labels."""

    artifact: Artifact
    config: RepaintConfig
    dataset: Dataset
    label_map: LabelMap
    seed: int
    shard_items: int
    hashes: HashCache
    needs: tuple[Stage, ...] = ()

    kind: ClassVar[str] = "repaint"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "image"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    def identity(self) -> Mapping[str, Any]:
        return {
            "seed": self.seed,
            "shard_items": self.shard_items,
            "classes": self.label_map.describe(),
            "data": self.dataset.identity(),
            "prompts": prompt_source(self.config.prompts).identity(),
            "weights": self._weights(),
        }

    def fetch(self) -> None:
        pipeline_folder(self.config.weights, self.config.revision, self.config.variant)

    def shards(self) -> Iterable[Shard]:
        data = digest(data_stamp({self.dataset.name: self.dataset}))
        return numbered_shards(self.config.count, self.shard_items, of=f" of {data}")

    def prepare(self, runtime: "Runtime") -> Worker:
        from clouds.models.repainting import DiffusionRepainter

        repainter = DiffusionRepainter(self.config, runtime.device, self.config.strength)
        prompts = prompt_source(self.config.prompts, item_seed(self.seed, "repaint prompts"))
        if runtime.is_main:
            wanted = (self._prompt(index, prompts) for index in range(self.config.count))
            warn_of_unknown_words(repainter, wanted, self.config.weights, runtime.told)
        provenance = {**repainter.describe(), "weights": self._weights()}

        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                results: dict[str, Row | Exception] = {}
                rows, images, labels = [], [], []
                for item in batch:
                    try:
                        image_HWC, labels_HW = self.dataset.image(item.payload[1]), self.dataset.labels(item.payload[1])
                    except InputError as error:
                        results[item.id] = error
                        continue
                    rows.append(self._row(item, prompts, provenance))
                    images.append(image_HWC)
                    labels.append(labels_HW)
                painted = repainter.repaint(images, [row["prompt"] for row in rows], [row["seed"] for row in rows])
                for row, result, labels_HW in zip(rows, painted, labels, strict=True):
                    results[row["id"]] = _write(row, result, labels_HW, work)
                return [results[item.id] for item in batch]

            (work.folder / "labels").mkdir(exist_ok=True)
            work.map(self._items(shard), process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        write_atomic(self.artifact.folder / "README.md", repainted_card(self.artifact, self.label_map))

    def _weights(self) -> dict[str, str | bool]:
        config = self.config
        return weight_identity(config.weights, config.revision, cache=self.hashes, key="repaint.weights")

    def _items(self, shard: Shard) -> list[Item]:
        from clouds.training.draws import in_rounds

        start = int(shard.id) * self.shard_items
        items = []
        for number in range(start, start + shard.size):
            index = in_rounds(number, len(self.dataset.ids), item_seed(self.seed, "repaint order"))
            stamp = f"{self.dataset.ids[index]} {self.dataset.stamp(index)}"
            items.append(Item(f"{number:06d}", stamp, payload=(number, index)))
        return items

    def _prompt(self, number: int, prompts: PromptSource) -> str:
        return prompts.prompt(number, item_seed(self.seed, "repaint prompt", f"{number:06d}"))

    def _row(self, item: Item, prompts: PromptSource, provenance: Mapping[str, Any]) -> Row:
        number, index = item.payload
        return {
            "file_name": f"{item.id}.png",
            "labels_file_name": f"labels/{item.id}.png",
            "id": item.id,
            "source": self.dataset.ids[index],
            "prompt": self._prompt(number, prompts),
            "seed": item_seed(self.seed, "repaint", item.id),
            **provenance,
        }


def _write(row: Row, image_HWC: Generated, labels_HW: NDArray[np.uint8], work: ShardWork) -> Row | Exception:
    """The image and its labels, brought to its size; or why there is none."""
    if isinstance(image_HWC, Exception):
        return image_HWC
    height, width = image_HWC.shape[:2]
    if labels_HW.shape != (height, width):
        labels_HW = np.array(Image.fromarray(labels_HW).resize((width, height), Image.Resampling.NEAREST))
    write_image(work.folder / row["file_name"], image_HWC)
    write_labels(work.folder / row["labels_file_name"], labels_HW)
    return row
