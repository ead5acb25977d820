"""The stage `appraise`: how good a trained model is on pictures it has not seen. It changes no model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

from pydantic import Field

from clouds.config import ConfigModel
from clouds.data.labels import LabelMap
from clouds.engine.artifact import Artifact
from clouds.engine.atomic import write_json
from clouds.engine.seeding import item_seed
from clouds.engine.shard import Item, Shard, digest
from clouds.engine.stage import Stage, Worker
from clouds.engine.work import Row, ShardWork
from clouds.models.diffusion import DiffusionConfig
from clouds.models.miniature import SAM

if TYPE_CHECKING:
    from clouds.engine.runtime import Runtime
    from clouds.pretraining.corpus import Corpus

QUALITY = "quality"
"""The shard it makes."""
QUALITY_FILE = "quality.json"
GRID_FILE = "samples.png"

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Place:
    """Where a model is measured, with which seed, and the folder where pictures may be left."""

    runtime: "Runtime"
    seed: int
    folder: Path


class Quality(Protocol):
    """How one model is measured: what it is asked, and which stages made what that takes."""

    @property
    def config(self) -> ConfigModel: ...
    @property
    def needs(self) -> tuple[Stage, ...]: ...

    def __call__(self, place: Place) -> dict[str, Any]:
        """Load the model and measure it; what it finds is ready for JSON."""


class AppraiseConfig(ConfigModel):
    """How much a model is asked."""

    count: Count = 200
    """Pictures it is asked about: the first ones held out."""


class GridConfig(ConfigModel):
    """What the generator is shown to do."""

    prompts: Annotated[tuple[str, ...], Field(min_length=1)]
    """A row of samples each."""
    columns: Count = 6
    """Samples for each prompt; those of one column start from the same noise."""


@dataclass(frozen=True)
class Appraise:
    """The quality of one model in one JSON file."""

    artifact: Artifact
    quality: Quality
    seed: int

    kind: ClassVar[str] = "appraise"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "model"
    collective: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def config(self) -> ConfigModel:
        return self.quality.config

    @property
    def needs(self) -> tuple[Stage, ...]:
        return self.quality.needs

    def identity(self) -> Mapping[str, Any]:
        return {"seed": self.seed}

    def fetch(self) -> None:
        """Nothing: the models are made by other stages."""

    def shards(self) -> Iterable[Shard]:
        yield Shard(QUALITY, 1, digest(stage.artifact.stamp() for stage in self.needs))

    def prepare(self, runtime: "Runtime") -> Worker:
        def work_on(shard: Shard, work: ShardWork) -> None:
            def process(batch: Sequence[Item]) -> list[Row | Exception]:
                found = self.quality(Place(runtime, self.seed, work.folder))
                write_json(work.folder / QUALITY_FILE, found)
                drawn = {"grid_file_name": GRID_FILE} if (work.folder / GRID_FILE).exists() else {}
                return [{"file_name": QUALITY_FILE, "id": self.name, **drawn}]

            work.map([Item(self.name, shard.inputs)], process, batch_size=1)

        return work_on

    def finish(self) -> None:
        """Nothing: the one file says all."""


@dataclass(frozen=True)
class ModelQuality:
    """One model measured on held-out pictures alone; `measure` is given its folder, the pictures and how many."""

    model: Stage
    heldout: Stage
    config: AppraiseConfig
    measure: "Callable[[Path, Corpus, int, Place], dict[str, float]]"

    @property
    def needs(self) -> tuple[Stage, ...]:
        return (self.model, self.heldout)

    def __call__(self, place: Place) -> dict[str, Any]:
        from clouds.pretraining.corpus import CorpusFolder

        heldout = CorpusFolder(self.heldout.artifact)
        return dict(self.measure(_model_folder(self.model), heldout, self.config.count, place))


def autoencoder_quality(folder: Path, heldout: "Corpus", count: int, place: Place) -> dict[str, float]:
    """See `appraise_autoencoder`."""
    from clouds.models.autoencoder import load_autoencoder
    from clouds.pretraining.autoencoder import appraise_autoencoder

    return appraise_autoencoder(load_autoencoder(folder, place.runtime.device), heldout, count)


def clip_quality(folder: Path, heldout: "Corpus", count: int, place: Place) -> dict[str, float]:
    """See `appraise_clip`."""
    from clouds.models.clip_builder import load_clip
    from clouds.pretraining.appraisal_contrast import appraise_clip, street_questions

    clip = load_clip(folder)
    clip.model.to(place.runtime.device)
    return appraise_clip(clip, heldout, count, street_questions())


def sam_quality(folder: Path, heldout: "Corpus", count: int, place: Place) -> dict[str, float]:
    """See `appraise_sam`."""
    from clouds.models.sam_checkpoint import load_sam
    from clouds.pretraining.appraisal_promptable import appraise_sam

    return appraise_sam(load_sam(folder / SAM).to(place.runtime.device), heldout, count, seed=place.seed)


@dataclass(frozen=True)
class GeneratorQuality:
    """See `appraise_generator`; besides, a grid of samples is left in the folder."""

    samples: Stage
    heldout: Stage
    judge: Stage
    label_map: LabelMap
    sampler: DiffusionConfig
    config: GridConfig

    @property
    def needs(self) -> tuple[Stage, ...]:
        return (self.samples, self.heldout, self.judge)

    def __call__(self, place: Place) -> dict[str, Any]:
        from clouds.models.segmenter_files import load_segmenter
        from clouds.pretraining.appraisal_generator import appraise_generator
        from clouds.pretraining.corpus import CorpusFolder

        self._draw(place)
        judge, _ = load_segmenter(_model_folder(self.judge), place.runtime.device, expect_classes=self.label_map.names)
        generated, real = CorpusFolder(self.samples.artifact), CorpusFolder(self.heldout.artifact)
        return appraise_generator(judge, self.label_map, generated, real)

    def _draw(self, place: Place) -> None:
        from clouds.models.diffusion import DiffusionGenerator
        from clouds.pretraining.sample_grid import sample_grid

        seeds = [item_seed(place.seed, "grid", column) for column in range(self.config.columns)]
        generator = DiffusionGenerator(self.sampler, place.runtime.device)
        sample_grid(generator, self.config.prompts, seeds).save(place.folder / GRID_FILE, optimize=True)


def _model_folder(stage: Stage) -> Path:
    return stage.artifact.shard_folder("model")
