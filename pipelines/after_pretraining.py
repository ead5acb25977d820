"""What follows the trainings of the miniature: held-out scenes, a judge, the quality of each model, the package.

The judge, a segmenter that recognises what the generator paints, alone sees class labels; it is not packed.
"""

import itertools

from pydantic import model_validator

from clouds.config import ConfigModel
from clouds.data.table import DataTable
from clouds.data.world_set import WorldConfig
from clouds.engine.artifact import Artifact
from clouds.engine.settings import RunConfig
from clouds.engine.stage import Stage
from pipelines.appraise import (
    Appraise,
    AppraiseConfig,
    GeneratorQuality,
    GridConfig,
    ModelQuality,
    Quality,
    autoencoder_quality,
    clip_quality,
    sam_quality,
)
from pipelines.corpus import DOMAIN, Corpus, CorpusConfig
from pipelines.package import Package, PackageConfig, Trained
from pipelines.parts import Parts
from pipelines.samples import Samples, SamplesConfig, sampler
from pipelines.train import TrainConfig


class AppraisalConfig(ConfigModel):
    """What each model is asked about held-out scenes."""

    autoencoder: AppraiseConfig = AppraiseConfig()
    """Encoding and decoding."""
    clip: AppraiseConfig = AppraiseConfig()
    """Telling captions and pictures apart; the scenes beyond give it the words of answers."""
    sam: AppraiseConfig = AppraiseConfig()
    """Answering prompts."""
    generator: GridConfig
    """The grid of samples; what the judge looks at is `samples`."""


class AppraisedConfig(RunConfig):
    """The values of what follows the trainings, and the corpus they learn from."""

    corpus: CorpusConfig
    """What the models learn from."""
    heldout: CorpusConfig
    """What they are appraised on."""
    data: DataTable
    """Labelled scenes, for the judge alone."""
    judge: TrainConfig
    """The segmenter that recognises what the generator paints."""
    samples: SamplesConfig = SamplesConfig()
    """The generated images it looks at."""
    appraisal: AppraisalConfig
    """Measuring each model."""
    package: PackageConfig = PackageConfig()
    """Packing them."""

    @model_validator(mode="after")
    def _scenes_are_apart(self) -> "AppraisedConfig":
        self.data.check_names({"judge.data": self.judge.data})
        used: dict[str, CorpusConfig | WorldConfig] = {"corpus": self.corpus, "heldout": self.heldout}
        sets = {f"data.sets.{name}": one for name, one in self.data.sets.items() if isinstance(one, WorldConfig)}
        used |= {name: one for name, one in sets.items() if one.domain == DOMAIN}
        for (name, one), (other_name, other) in itertools.combinations(used.items(), 2):
            begin, end = max(one.first, other.first), min(one.first + one.count, other.first + other.count)
            if one.seed == other.seed and begin < end:
                raise ValueError(f"{name} and {other_name} share scenes; move `first` of one, or give it another seed")
        return self

    @model_validator(mode="after")
    def _enough_is_held_out(self) -> "AppraisedConfig":
        asked, there = self.appraisal.clip.count, self.heldout.count
        if asked >= there:
            raise ValueError(f"appraisal.clip.count = {asked} takes scenes beyond them, but heldout.count is {there}")
        return self


def after_pretraining(config: AppraisedConfig, trained: Trained) -> list[Stage]:
    """The stages in the order they run; `trained` are those they follow."""
    heldout = Corpus(Artifact(config.folder / "heldout"), config.heldout, config.shard_items)
    judge = Parts.of(config, config.data).train("judge", config.judge)
    samples = Samples(Artifact(config.folder / "samples"), config.samples, heldout, trained.denoiser, config.seed)
    appraisals = {
        name: Appraise(Artifact(config.folder / f"appraise-{name}"), quality, config.seed)
        for name, quality in _qualities(config, trained, samples, judge).items()
    }
    package = Package(Artifact(config.folder / "package"), config.package, trained, heldout, appraisals)
    return [heldout, judge, samples, *appraisals.values(), package]


def _qualities(config: AppraisedConfig, trained: Trained, samples: Samples, judge: Stage) -> dict[str, Quality]:
    """How each model is measured, by the model's name."""
    asked, heldout = config.appraisal, samples.captions
    generator = GeneratorQuality(
        samples,
        heldout,
        judge,
        config.data.label_map(),
        sampler(samples.pipeline, config.samples),
        asked.generator,
    )
    return {
        "autoencoder": ModelQuality(trained.autoencoder, heldout, asked.autoencoder, autoencoder_quality),
        "clip": ModelQuality(trained.clip, heldout, asked.clip, clip_quality),
        "sam": ModelQuality(trained.sam, heldout, asked.sam, sam_quality),
        "generator": generator,
    }
