"""The rows of the ablation: for each variant of the method the stages it needs. It runs none of them.

The method itself is `pipelines.full`, as any run has it but for its filters and its mix, which have rows of their own;
each row leaves out, adds or replaces one thing.
"""

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from ablation_filters import DEFAULT, HARDER, Labelled, filtered, filters_of
from ablation_online import WAYS, photographed
from ablation_photographs import LABELS, PHOTOGRAPHS, TARGET, TEST, TRUTH
from ablation_stages import First, FirstConfig, Labels, Photographs, SceneLabels, label_files, majority_of_instances
from open_clip.constants import HF_CONFIG_NAME

from clouds.data.images import read_labels
from clouds.data.labels import LabelMap
from clouds.data.prompts import PromptsConfig
from clouds.data.published.reading import PublishedConfig
from clouds.data.samples import Dataset, data_stamp
from clouds.data.world import TEST_DOMAINS, VALIDATION_DOMAINS
from clouds.data.world_set import WorldConfig, open_world
from clouds.engine.shard import digest
from clouds.engine.stage import Stage
from clouds.engine.work import Row
from clouds.errors import UsageError
from clouds.ops.confusion import confusion_matrix, scores
from clouds.report.tables import ModelScores, mean
from clouds.training.settings import MixConfig
from pipelines import full
from pipelines.corpus import DOMAIN, Corpus, CorpusConfig
from pipelines.evaluate import Evaluate
from pipelines.parts import Parts
from pipelines.predictors import MadeModel
from pipelines.refine import RefineConfig
from pipelines.selftrain import Selftrain, SelftrainConfig
from pipelines.train import Train

DOMAINS: dict[str, tuple[str, ...]] = {
    "validation": VALIDATION_DOMAINS,
    "test": TEST_DOMAINS,
    PHOTOGRAPHS: (TEST,),
}
FIRST_WEB = 3_000_000
"""The number of the first rendered scene: the foundation models have seen lower ones only."""
SOURCE_PROMPTS = "assets:prompts/miniature_source.yaml"
ROUNDS = 3
"""Rounds there are rows for, at least."""
PASSES = (1, 2, 3)
"""How often SAM is asked, where labels are measured."""
BASELINE = "source"
QUALITY = "labels"
"""The row that has no training: how good labels of `web` scenes are."""


@dataclass(frozen=True)
class Variant:
    """One row: what it is, and the stage that makes its segmenter."""

    what: str
    model: Stage

    @property
    def steps(self) -> int:
        """Steps its segmenter was trained for, over all stages it came through."""
        return sum(training.config.steps for training in self._trainings())

    @property
    def generated_draws(self) -> int:
        """How often a generated image was drawn for its segmenter, over all stages it came through."""
        return round(sum(_draws_of_generated(training) for training in self._trainings()))

    def _trainings(self) -> Iterator[Train | Selftrain]:
        stage = self.model
        while isinstance(stage, Selftrain):
            yield stage
            stage = stage.start
        yield cast(Train, stage)


@dataclass(frozen=True)
class Quality:
    """How good labels are: mIoU over all pixels, an unlabelled one being wrong; over the labelled; their share."""

    mean_iou: float
    mean_iou_labelled: float
    labelled: float


@dataclass(frozen=True)
class Measured:
    """Images with true labels, and by what a table calls them the labels that are held against these."""

    what: str
    truth: Stage
    labels: Mapping[str, Stage]


