"""The whole method: learn from the source, repaint it, generate, then label, refine, filter and self-train in rounds.

Or online, where a teacher labels within the self-training. Each model is scored.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from clouds.config import merge
from clouds.data.table import DataTable
from clouds.engine.settings import RunConfig
from clouds.engine.stage import Stage
from clouds.models.generation import GenerateConfig
from clouds.models.judge_config import is_clip
from pipelines.evaluate import EvaluateConfig
from pipelines.filter import FilterConfig, Judges
from pipelines.label import LabelConfig
from pipelines.parts import Parts
from pipelines.refine import RefineConfig
from pipelines.repaint import RepaintConfig
from pipelines.selftrain import AdaptConfig, SelftrainConfig
from pipelines.train import TrainConfig


class Config(RunConfig):
    """Every value of a run of the whole method."""

    pipeline: Literal["full"] = "full"
    """The assembly, a file in `pipelines`."""
    rounds: Annotated[int, Field(ge=0)] = 1
    """How often label, refine and selftrain follow each other; with 0 nothing is generated. Where `selftrain` is
    `online`, it labels and refines itself."""
    data: DataTable
    """Classes and data sets."""
    train: TrainConfig
    """Learning from the source."""
    generate: GenerateConfig | None = None
    """Inventing images. Null: online self-training learns from photographs alone, or nothing is done in rounds."""
    repaint: RepaintConfig | None = None
    """Painting labelled source images anew; what is not said here is as in `generate`. Null: it is not done."""
    adapt: AdaptConfig | None = None
    """Learning from source and repainted images before anything is labelled. Null: the rounds begin at once."""
    label: LabelConfig = LabelConfig()
    """Labelling them with the segmenter of the round before."""
    refine: RefineConfig | None = None
    """Sharpening the labels. Null: not done, which leaves online self-training."""
    filter: FilterConfig | None = None
    """Leaving out of them what is not to be trusted. Null: all is learned from."""
    selftrain: SelftrainConfig
    """Learning from source, repainted and generated images."""
    evaluate: EvaluateConfig
    """Scoring every model."""

    @model_validator(mode="before")
    @classmethod
    def _repaints_as_it_generates(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and isinstance(tree.get("generate"), dict) and isinstance(tree.get("repaint"), dict):
            own, prompts = tree["repaint"], tree["repaint"].get("prompts")
            # a file or a grammar of its own takes the place of the other's; a balance alone is laid over it
            replaces = isinstance(prompts, dict) and {"file", "grammar"} & prompts.keys()
            return {**tree, "repaint": {**merge(tree["generate"], own), **({"prompts": prompts} if replaces else {})}}
        return tree

    @model_validator(mode="before")
    @classmethod
    def _goes_on_as_it_began(cls, tree: Any) -> Any:
        """The backbone's share of the learning rate is that of the first training, where a later one says none."""
        try:
            share = tree["train"]["segmenter"]["backbone"]["lr_multiplier"]
        except (KeyError, TypeError):
            return tree
        later = {name: tree[name] for name in ("adapt", "selftrain") if isinstance(tree.get(name), dict)}
        return {**tree, **{name: {"backbone_lr_multiplier": share, **values} for name, values in later.items()}}

    @model_validator(mode="after")
    def _adapts_to_something(self) -> "Config":
        if self.adapt is not None and self.repaint is None:
            raise ValueError("`adapt` learns from repainted images: say in `repaint` which, or set `adapt` to null")
        if self.repaint is not None and self.adapt is None and not self.rounds:
            raise ValueError("nothing learns from repainted images: give `adapt`, or a round, or set `repaint` to null")
        return self

    @model_validator(mode="after")
    def _who_labels_is_asked_again(self) -> "Config":
        asked = {"loss", "views"} & set(self.filter.wants()) if self.filter is not None else ()
        if self.label.detectron2 is not None and asked:
            raise ValueError(
                "`class_loss`, `harder` and `view_agreement` ask the segmenter that labelled again, and a model of "
                "detectron2 cannot be asked: leave them out of `filter`, or set `label.detectron2` to null"
            )
        return self

    @model_validator(mode="after")
    def _a_clip_reads_prompts(self) -> "Config":
        if self.filter is not None and "prompt" in self.filter.wants() and self.filter.clip is None:
            backbone = self.train.segmenter.backbone
            if not is_clip(backbone):
                raise ValueError(
                    f"`clip_score` asks the CLIP of the segmenter's backbone, and {backbone.weights!r} is none with "
                    "weights: name one in `filter.clip`"
                )
        return self

    @model_validator(mode="after")
    def _a_distance_is_of_a_backbone_that_learns(self) -> "Config":
        backbone = self.train.segmenter.backbone
        if self.selftrain.feature_distance is not None and backbone.frozen and backbone.lora is None:
            raise ValueError(
                "`selftrain.feature_distance` keeps a backbone near to where it began, and this one is frozen: set it "
                "to null, or `train.segmenter.backbone.frozen` to false"
            )
        return self

    @model_validator(mode="after")
    def _rounds_have_what_they_need(self) -> "Config":
        online = self.selftrain.online
        if not self.rounds:
            return self
        if online is None:
            for name in ("generate", "refine"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name!r} is missing: rounds need it; only `selftrain.online` can do without")
        elif self.generate is None and not any(online.unlabelled.values()):
            raise ValueError(
                "`selftrain.online` has nothing unlabelled to learn from: give `generate`, or name data sets in "
                "`selftrain.online.unlabelled`, with weights above 0"
            )
        elif self.filter is not None:
            raise ValueError(
                "`filter` judges the labels of a round, and `selftrain.online` labels as it learns: set one of them to "
                "null; online, `threshold` and `weighting` say what is trusted"
            )
        elif online.refine_every is not None and self.refine is None:
            raise ValueError(
                "`selftrain.online.refine_every` asks for a SAM, and there is none: give `refine`, or set it to null"
            )
        return self

    @model_validator(mode="after")
    def _sets_are_known(self) -> "Config":
        self.data.check_names(
            {
                "train.data": self.train.data,
                "train.validation.data": self.train.validation_sets,
                "selftrain.data": self.selftrain.data,
                "selftrain.validation.data": self.selftrain.validation_sets,
                "selftrain.online.unlabelled": self.selftrain.online.unlabelled if self.selftrain.online else (),
                "adapt.data": self.adapt.data if self.adapt else (),
                "adapt.validation.data": self.adapt.validation_sets if self.adapt else (),
                "repaint.data": (self.repaint.data,) if self.repaint else (),
                "evaluate.data": self.evaluate.data,
            }
        )
        return self


