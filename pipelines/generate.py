"""The stage `generate`: a diffusion model invents the content the source lacks. It does not label anything."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from clouds.data.images import write_image
from clouds.data.prompts import PromptSource, prompt_source
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_atomic
from clouds.engine.seeding import item_seed
from clouds.engine.shard import Item, Shard, numbered_shards
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.models.diffusion import DiffusionGenerator
from clouds.models.diffusion_folder import pipeline_folder
from clouds.models.generation import GenerateConfig, warn_of_unknown_words
from clouds.models.weights import HashCache, weight_identity
from clouds.report.cards import images_card

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime


@dataclass(frozen=True)
class Generate:
    """`count` images, each from its own prompt and seed."""

    artifact: Artifact
    config: GenerateConfig
    seed: int
    shard_items: int
    hashes: HashCache
    needs: tuple[Stage, ...] = ()

    kind: ClassVar[str] = "generate"
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
            "prompts": prompt_source(self.config.prompts).identity(),
            "weights": self._weights(),
        }

    def fetch(self) -> None:
        pipeline_folder(self.config.weights, self.config.revision, self.config.variant)

    def shards(self) -> Iterable[Shard]:
        return numbered_shards(self.config.count, self.shard_items)

    def prepare(self, runtime: "Runtime") -> Worker:
        generator = DiffusionGenerator(self.config, runtime.device)
        prompts = prompt_source(self.config.prompts, item_seed(self.seed, "prompts"))
        if runtime.is_main:
            wanted = (self._prompt(index, prompts) for index in range(self.config.count))
            warn_of_unknown_words(generator, wanted, self.config.weights, runtime.told)
        provenance = {**generator.describe(), "weights": self._weights()}

        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                rows = [self._row(item, prompts, provenance) for item in batch]
                images = generator.generate([row["prompt"] for row in rows], [row["seed"] for row in rows])
                for image_HWC, row in zip(images, rows, strict=True):
                    if not isinstance(image_HWC, Exception):
                        write_image(work.folder / row["file_name"], image_HWC)
                return [image if isinstance(image, Exception) else row for image, row in zip(images, rows, strict=True)]

            work.map(self._items(shard), process, self.config.batch_size)

        return work_on

    def finish(self) -> None:
        write_atomic(self.artifact.folder / "README.md", images_card(self.artifact))

    def _weights(self) -> dict[str, str | bool]:
        config = self.config
        return weight_identity(config.weights, config.revision, cache=self.hashes, key="generate.weights")

    def _items(self, shard: Shard) -> list[Item]:
        start = int(shard.id) * self.shard_items
        return [Item(_item_id(index), payload=index) for index in range(start, start + shard.size)]

    def _prompt(self, index: int, prompts: PromptSource) -> str:
        return prompts.prompt(index, item_seed(self.seed, "prompt", _item_id(index)))

    def _row(self, item: Item, prompts: PromptSource, provenance: Mapping[str, Any]) -> Row:
        prompt = self._prompt(item.payload, prompts)
        seed = item_seed(self.seed, "generate", item.id)
        return {"file_name": f"{item.id}.png", "id": item.id, "prompt": prompt, "seed": seed, **provenance}


def _item_id(index: int) -> str:
    return f"{index:06d}"