class Benchmark:
    """The rows of one seed's run folder: a stage for everything they need, shared wherever it is the same."""

    def __init__(self, config: full.Config, domains: str, counts: Sequence[int]) -> None:
        assert config.adapt is not None
        # no row but those that say so has a mix, whatever the config says
        self._with_mix = config.selftrain.model_copy(update={"mix": config.selftrain.mix or MixConfig()})
        config = config.model_copy(update={"selftrain": config.selftrain.model_copy(update={"mix": None})})
        self.config, self.domains, self.adapting = config, domains, config.adapt
        self.unseen = DOMAINS[domains]
        self.counts = sorted({*counts} - {config.generate.count})
        self._parts = Parts.of(config, config.data)
        # the method itself, as any run has it, less its filters and its mix: the other rows differ from it
        method = full.build(config.model_copy(update={"rounds": max(ROUNDS, config.rounds), "filter": None}))
        self._method = {stage.name: stage for stage in method}
        self.variants = {
            **self._baselines(),
            **self._repainting(),
            **self._labelling(),
            **self._filtering(),
            **self._mixing(),
            **self._online(),
            **self._bounds(),
            **self._content(),
            **self._numbers(),
        }

    @property
    def rows(self) -> list[str]:
        return [*self.variants, *self.measured]

    @property
    def photographs(self) -> PublishedConfig | None:
        """The target's, with their labels; None where the config has none."""
        found = self.config.data.sets.get(TRUTH)
        return found if isinstance(found, PublishedConfig) else None

    @property
    def label_map(self) -> LabelMap:
        return self._parts.label_map

    @property
    def name(self) -> str:
        return f"seed {self.config.seed}"

    def scoring(self, row: str) -> Evaluate:
        """The stage that scores a row; validation and test have one each, so that neither takes the other's place."""
        return self._parts.evaluate(f"{self.domains}-{row}", self.config.evaluate, MadeModel(self.variants[row].model))

    def stages(self, rows: Iterable[str]) -> list[Stage]:
        """All that these rows need, each stage after those it needs."""
        found: dict[str, Stage] = {}

        def visit(stage: Stage) -> None:
            if stage.name not in found:
                for needed in stage.needs:
                    visit(needed)
                found[stage.name] = stage

        for row in rows:
            measured = self.measured.get(row)
            for stage in [self.scoring(row)] if measured is None else [*measured.labels.values(), measured.truth]:
                visit(stage)
        return list(found.values())

    def mean_unseen(self, found: ModelScores) -> float | None:
        """The mean of a model's mIoU over the unseen domains."""
        return mean(found.mean_iou(name) for name in self.unseen)

    def qualities(self, measured: Measured, current: Container[str]) -> dict[str, Quality]:
        """How good those labels are whose stages are among the current ones; none where the true ones are not."""
        if measured.truth.name not in current:
            return {}
        truth = dict(label_files(measured.truth.artifact))
        there = {key: stage for key, stage in measured.labels.items() if stage.name in current}
        return {key: self._quality(stage, truth) for key, stage in there.items()}

    def _quality(self, labels: Stage, truth: Mapping[str, Path]) -> Quality:
        label_map = self.label_map
        total = np.zeros((label_map.num_classes, label_map.num_classes + 1), dtype=np.int64)
        for item, path in label_files(labels.artifact):
            # a photograph whose label file is damaged has failed, and the run has said so
            if item in truth:
                pair = read_labels(path), read_labels(truth[item])
                total += confusion_matrix(*pair, label_map.num_classes, label_map.ignore)
        labelled = total[:, :-1]
        return Quality(scores(total).mean_iou, scores(labelled).mean_iou, float(labelled.sum() / total.sum()))

    @cached_property
    def measured(self) -> dict[str, Measured]:
        """By row: whose labels are measured."""
        found = {QUALITY: Measured("web scenes", self.truth, self.web_labels)}
        if self.photographs is not None:
            found[LABELS] = self._labels_of_photographs()
        return found

    @cached_property
    def web(self) -> Stage:
        """Rendered scenes that no model has seen, as many as there are generated images, of the source's size."""
        source = source_set(self.config)
        config = CorpusConfig(
            count=self.config.generate.count, first=FIRST_WEB, height=source.height, width=source.width
        )
        return Corpus(self._parts.artifact("web"), config, self.config.shard_items)

    @cached_property
    def truth(self) -> Stage:
        """The true labels of the rendered scenes."""
        scenes = source_set(self.config).model_copy(
            update={"domain": DOMAIN, "seed": 0, "first": FIRST_WEB, "count": self.config.generate.count}
        )
        dataset = open_world(DOMAIN, scenes, self.label_map)
        numbers = {item: index for index, item in enumerate(dataset.ids)}
        return SceneLabels(
            self._parts.artifact("truth-web"),
            self.web,
            lambda _, row: dataset.labels(numbers[row["id"]]),
            {"rule": "truth", **dataset.identity()},
        )

    @cached_property
    def web_labels(self) -> dict[str, Stage]:
        """Labels of the rendered scenes: predicted, refined in so many passes, filtered, by a SAM that never errs."""
        ignore = self.label_map.ignore
        raw = self._parts.label("label-web", self.config.label, self.web, self._method["adapt"])

        def labels_of(shard: str, row: Row) -> Labels:
            labels_HW = read_labels(raw.artifact.shard_folder(shard) / f"labels/{row['id']}.png").astype(np.uint8)
            instances_HW = read_labels(self.web.artifact.shard_folder(shard) / row["instances_file_name"])
            return majority_of_instances(labels_HW, instances_HW, ignore)

        place = self._parts.artifact("instances-web")
        refined = self._refined_in_passes("web", self.web, raw)
        of = Labelled(
            self.web, raw, refined["refined"], self._method["adapt"], self._source_loss, "web", text="caption"
        )
        kept = filtered(self._parts, self.config, of, "trust-web")
        return {
            "raw": raw,
            **refined,
            # what draws images otherwise takes no label away
            **{f"filter-{name}": stage for name, stage in kept.items() if name != HARDER},
            "instances": SceneLabels(place, self.web, labels_of, {"rule": "instances"}, (raw,)),
        }

    def _labels_of_photographs(self) -> Measured:
        """Labels of the target's photographs, which no stage knows the objects of: predicted, and refined."""
        images = Photographs(self._parts.artifact("photos"), self._photographs(TARGET), self.config.shard_items)
        known = self._photographs(TRUTH)
        numbers = {item: index for index, item in enumerate(known.ids)}
        truth = SceneLabels(
            self._parts.artifact("truth-photos"),
            images,
            lambda _, row: known.labels(numbers[row["id"]]),
            # the images' own stamps say nothing of the label files
            {"rule": "truth", **known.identity(), "files": digest(data_stamp({TRUTH: known}))},
        )
        raw = self._parts.label("label-photos", self.config.label, images, self._method["adapt"])
        return Measured("photographs", truth, {"raw": raw, **self._refined_in_passes("photos", images, raw)})

    def _photographs(self, name: str) -> Dataset:
        return self.config.data.open_all([name], unlabelled=True)[name]

    def _refined_in_passes(self, images_name: str, images: Stage, labels: Stage) -> dict[str, Stage]:
        """Labels refined by the config's rule, and with SAM asked so often."""
        rule, refine = self.config.refine, self._parts.refine
        refined = refine(f"refine-{images_name}", rule, images, labels, again=True)
        passes = {
            f"refined-{count}": refined
            if count == rule.rule.passes
            else refine(f"refine-{count}-{images_name}", in_passes(rule, count), images, labels, again=True)
            for count in PASSES
        }
        return {"refined": refined, **passes}

    @cached_property
    def _source_loss(self) -> Stage:
        """How well the adapted segmenter bears out the true labels of the source."""
        config, asked = self.config, self.config.filter or DEFAULT
        return self._parts.judge_source(
            "judge-source-adapt", asked, config.label, config.train.data, self._method["adapt"]
        )

    def _baselines(self) -> dict[str, Variant]:
        train, make = self.config.train, self._parts.train
        plain = train.model_copy(update={"augment": train.augment.model_copy(update={"jitter": None})})
        long = {"steps": train.steps + self.adapting.steps + self.config.rounds * self.config.selftrain.steps}
        # a random backbone has nothing to keep: it learns as fast as the head, whatever a pretrained one does
        trunk = trunk_of(train.segmenter.backbone.weights)
        scratch = {"weights": trunk, "pretrained": None, "revision": None, "frozen": False, "lr_multiplier": 1.0}

        def with_backbone(**values: Any) -> Any:
            backbone = train.segmenter.backbone.model_copy(update=values)
            return train.model_copy(update={"segmenter": train.segmenter.model_copy(update={"backbone": backbone})})

        return {
            BASELINE: Variant("source only, no colour jitter", make("source", plain)),
            "source-long": Variant("as many steps as the method", make("source-long", plain.model_copy(update=long))),
            "source-jitter": Variant("with colour jitter", self._method["train"]),
            "jitter-long": Variant("as many steps as the method", make("jitter-long", train.model_copy(update=long))),
            "scratch": Variant("backbone from random weights", make("scratch", with_backbone(**scratch))),
            "frozen": Variant("backbone frozen", make("frozen", with_backbone(frozen=True))),
        }

    def _repainting(self) -> dict[str, Variant]:
        steps = self.adapting.steps + self.config.rounds * self.config.selftrain.steps
        longer = self._parts.selftrain(
            "repainted-long",
            self.adapting.model_copy(update={"steps": steps}),
            self._method["train"],
            repainted=self._method["repaint"],
            kind="adapt",
        )
        return {
            "repainted": Variant("source and repainted source", self._method["adapt"]),
            "repainted-long": Variant("as many steps as the method", longer),
        }

    def _labelling(self) -> dict[str, Variant]:
        """Rows that label the method's own images otherwise, and its rounds."""
        config, parts, method = self.config, self._parts, self._method
        images, raw = method["generate"], method["label-1"]
        refined_once = parts.refine("refine-once", in_passes(config.refine, 1), images, raw)
        label = parts.label("label-unrepainted", config.label, images, method["train"])
        refine = parts.refine("refine-unrepainted", config.refine, images, label)

        as_long = config.selftrain.model_copy(update={"steps": self.adapting.steps + config.selftrain.steps})

        def unrepainted(name: str, labels: Stage) -> Stage:
            return parts.selftrain(name, as_long, method["train"], labelled=(images, labels))

        more = {f"round-{number}": method[f"selftrain-{number}"] for number in range(2, max(ROUNDS, config.rounds) + 1)}
        return {
            "raw": Variant("a round with raw pseudo-labels", self._round("raw", images, raw)),
            "refined-1": Variant("refined in one pass", self._round("refined-1", images, refined_once)),
            "refined": Variant("refined by the config's rule", method["selftrain-1"]),
            **{row: Variant("after that many rounds", model) for row, model in more.items()},
            "unrepainted": Variant("a round without repainting", unrepainted("unrepainted", refine)),
            "unrepainted-raw": Variant("the same, raw pseudo-labels", unrepainted("unrepainted-raw", label)),
        }

    def _filtering(self) -> dict[str, Variant]:
        """Rows that learn from the first round's refined labels as far as a filter trusts them."""
        method = self._method
        of = Labelled(
            method["generate"], method["label-1"], method["refine-1"], method["adapt"], self._source_loss, "1"
        )
        kept = filtered(self._parts, self.config, of, "trust")
        return {
            f"filter-{name}": Variant(way.what, self._round(f"filter-{name}", method["generate"], kept[name]))
            for name, way in filters_of(self.config).items()
        }

    def _mixing(self) -> dict[str, Variant]:
        """Rows whose rounds paste classes of labelled images onto the generated ones; each labels as a round does."""
        config, parts, method, mix = self.config, self._parts, self._method, self._with_mix
        images = method["generate"]
        raw = self._round("mix-raw", images, method["label-1"], config=mix)
        model = self._round("mix", images, method["refine-1"], config=mix)
        rows = {
            "mix-raw": Variant("a round with raw pseudo-labels, classes pasted on", raw),
            "mix": Variant("refined by the config's rule, classes pasted on", model),
        }
        for number in range(2, max(ROUNDS, config.rounds) + 1):
            label = parts.label(f"label-mix-{number}", config.label, images, model)
            refine = parts.refine(f"refine-mix-{number}", config.refine, images, label, again=True)
            model = self._round(f"mix-round-{number}", images, refine, model, config=mix)
            rows[f"mix-round-{number}"] = Variant("after that many such rounds", model)
        return rows

    def _online(self) -> dict[str, Variant]:
        """Rows in which the segmenter's teacher labels as it learns, for as many steps as a round has."""
        config, method = self.config, self._method
        more = photographed({TARGET: config.selftrain.generated_weight}) if self.photographs else {}
        return {
            row: Variant(
                way.what,
                self._parts.selftrain_online(
                    row,
                    config.selftrain.model_copy(update={"online": way.config, "mix": way.mix}),
                    method["adapt"],
                    images=None if row in more else method["generate"],
                    repainted=method["repaint"],
                    refine=config.refine,
                ),
            )
            for row, way in {**WAYS, **more}.items()
        }

    def _content(self) -> dict[str, Variant]:
        """The method under prompts of what the source shows already: does content help, or any painting?"""
        config, parts = self.config, self._parts
        assert config.repaint is not None
        prompts = PromptsConfig.model_validate({"grammar": SOURCE_PROMPTS})
        repaint = parts.repaint("repaint-plain", config.repaint.model_copy(update={"prompts": prompts}))
        generate = parts.generate("generate-plain", config.generate.model_copy(update={"prompts": prompts}))
        train = self._method["train"]
        adapt = parts.selftrain("repainted-plain", self.adapting, train, repainted=repaint, kind="adapt")
        return {
            "repainted-plain": Variant("repainted under prompts of what the source has", adapt),
            "plain": Variant("and generated under them", self._refined("plain", generate, adapt, repaint)),
        }

    def _numbers(self) -> dict[str, Variant]:
        """Rows whose round has another number of generated images."""
        many = self.config.generate.model_copy(update={"count": max(self.counts, default=1)})
        # as `generate` and more: of those that are in both, each is the same image
        more = self._parts.generate("generate-many", many)
        variants = {}
        for count in self.counts:
            all_ = self._method["generate"] if count < self.config.generate.count else more
            images = First(self._parts.artifact(f"generate-{count}"), FirstConfig(count=count), all_)
            variants[f"images-{count}"] = Variant(f"{count} images", self._refined(f"images-{count}", images))
        return variants

    def _bounds(self) -> dict[str, Variant]:
        """Rows with rendered scenes in the place of generated images."""
        labels = {"raw": self.web_labels["raw"], "instances": self.web_labels["instances"], "labels": self.truth}
        what = {"raw": "raw pseudo-labels", "instances": "a SAM that never errs", "labels": "true labels"}
        rows = {
            f"bound-{key}": Variant(f"web scenes, {what[key]}", self._round(f"bound-{key}", self.web, stage))
            for key, stage in labels.items()
        }
        mixed = self._round("mix-bound-labels", self.web, self.truth, config=self._with_mix)
        return {**rows, "mix-bound-labels": Variant(f"web scenes, {what['labels']}, classes pasted on", mixed)}

    def _round(
        self,
        name: str,
        images: Stage,
        labels: Stage,
        start: Stage | None = None,
        repainted: Stage | None = None,
        config: SelftrainConfig | None = None,
    ) -> Stage:
        return self._parts.selftrain(
            name,
            config or self.config.selftrain,
            start or self._method["adapt"],
            labelled=(images, labels),
            repainted=repainted or self._method["repaint"],
        )

    def _refined(self, name: str, images: Stage, start: Stage | None = None, repainted: Stage | None = None) -> Stage:
        label = self._parts.label(f"label-{name}", self.config.label, images, start or self._method["adapt"])
        refine = self._parts.refine(f"refine-{name}", self.config.refine, images, label)
        return self._round(name, images, refine, start, repainted)