def build(config: Config) -> list[Stage]:
    """The stages in the order they run."""
    parts = Parts.of(config, config.data)
    model = parts.train("train", config.train)
    stages = parts.scored([model], config.evaluate)
    repainted: Stage | None = None
    if config.repaint is not None:
        repainted = parts.repaint("repaint", config.repaint)
        stages.append(repainted)
    if config.adapt is not None:
        model = parts.selftrain("adapt", config.adapt, model, repainted=repainted, kind="adapt")
        stages += parts.scored([model], config.evaluate)
    stages += _rounds(config, parts, model, repainted)
    first, others = stages[:2], stages[2:]
    # after the first model, not at the end: what the report compares with the first one is the run's own last
    return [*first, *parts.evaluate_files(config.evaluate, stages), *others]


def _rounds(config: Config, parts: Parts, model: Stage, repainted: Stage | None) -> list[Stage]:
    """Images, then what is learned from them, round after round."""
    if not config.rounds:
        return []
    generate = None if config.generate is None else parts.generate("generate", config.generate)
    stages = [] if generate is None else [generate]
    if config.selftrain.online is not None:
        for number in range(1, config.rounds + 1):
            model = parts.selftrain_online(
                f"selftrain-{number}",
                config.selftrain,
                model,
                images=generate,
                repainted=repainted,
                refine=config.refine,
            )
            stages += parts.scored([model], config.evaluate)
    elif generate is not None and config.refine is not None:
        trusting = _Trusting(parts, config, generate)
        stages += trusting.once
        for number in range(1, config.rounds + 1):
            label = parts.label(f"label-{number}", config.label, generate, model)
            refine = parts.refine(f"refine-{number}", config.refine, generate, label, again=config.rounds > 1)
            filtering = trusting.of_round(number, label, refine, model)
            labels, name = (refine, *filtering)[-1], f"selftrain-{number}"
            model = parts.selftrain(name, config.selftrain, model, labelled=(generate, labels), repainted=repainted)
            stages += [label, refine, *filtering, *parts.scored([model], config.evaluate)]
    return stages


class _Trusting:
    """The stages that measure and filter labels; none where the config has no filter."""

    def __init__(self, parts: Parts, config: Config, images: Stage) -> None:
        self._parts, self._config, self._images = parts, config, images
        self.once: list[Stage] = []
        if config.filter is not None and "prompt" in config.filter.wants():
            # images do not change from round to round
            backbone = config.train.segmenter.backbone
            self.once.append(parts.judge_prompts("judge-prompt", config.filter, backbone, images))

    def of_round(self, number: int, label: Stage, refine: Stage, teacher: Stage) -> list[Stage]:
        """What comes between refining and learning, the filter last."""
        parts, shown, config = self._parts, self._config.label, self._config.filter
        if config is None:
            return []
        loss = views = source = None
        if "loss" in config.wants():
            loss = parts.judge_loss(f"judge-loss-{number}", config, shown, refine, teacher)
        if "views" in config.wants():
            views = parts.judge_views(f"judge-views-{number}", config, shown, self._images, teacher)
        if "source_loss" in config.wants():
            source = parts.judge_source(f"judge-source-{number}", config, shown, self._config.train.data, teacher)
        judges = Judges(loss, views, next(iter(self.once), None), source)
        filter_ = parts.filter(f"filter-{number}", config, label, refine, judges)
        return [*(stage for stage in (loss, views, source) if stage is not None), filter_]
