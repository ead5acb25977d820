"""Makes the stages of one run from their configs: what they share (folder, seed, classes, precision) is said once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clouds.data.labels import LabelMap
from clouds.data.predictions import FoundPredictions, PredictionsConfig, find_predictions
from clouds.data.samples import Dataset
from clouds.data.submission import PredictionFiles
from clouds.data.table import DataTable
from clouds.engine.artifact import Artifact
from clouds.engine.settings import RunConfig
from clouds.engine.stage import Stage
from clouds.errors import UsageError
from clouds.models.generation import GenerateConfig
from clouds.models.given import GivenSegmenter
from clouds.models.judge_config import AgreementConfig, ClipConfig, LossConfig
from clouds.models.protocol import ProtocolConfig
from clouds.models.segmenter_config import BackboneConfig
from clouds.models.weights import HashCache, user_hash_cache
from clouds.training.sharpening import Sharpening
from pipelines.evaluate import Evaluate, EvaluateConfig, Predictor
from pipelines.filter import Filter, FilterConfig, Judges
from pipelines.generate import Generate
from pipelines.judge import Judge, LabelLoss, PromptScore, ViewAgreement
from pipelines.judge_source import JudgeSource
from pipelines.label import Detectron2Teacher, Label, LabelConfig
from pipelines.predictors import (
    FilePredictor,
    FilesConfig,
    FindPredictions,
    GivenModel,
    MadeModel,
    ScoredModel,
    SegmenterPredictor,
)
from pipelines.refine import Refine, RefineConfig
from pipelines.repaint import Repaint, RepaintConfig
from pipelines.selftrain import AdaptConfig, Selftrain, SelftrainConfig
from pipelines.train import Train, TrainConfig


@dataclass(frozen=True)
class Parts:
    """The stages of a run by their names; a stage's folder is its name."""

    run: RunConfig
    data: DataTable
    label_map: LabelMap
    hashes: HashCache

    @classmethod
    def of(cls, run: RunConfig, data: DataTable) -> "Parts":
        return cls(run, data, data.label_map(), user_hash_cache())

    def artifact(self, name: str) -> Artifact:
        return Artifact(self.run.folder / name)

    def train(self, name: str, config: TrainConfig) -> Stage:
        return Train(
            self.artifact(name),
            config,
            self.data.open_all(config.data),
            self.label_map,
            seed=self.run.seed,
            hashes=self.hashes,
            max_failures=self.run.max_failures,
            precision=self._precision,
            validated=self.data.open_all(config.validation_sets),
        )

    def generate(self, name: str, config: GenerateConfig) -> Stage:
        return Generate(self.artifact(name), config, self.run.seed, self.run.shard_items, self.hashes)

    def repaint(self, name: str, config: RepaintConfig) -> Stage:
        [data] = self.data.open_all([config.data]).values()
        return Repaint(
            self.artifact(name), config, data, self.label_map, self.run.seed, self.run.shard_items, self.hashes
        )

    def label(self, name: str, config: LabelConfig, images: Stage, teacher: Stage) -> Stage:
        known = config.detectron2
        given = None if known is None else Detectron2Teacher(known, self.label_map, self.hashes)
        return Label(self.artifact(name), config, images, teacher, self.label_map, self._precision, given)

    def refine(self, name: str, config: RefineConfig, images: Stage, labels: Stage, *, again: bool = False) -> Stage:
        """`again`: whether other rounds refine labels of the same images."""
        return Refine(
            self.artifact(name),
            config,
            images,
            labels,
            self.label_map,
            self.run.seed,
            self.hashes,
            precision=self._precision,
            again=again,
        )

    def judge_loss(
        self, name: str, config: FilterConfig, shown: ProtocolConfig, labels: Stage, teacher: Stage
    ) -> Stage:
        """`shown`: how images are shown to the segmenter that labelled them."""
        loss = LossConfig(**_protocol(shown), batch_size=config.batch_size)
        return Judge(self.artifact(name), LabelLoss(labels, teacher, loss, self.label_map, self._precision))

    def judge_source(
        self, name: str, config: FilterConfig, shown: ProtocolConfig, data: Mapping[str, float], teacher: Stage
    ) -> Stage:
        """As `judge_loss`, of labelled data sets by name that have a weight above 0, by their true labels."""
        return JudgeSource(
            self.artifact(name),
            LossConfig(**_protocol(shown), batch_size=config.batch_size),
            teacher,
            self.data.open_all([name for name, weight in data.items() if weight > 0]),
            self.label_map,
            self.run.shard_items,
            precision=self._precision,
        )

    def judge_views(
        self, name: str, config: FilterConfig, shown: ProtocolConfig, images: Stage, teacher: Stage
    ) -> Stage:
        """As `judge_loss`, of images without their labels."""
        views = AgreementConfig(**_protocol(shown), batch_size=config.batch_size, views=config.views)
        return Judge(self.artifact(name), ViewAgreement(images, teacher, views, self.label_map, self._precision))

    def judge_prompts(
        self, name: str, config: FilterConfig, backbone: BackboneConfig, images: Stage, text: str = "prompt"
    ) -> Stage:
        """`backbone`: whose CLIP is asked where the config names none; `text`: the key of an image's text."""
        key = "train.segmenter.backbone.weights" if config.clip is None else "filter.clip.weights"
        clip = config.clip or ClipConfig.of_backbone(backbone)
        return Judge(self.artifact(name), PromptScore(images, clip, self.hashes, key, text))

    def filter(self, name: str, config: FilterConfig, pseudo: Stage, labels: Stage, judges: Judges) -> Stage:
        """`pseudo`: the stage that labelled; `labels`: the one whose labels are filtered, the same or that refined."""
        return Filter(self.artifact(name), config, pseudo, labels, judges, self.label_map)

    def selftrain(
        self,
        name: str,
        config: AdaptConfig,
        start: Stage,
        *,
        labelled: tuple[Stage, Stage] | None = None,
        repainted: Stage | None = None,
        kind: str = "selftrain",
    ) -> Stage:
        """`labelled`: the stage that made images, and the one that labelled them."""
        images, labels = labelled or (None, None)
        return self._selftrain(name, config, start, images=images, labels=labels, repainted=repainted, kind=kind)

    def selftrain_online(
        self,
        name: str,
        config: SelftrainConfig,
        start: Stage,
        *,
        images: Stage | None = None,
        repainted: Stage | None = None,
        refine: RefineConfig | None = None,
    ) -> Stage:
        """`images`: the stage that made images, which a teacher labels; `refine`: who refines these labels, and how."""
        assert config.online is not None
        sharpening = None
        if config.online.refine_every is not None and refine is not None:
            sharpening = Sharpening(refine.sam, refine.rule, self.hashes)
        unlabelled = self.data.open_all(config.online.unlabelled, unlabelled=True)
        return self._selftrain(
            name, config, start, images=images, repainted=repainted, unlabelled=unlabelled, sharpening=sharpening
        )

    def _selftrain(
        self,
        name: str,
        config: AdaptConfig,
        start: Stage,
        *,
        images: Stage | None = None,
        labels: Stage | None = None,
        repainted: Stage | None = None,
        unlabelled: Mapping[str, Dataset] | None = None,
        sharpening: Sharpening | None = None,
        kind: str = "selftrain",
    ) -> Stage:
        return Selftrain(
            self.artifact(name),
            config,
            start=start,
            images=images,
            labels=labels,
            repainted=repainted,
            datasets=self.data.open_all(config.data),
            label_map=self.label_map,
            seed=self.run.seed,
            max_failures=self.run.max_failures,
            precision=self._precision,
            validated=self.data.open_all(config.validation_sets),
            unlabelled=unlabelled or {},
            sharpening=sharpening,
            kind=kind,
        )

    def evaluate(self, name: str, config: EvaluateConfig, model: ScoredModel) -> Evaluate:
        predictor = SegmenterPredictor(model, config, self.label_map, self._precision)
        return self._evaluate(name, predictor, self._tested(config))

    def evaluate_files(self, config: EvaluateConfig, stages: Sequence[Stage]) -> list[Stage]:
        """An evaluation of each folder of predictions that the config names, beside these stages."""
        if not config.predictions:
            return []
        tested = self._tested(config)
        evaluations: list[Stage] = []
        for name, files in config.predictions.items():
            _check_predictions(name, files.folder, stages)
            predictor = FilePredictor(name, FilesConfig.of(config, files), self._finder(name, files, tested))
            evaluations.append(self._evaluate(f"evaluate-{name}", predictor, tested))
        return evaluations

    def _finder(self, name: str, files: PredictionsConfig, tested: Mapping[str, Dataset]) -> FindPredictions:
        """Looks for the files of a data set when they are asked for, and once: a folder may have gone since."""

        @cache
        def find(dataset: str) -> FoundPredictions:
            return find_predictions(name, files, dataset, tested[dataset].ids, self.label_map)

        return find

    def _tested(self, config: EvaluateConfig) -> dict[str, Dataset]:
        return self.data.open_all(config.data, unlabelled=config.save_predictions is not False)

    def _evaluate(self, name: str, predictor: Predictor, tested: Mapping[str, Dataset]) -> Evaluate:
        files, form = None, predictor.config.save_predictions
        if form:
            files = PredictionFiles.of(form, self.label_map)
            for set_name, dataset in tested.items():
                files.check(set_name, dataset.ids)
        return Evaluate(self.artifact(name), predictor, tested, self.label_map, self.run.shard_items, files)

    def given(self, name: str, folder: Path) -> GivenModel:
        return GivenModel(GivenSegmenter(name, folder, self.hashes))

    def scored(self, models: Sequence[Stage], config: EvaluateConfig) -> list[Stage]:
        """Each model, followed by its evaluation."""
        return [
            stage
            for model in models
            for stage in (model, self.evaluate(f"evaluate-{model.name}", config, MadeModel(model)))
        ]

    @property
    def _precision(self) -> str:
        return self.run.runtime.mixed_precision


def _check_predictions(name: str, folder: Path, stages: Sequence[Stage]) -> None:
    """Raise `UsageError` for the name of a model, and for files that a stage of this run would take away as they are
    read."""
    where = f"'evaluate.predictions.{name}'"
    for stage in stages:
        if stage.name == f"evaluate-{name}":
            raise UsageError(f"{where}: a model of this run has that name", "choose another")
        if folder.is_relative_to(stage.artifact.folder):
            raise UsageError(
                f"{where}: {folder} belongs to the stage {stage.name} of this run, which may make it anew",
                "score it in a run of its own (set `name` or `run_dir`), or copy it",
            )


def _protocol(config: ProtocolConfig) -> dict[str, Any]:
    """The values of a protocol, of a config that has more."""
    return {name: getattr(config, name) for name in ProtocolConfig.model_fields}