def _draws_of_generated(training: Train | Selftrain) -> float:
    config = training.config
    if not isinstance(training, Selftrain) or training.images is None or not isinstance(config, SelftrainConfig):
        return 0.0
    repainted = config.repainted_weight if training.repainted is not None else 0.0
    total = sum(config.data.values()) + repainted + config.generated_weight
    return config.steps * config.batch_size * config.generated_weight / total


def in_passes(config: RefineConfig, count: int) -> RefineConfig:
    """The refinement that asks SAM so many times."""
    return config.model_copy(update={"rule": config.rule.model_copy(update={"passes": count})})


def trunk_of(weights: str) -> str:
    """The architecture of a CLIP's image tower, by the folder of its weights, or by the name it is given by."""
    description = Path(weights) / HF_CONFIG_NAME
    if not description.is_file():
        return weights
    vision = json.loads(description.read_text(encoding="utf-8"))["model_cfg"]["vision_cfg"]
    return str(vision["timm_model_name"])


def source_set(config: full.Config) -> WorldConfig:
    """The scenes the segmenter learns from first. Raises `UsageError` where they are none of the world."""
    name = next(iter(config.train.data))
    found = config.data.sets[name]
    if not isinstance(found, WorldConfig):
        raise UsageError(f"data set {name!r} is of no procedural world", "give a config that trains on one")
    return found
