"""How the miniature is made: a diffusion model, a CLIP and a SAM learn from `web` scenes, are appraised and packed."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from clouds.data.world import caption_words
from clouds.engine.artifact import Artifact
from clouds.engine.shard import digest
from clouds.engine.stage import Stage
from clouds.models.clip_sizes import ClipSizes
from clouds.models.diffusion_sizes import DiffusionSizes
from clouds.models.sam_sizes import SamSizes
from clouds.pretraining.affinity_config import AffinityConfig
from clouds.pretraining.autoencoder_config import AutoencoderConfig
from clouds.pretraining.contrast_config import ContrastConfig
from clouds.pretraining.denoiser_config import DenoiserConfig
from clouds.pretraining.promptable_config import PromptableConfig
from clouds.pretraining.settings import PretrainingConfig
from pipelines.after_pretraining import AppraisedConfig, after_pretraining
from pipelines.corpus import Corpus
from pipelines.latents import Latents, LatentsConfig
from pipelines.package import Trained
from pipelines.pretrain import MODEL, Pretrain

if TYPE_CHECKING:
    from pipelines.pretrain import SavingLearner


class SamTraining(PromptableConfig):
    """The promptable mask model and how it learns."""

    sizes: SamSizes = SamSizes()
    """How large it is."""


class ClipTraining(ContrastConfig):
    """The CLIP and how it learns."""

    sizes: ClipSizes = ClipSizes()
    """How large it is."""


class DenoiserTraining(DenoiserConfig):
    """How the denoiser learns, and on what scale."""

    latents_for_scale: int = 1000
    """Latents whose spread sets the autoencoder's scaling factor."""


class Config(AppraisedConfig):
    """Every value of the miniature's making."""

    pipeline: Literal["pretrain_miniature"] = "pretrain_miniature"
    """The assembly, a file in `pipelines`."""
    diffusion: DiffusionSizes = DiffusionSizes()
    """How large the text-to-image pipeline is."""
    autoencoder: AutoencoderConfig
    """Learning to encode pictures."""
    latents: LatentsConfig = LatentsConfig()
    """Encoding the corpus."""
    denoiser: DenoiserTraining
    """Learning to generate."""
    clip: ClipTraining
    """Learning which caption belongs to which picture."""
    sam_encoder: AffinityConfig
    """Learning which places of a picture lie on one object: where the mask model begins."""
    sam: SamTraining
    """Learning to answer prompts with masks."""


def build(config: Config) -> list[Stage]:
    """The stages in the order they run."""
    folder, precision = config.folder, config.runtime.mixed_precision
    corpus = Corpus(Artifact(folder / "corpus"), config.corpus, config.shard_items)

    def pretrain(
        name: str,
        settings: PretrainingConfig,
        built_from: Mapping[str, Any],
        learner: "Callable[[int], SavingLearner]",
        *needs: Stage,
    ) -> Stage:
        return Pretrain(
            Artifact(folder / name),
            settings,
            built_from,
            learner,
            needs,
            seed=config.seed,
            precision=precision,
            max_failures=config.max_failures,
        )

    sizes = config.diffusion.model_dump(mode="json")
    pictures = {name: sizes[name] for name in ("height", "width", "autoencoder")}
    words = digest(caption_words())
    autoencoder = pretrain(
        "autoencoder", config.autoencoder, {"sizes": pictures}, _learn_autoencoder(config, corpus), corpus
    )
    latents = Latents(Artifact(folder / "latents"), config.latents, corpus, autoencoder, precision)
    denoiser = pretrain(
        "denoiser",
        config.denoiser,
        {"sizes": sizes, "words": words},
        _learn_denoiser(config, autoencoder, latents),
        autoencoder,
        latents,
    )
    clip = pretrain("clip", config.clip, {"words": words}, _learn_clip(config, corpus), corpus)
    shape = {"sizes": config.sam.sizes.model_dump(mode="json")}
    sam_encoder = pretrain("sam-encoder", config.sam_encoder, shape, _learn_sam_encoder(config, corpus), corpus)
    sam = pretrain("sam", config.sam, {}, _learn_sam(config, corpus, sam_encoder), corpus, sam_encoder)
    trained = Trained(corpus, autoencoder, denoiser, clip, sam_encoder, sam)
    return [corpus, autoencoder, latents, denoiser, clip, sam_encoder, sam, *after_pretraining(config, trained)]


def _learn_autoencoder(config: Config, corpus: Stage) -> "Callable[[int], SavingLearner]":
    def learner(seed: int) -> "SavingLearner":
        from clouds.models.diffusion_builder import build_autoencoder
        from clouds.pretraining.autoencoder import AutoencoderLearner
        from clouds.pretraining.corpus import CorpusFolder

        model = build_autoencoder(config.diffusion, seed)
        return AutoencoderLearner(model, CorpusFolder(corpus.artifact), config.autoencoder, seed=seed)

    return learner


def _learn_denoiser(config: Config, autoencoder: Stage, latents: Stage) -> "Callable[[int], SavingLearner]":
    def learner(seed: int) -> "SavingLearner":
        import numpy as np

        from clouds.models.autoencoder import load_autoencoder, set_latent_scale
        from clouds.models.diffusion_builder import build_pipeline
        from clouds.pretraining.corpus import LatentsFolder
        from clouds.pretraining.denoiser import DenoiserLearner

        encoded = LatentsFolder(latents.artifact)
        model = build_pipeline(config.diffusion, caption_words(), seed)
        model.register_modules(vae=load_autoencoder(autoencoder.artifact.shard_folder(MODEL)))
        measured = range(min(len(encoded.ids), config.denoiser.latents_for_scale))
        set_latent_scale(model.vae, np.stack([encoded.latent(index) for index in measured]))
        return DenoiserLearner(model, encoded, config.denoiser, seed=seed)

    return learner


def _learn_clip(config: Config, corpus: Stage) -> "Callable[[int], SavingLearner]":
    def learner(seed: int) -> "SavingLearner":
        from clouds.models.clip_builder import build_clip
        from clouds.pretraining.contrast import ContrastLearner
        from clouds.pretraining.corpus import CorpusFolder

        model = build_clip(config.clip.sizes, caption_words(), seed)
        return ContrastLearner(model, CorpusFolder(corpus.artifact), config.clip, seed=seed)

    return learner


def _learn_sam_encoder(config: Config, corpus: Stage) -> "Callable[[int], SavingLearner]":
    def learner(seed: int) -> "SavingLearner":
        from clouds.models.sam_checkpoint import new_sam
        from clouds.pretraining.affinity import AffinityLearner
        from clouds.pretraining.corpus import CorpusFolder

        model = new_sam(config.sam.sizes, seed)
        return AffinityLearner(model, CorpusFolder(corpus.artifact), config.sam_encoder, seed=seed)

    return learner


def _learn_sam(config: Config, corpus: Stage, encoder: Stage) -> "Callable[[int], SavingLearner]":
    def learner(seed: int) -> "SavingLearner":
        from clouds.models.miniature import SAM
        from clouds.models.sam_checkpoint import load_sam
        from clouds.pretraining.corpus import CorpusFolder
        from clouds.pretraining.promptable import PromptableLearner

        model = load_sam(encoder.artifact.shard_folder(MODEL) / SAM)
        return PromptableLearner(model, CorpusFolder(corpus.artifact), config.sam, seed=seed)

    return learner
